# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What a function raises is raised at the caller: same type, arguments, attributes, text and notes; and whatever else ends a
call is told apart by its class.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import signal
import socket
import sys
import traceback
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from turbolift import (
    MaybeExecuted,
    RemoteCancelled,
    RemoteError,
    RemoteExit,
    RemoteInterrupt,
    RemoteTraceback,
    WorkerDied,
)

Standing = Callable[..., Any]

OF_EACH_KIND = ["inline", "threads", "processes", "asynchronous"]

BUILTIN_FACTS = [
    *(
        "errno",
        "strerror",
        "filename",
        "filename2",
        "characters_written",
        "name",
        "path",
        "msg",
        "lineno",
        "offset",
    ),
    *("text", "end_lineno", "encoding", "object", "start", "end", "reason", "value"),
]


@pytest.fixture
def user() -> Iterator[Any]:
    """The user's module, as the caller sees it; where long ints can be shown."""
    most = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield importlib.import_module("served_errors")
    sys.set_int_max_str_digits(most)


def facts(error: BaseException) -> dict[str, Any]:
    """All that a program can see of an exception."""
    found: dict[str, Any] = {"type": type(error), "args": repr(error.args)}
    try:
        found["text"] = str(error)
    except RuntimeError as broken:
        found["text"] = broken.args
    except AttributeError:
        found["text"] = None
    for name in BUILTIN_FACTS:
        # Of a NameError the name, of a message alone.
        if type(error).__module__ == "builtins" or not hasattr(type(error), name):
            found[name] = repr(getattr(error, name, None))
    found |= {name: repr(value) for name, value in vars(error).items() if name != "__notes__"}
    found["notes"] = [str(note) for note in getattr(error, "__notes__", ())]
    if isinstance(error, BaseExceptionGroup):
        found["args"] = error.message
        found["members"] = [facts(member) for member in error.exceptions]
    if hasattr(error, "both"):
        found["both"] = error.both()
    return found


def raised(run: Callable[[], Any]) -> BaseException:
    try:
        run()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


async def outcome(call: Any) -> BaseException:
    try:
        found = await call
    except BaseException as error:
        return error
    raise AssertionError(f"nothing was raised, but {found!r} returned")


def outcomes(function: Any, whats: list[str]) -> dict[str, BaseException]:
    async def main() -> dict[str, BaseException]:
        return {what: await outcome(function(what)) for what in whats}

    return asyncio.run(main())


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_an_exception_arrives_as_it_was(standing: Standing, user: Any, name: str) -> None:
    shim = standing(f"served_errors:{name}")
    for what, error in outcomes(getattr(user, name), [*user.FAITHFUL]).items():
        local = raised(user.FAITHFUL[what])
        assert facts(error) == facts(local), what
        cause = error.__cause__
        assert isinstance(cause, RemoteTraceback), what
        assert cause.pod == socket.gethostname()
        assert (cause.function, cause.endpoint) == (f"served_errors:{name}", shim.endpoint)
        assert re.search(r'File ".*/served_errors\.py", line \d+, in ', cause.text), what
        # As a person reads it.
        text = "".join(traceback.format_exception(error))
        assert f"on {socket.gethostname()} ({shim.endpoint})\n" in text, what
        assert "turbolift/shim" not in cause.text


def test_the_pod_is_named(deployment: Any, user: Any) -> None:
    deployment.start("served_errors:threads", TURBOLIFT_POD="quote-1a2b-xyz")
    with pytest.raises(KeyError) as caught:
        user.threads.call("key")
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert caught.value.__cause__.pod == "quote-1a2b-xyz"
    assert "on quote-1a2b-xyz (unix:" in str(caught.value.__cause__)
    with pytest.raises(RemoteExit) as left:
        user.threads.call("sys.exit")
    assert left.value.pod == "quote-1a2b-xyz"


