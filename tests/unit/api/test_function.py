# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Tagged functions in process: a plain call, and nothing else."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import pydoc
import subprocess
import sys
import threading
import typing
import warnings
from pathlib import Path
from typing import Any

import pytest

import turbolift
from turbolift import ConfigurationError, NotRoutedError, is_distributed


def test_off_is_a_plain_call(user: Any) -> None:
    async def main() -> list[Any]:
        return [
            await user.double(3),
            await user.double(3, by=3),
            await user.later(1),
            await user.Cart.total(1, 2),
            await user.Cart.count([1, 2]),
            await user.Cart().total(3, 4),
            await user.Cart.alias(5),
            user.double.local(4),
            await user.later.local(4),
        ]

    assert asyncio.run(main()) == [6, 9, 2, 3, 2, 7, 10, 8, 5]
    assert (user.double.call(2), user.later.call(2)) == (4, 3)


def test_arguments_are_not_copied_and_errors_are_the_functions_own(user: Any) -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        asyncio.run(user.double())


OFF_IS_OFF = """
import asyncio, sys, threading
seen = []
sys.addaudithook(lambda event, args: seen.append(event) if event.startswith(("socket.", "subprocess", "os.fork",
    "os.posix_spawn", "_thread.start")) else None)
import user_module as user
from turbolift import Local
modules = {name.partition(".")[0] for name in sys.modules}
assert not modules & {"aiohttp", "msgspec", "jsonschema", "yarl"}, modules
user.double.call(1)
loop_events = None
async def main():
    global loop_events
    seen.clear()
    for _ in range(10):
        await user.double(1)
        await user.later(1)
    assert len(await user.double.map(range(100))) == 100
    loop_events = list(seen)
asyncio.run(main())
assert loop_events == [], loop_events
assert threading.enumerate() == [threading.main_thread()]
assert "turbolift.client" not in sys.modules
print("ok")
"""


def test_off_is_off(user: Any) -> None:
    """No socket, thread or process, and nothing of the client is even imported."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", OFF_IS_OFF],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "ok\n"


def test_import_is_light() -> None:
    script = (
        "import sys; before = set(sys.modules); import turbolift; new = set(sys.modules) - before;"
        "print(*sorted({n.partition('.')[0] for n in new} - set(sys.stdlib_module_names)));"
        "print(*sorted(n for n in ('asyncio', 'inspect', 'dataclasses', 'json', 'socket', 'logging', 'hashlib')"
        " if n in new))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": _source()},
    )
    assert done.stdout == "turbolift\n\n"


def _source() -> str:
    return str(Path(turbolift.__file__).parent.parent)


def test_public_names() -> None:
    for name in turbolift.__all__:
        assert getattr(turbolift, name) is not None
    assert sorted(turbolift.__all__) == turbolift.__all__
    missing = {n for n in turbolift.errors.__all__ if n not in turbolift.__all__}
    assert missing == set()


def test_it_is_a_coroutine_function_to_everybody(user: Any) -> None:
    for function in (user.double, user.later, user.Cart.total, user.Cart.count, user.wrapped):
        assert inspect.iscoroutinefunction(function)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            assert asyncio.iscoroutinefunction(function)
        assert callable(function)
    assert str(inspect.signature(user.double)) == "(x: int, *, by: int = 2) -> int"
    assert typing.get_type_hints(user.double) == {"x": int, "by": int, "return": int}
    assert (user.double.__name__, user.double.__module__, user.double.__doc__) == (
        "double",
        "user_module",
        "Twice the value.",
    )
    assert user.Cart.total.__qualname__ == "Cart.total"
    assert inspect.unwrap(user.double) is user.double.__wrapped__
    assert "return x * by" in inspect.getsource(user.double)
    assert "Twice the value." in pydoc.render_doc(user.double)


def test_a_forgotten_await_warns_with_the_functions_name(user: Any) -> None:
    for function, name in ((user.double, "double"), (user.Cart.total, "Cart.total")):
        with pytest.warns(RuntimeWarning, match=f"coroutine '{name}' was never awaited"):
            function(1)  # dropped at once


def test_it_is_pickled_by_name(user: Any) -> None:
    for function in (user.double, user.later, user.Cart.total, user.Cart.count):
        assert pickle.loads(pickle.dumps(function)) is function
        assert copy.copy(function) is function
        assert copy.deepcopy(function) is function
    quick = user.double.with_options(timeout=1)
    again = pickle.loads(pickle.dumps(quick))
    assert again is not user.double
    assert again._overrides == {"timeout": 1.0}


def test_with_options_leaves_the_original_alone(user: Any) -> None:
    quick = user.double.with_options(timeout=1).with_options(idempotent=True)
    assert quick._overrides == {"timeout": 1.0, "idempotent": True}
    assert user.double._overrides == {}
    assert asyncio.run(quick(2)) == 4
    assert quick.identity == user.double.identity
    with pytest.raises(ConfigurationError, match="timeout"):
        user.double.with_options(timeout=0)
    with pytest.raises(ConfigurationError, match="idempotent"):
        user.double.with_options(idempotent=1)


def test_repr_says_where_it_runs(user: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert repr(user.double) == (
        "<turbolift function user_module:double on K8s(max_scale_n=10); runs in process>"
    )
    monkeypatch.setenv("TURBOLIFT", "on")
    monkeypatch.setenv("TURBOLIFT_ROUTES", str(tmp_path / "none.json"))
    assert "has no route: there is no route table" in repr(user.double)
    monkeypatch.setenv("TURBOLIFT_ROUTES", "{")
    assert "cannot run: TURBOLIFT_ROUTES:1:2: this route table is not JSON" in repr(user.double)
    monkeypatch.setenv("TURBOLIFT", "maybe")
    assert "cannot run: TURBOLIFT='maybe'" in repr(user.double)


def test_the_switch_is_read_at_each_call(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURBOLIFT_ROUTES", "/nowhere/routes.json")
    assert user.double.call(1) == 2
    for value in ("", "1", "ON", "yes"):
        monkeypatch.setenv("TURBOLIFT", value)
        with pytest.raises(ConfigurationError, match="must be 'on' or 'off'"):
            user.double.call(1)
    monkeypatch.setenv("TURBOLIFT", "on")
    assert is_distributed()
    with pytest.raises(NotRoutedError, match=r"/nowhere/routes\.json.*\./pants run deploy"):
        user.double.call(1)
    monkeypatch.setenv("TURBOLIFT", "off")
    assert user.double.call(1) == 2
    monkeypatch.delenv("TURBOLIFT")
    assert not is_distributed()


def test_call_within_a_running_loop_is_refused(user: Any) -> None:
    async def main() -> None:
        for function in (user.double, user.later):
            with pytest.raises(RuntimeError, match=rf"write 'await {function.__name__}\(...\)' here"):
                function.call(1)
        with pytest.raises(RuntimeError, match=r"await double\.map\(\)"):
            user.double.map([1]).call()
        assert await asyncio.to_thread(user.later.call, 1) == 2

    asyncio.run(main())


def test_call_from_threads(user: Any) -> None:
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(user.later.call(1))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [2] * 5


def test_main_functions_cannot_be_distributed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os\nfrom turbolift import Local, on\n\n@on(Local())\ndef f(x: int) -> int:\n    return x\n\n"
        "print(f.call(3))\nos.environ['TURBOLIFT'] = 'on'\n"
        "try:\n    f.call(3)\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    first, second = done.stdout.splitlines()
    assert first == "3"
    assert second.startswith(f"ConfigurationError {script}:4: f is defined in the program that was started")