def test_an_error_through_two_servers_names_both(deployment: Any, user: Any) -> None:
    routes = {"TURBOLIFT": "on", "TURBOLIFT_ROUTES": str(deployment.path)}
    deployment.start("served_errors:threads", TURBOLIFT_POD="pod-inner")
    deployment.start("served_errors:outer", TURBOLIFT_POD="pod-outer", **routes)
    with pytest.raises(user.Keyword) as caught:
        user.outer.call("keyword")
    assert caught.value.code == 3
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert cause.pod == "pod-outer"
    assert "on pod-inner (unix:" in cause.text
    assert "in outer" in cause.text
    assert "in act" in cause.text


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_what_cannot_arrive_whole_is_said_to(standing: Standing, user: Any, name: str) -> None:
    shim = standing(f"served_errors:{name}")
    found: dict[str, Any] = outcomes(getattr(user, name), [*user.HARD])
    for what, error in found.items():
        assert isinstance(error, Exception), what
        assert isinstance(error.__cause__, RemoteTraceback), what
        assert len(error.__cause__.text) < 140_000, what

    exiting = found["exiting"]
    assert type(exiting) is user.Exiting
    assert exiting.args == ("x",)
    # Its text needs what stayed there: it says what it said there.
    reaching = found["reaching"]
    assert isinstance(reaching, user.Reaching)
    assert str(reaching) == "status 404"
    assert reaching.__notes__[-1] == "turbolift: attributes that did not travel: answer"
    assert "served_errors.Reaching: status 404" in "".join(traceback.format_exception_only(reaching))
    http = found["http"]
    assert isinstance(http, (urllib.error.HTTPError, RemoteError))
    assert "404" in str(http)
    # Of what resists to be looked at, the type at least.
    for what, kind in (("hiding", "Hiding"), ("picky", "Picky")):
        error = found[what]
        assert type(error) is getattr(user, kind) or error.type == f"served_errors:{kind}"
    assert type(found["placeless"]) is user.Placeless

    cycles = found["cycles"]
    assert (type(cycles), cycles.args) == (ValueError, ("first",))
    assert "KeyError: 'second'" in cycles.__cause__.text
    chain = found["chain"]
    assert (type(chain), chain.args) == (ValueError, (4999,))
    assert "characters" in chain.__cause__.text
    wide = found["wide"]
    assert [member.args for member in wide.exceptions] == [(number,) for number in range(10_000)]
    assert wide.__notes__ == ["turbolift: further exceptions of the group that did not travel: 2000"]
    levels = 0
    inner = found["deep group"]
    while isinstance(inner, ExceptionGroup):
        inner = inner.exceptions[0]
        levels += 1
    assert levels == 16
    assert isinstance(inner, RemoteError)

    lock: Any = found["lock"]
    assert lock.args[0] == "with a lock"
    assert lock.args[1].startswith("<unlocked _thread.lock")
    assert lock.fine == 1
    assert lock.__notes__ == [
        "turbolift: arguments that did not travel, here as text: args[1]",
        "turbolift: attributes that did not travel: lock",
    ]
    assert type(lock) is ValueError
    assert found["class"].args == ("<class 'served_errors.Answer'>",)
    assert type(found["decimal"]).__name__ == "InvalidOperation"
    for what in ("huge", "huge list", "huge bytes"):
        error = found[what]
        assert type(error) is ValueError
        assert len(error.args[0]) < 100_000, what
        assert "characters ..." in error.args[0]
        assert error.__notes__ == ["turbolift: arguments that did not travel, here as text: args[0]"]
    assert sum(map(len, found["huge notes"].__notes__)) < 20_000_000

    # The server is as it was.
    if name != "processes":
        assert getattr(user, name).call("pid") == str(shim.process.pid)


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_what_ends_a_program_is_told_apart_and_ends_none(standing: Standing, user: Any, name: str) -> None:
    shim = standing(f"served_errors:{name}")
    function = getattr(user, name)
    found: dict[str, Any] = outcomes(
        function, ["sys.exit", "interrupt", "cancelled", "generator exit", "ending", "recurse", "memory"]
    )
    exited = found["sys.exit"]
    assert type(exited) is RemoteExit
    assert exited.code == {"why": "done"}
    assert "neither the server nor this program" in str(exited)
    assert type(found["interrupt"]) is RemoteInterrupt
    assert "nobody interrupted this program" in str(found["interrupt"])
    assert type(found["cancelled"]) is RemoteCancelled
    assert found["cancelled"].remote_args == ("mine",)
    assert "nobody cancelled the call" in str(found["cancelled"])
    for what, kind in (("generator exit", "builtins:GeneratorExit"), ("ending", "served_errors:Ending")):
        assert type(found[what]) is RemoteError
        assert found[what].type == kind
    assert "in recurse" in found["recurse"].__cause__.text
    assert type(found["recurse"]) is RecursionError
    assert type(found["memory"]) is MemoryError
    for error in (exited, found["interrupt"], found["cancelled"], found["ending"]):
        assert error.pod == socket.gethostname()
        assert "served_errors.py" in error.traceback
    if name != "processes":
        assert function.call("pid") == str(shim.process.pid)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_task_that_exits_does_not_end_the_server(deployment: Any, user: Any, loop: str) -> None:
    shim = deployment.start("served_errors:asynchronous", TURBOLIFT_LOOP=loop)

    async def main() -> None:
        for _ in range(3):
            ends = ("sys.exit", "interrupt", "cancelled", "key")
            calls = [outcome(user.asynchronous(f"task: {what}")) for what in ends]
            found = await asyncio.gather(*calls, user.asynchronous("pid"))
            assert [type(error) for error in found[:4]] == [
                RemoteExit,
                RemoteInterrupt,
                RemoteCancelled,
                KeyError,
            ]
            assert found[4] == str(shim.process.pid)

    asyncio.run(main())
    # Of two in one turn of its loop uvloop tells one.
    assert 3 <= len(shim.logged("a task would have ended the server")) <= 6
    assert shim.stop() == 0


CRASHES = [
    ("exit", "", 5, "exited with status 5"),
    ("abort", "SIGABRT", None, "native code crashed"),
    ("segfault", "SIGSEGV", None, "native code crashed"),
    ("kill", "SIGKILL", None, "see the option memory"),
]


def test_a_crashed_worker_process_is_told(deployment: Any, user: Any, tmp_path: Path) -> None:
    shim = deployment.start("served_errors:processes", TURBOLIFT_POD="pod-7")
    for what, name, status, said in CRASHES:
        with pytest.raises(WorkerDied) as caught:
            user.processes.call(what)
        error = caught.value
        assert isinstance(error, MaybeExecuted)
        assert (error.signal, error.status, error.pod) == (name, status, "pod-7")
        assert error.pid != shim.process.pid
        assert said in str(error)
        assert f"{error.pid} on pod-7" in str(error)
        assert error.function == "served_errors:processes"
        # Another one is there.
        assert user.processes.call("pid") != str(error.pid)
    assert "Fatal Python error: Segmentation fault" in shim.text()
    assert 'served_errors.py", line' in shim.text()
    assert shim.stop() == 0


def test_an_idempotent_function_that_always_crashes_says_so_in_the_end(deployment: Any, user: Any) -> None:
    deployment.start("served_errors:stubborn")
    with pytest.raises(WorkerDied) as caught:
        user.stubborn.call("segfault")
    assert caught.value.signal == "SIGSEGV"


@pytest.mark.parametrize("name", ["inline", "threads", "asynchronous"])
@pytest.mark.parametrize("what", ["exit", "segfault", "kill"])
def test_a_crash_of_the_whole_server_is_told(deployment: Any, user: Any, name: str, what: str) -> None:
    shim = deployment.start(f"served_errors:{name}")
    with pytest.raises(MaybeExecuted) as caught:
        getattr(user, name).call(what)
    assert not isinstance(caught.value, WorkerDied)
    assert "may or may not have run" in str(caught.value)
    assert "deploy -- logs" in str(caught.value)
    ended = {"exit": 5, "segfault": -signal.SIGSEGV, "kill": -signal.SIGKILL}
    assert shim.process.wait(60) == ended[what]
    if what == "segfault":
        assert "Segmentation fault" in shim.text()


def test_stop_iteration_of_a_plain_call(
    standing: Standing, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    standing("served_errors:threads", "served_errors:asynchronous")
    for switch in ("on", "off"):
        monkeypatch.setenv("TURBOLIFT", switch)
        with pytest.raises(StopIteration) as caught:
            user.threads.call("stop")
        assert caught.value.value == "stop"
        assert isinstance(caught.value.__cause__, RemoteTraceback) is (switch == "on")
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
            asyncio.run(user.threads("stop"))
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
            user.asynchronous.call("stop")


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_errors_of_a_map_are_those_of_its_calls(
    standing: Standing, user: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    standing(f"served_errors:{name}")
    whats = [*user.FAITHFUL, "stop", "sys.exit", "cancelled"]
    found = getattr(user, name).map(whats, return_exceptions=True).call()
    for what, error in zip(whats, found, strict=True):
        if what in user.FAITHFUL:
            assert facts(error) == facts(raised(user.FAITHFUL[what])), what
            assert isinstance(error.__cause__, RemoteTraceback), what
    assert [type(error) for error in found[-3:]] == [RuntimeError, RemoteExit, RemoteCancelled]
    monkeypatch.setenv("TURBOLIFT", "off")
    local = getattr(user, name).map(["stop", "key"], return_exceptions=True).call()
    assert [type(error) for error in local] == [RuntimeError, KeyError]
