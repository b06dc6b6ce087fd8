# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Calls through real servers: results, arguments, exceptions, nesting."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from turbolift import (
    ContractMismatchError,
    DecodeError,
    EncodeError,
    FunctionNotFound,
    NotRoutedError,
    RemoteError,
    RemoteTraceback,
)

Standing = Callable[..., Any]


def test_every_kind_of_function_answers(standing: Standing, served: Any) -> None:
    standing(
        "served:act", "served:aact", "served:pact", "served:inline", "served:Cart.total", "served:Cart.count"
    )

    async def main() -> list[Any]:
        return [
            await served.act("echo", "a"),
            await served.aact("echo", text="b"),
            await served.pact(what="echo", text="c"),
            await served.inline("echo", "d"),
            await served.Cart.total([1, 2.5]),
            await served.Cart.count([1.0, 2.0]),
        ]

    assert asyncio.run(main()) == ["a", "b", "c", "d", 3.5, 2]


def test_where_each_kind_runs(standing: Standing, served: Any) -> None:
    shims = {name: standing(f"served:{name}") for name in ("act", "aact", "pact", "inline")}

    async def main() -> None:
        assert (await served.act("thread")).startswith("turbolift-call")
        assert await served.aact("thread") == "MainThread"
        assert await served.inline("thread") == "MainThread"
        assert int(await served.act("pid")) == shims["act"].process.pid
        pids = {await served.pact("pid") for _ in range(8)} | set(
            await asyncio.gather(*(served.pact("sleep", "/dev/null", 0.05) for _ in range(2)))
        )
        assert str(shims["pact"].process.pid) not in pids

    asyncio.run(main())


def test_a_deployed_function_is_not_run_here(standing: Standing, served: Any) -> None:
    standing("served:act")
    assert int(served.act.call("pid")) != __import__("os").getpid()
    assert served.act.local("pid") == str(__import__("os").getpid())


def test_remote_goes_by_the_route_while_the_switch_is_off(
    standing: Standing, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = standing("served:act")
    monkeypatch.setenv("TURBOLIFT", "off")

    async def main() -> tuple[str, str]:
        return await served.act("pid"), await served.act.remote("pid")

    here, there = asyncio.run(main())
    assert here == str(__import__("os").getpid())
    assert there == str(shim.process.pid)


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_bytes_travel_as_they_are(standing: Standing, served: Any, size: int) -> None:
    standing("served:flip")
    data = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    assert served.flip.call(data) == data[::-1]


def test_call_from_threads_and_from_a_loop(standing: Standing, served: Any) -> None:
    standing("served:quick")
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda i=i: results.append(served.quick.call("echo", str(i))))
        for i in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results, key=int) == [str(i) for i in range(20)]

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"await quick\(\.\.\.\)"):
            served.quick.call("echo", "x")
        # In another thread there is no loop to be stopped.
        assert await asyncio.to_thread(served.quick.call, "echo", "y") == "y"

    asyncio.run(main())


def test_calls_from_one_loop_after_another(standing: Standing, served: Any) -> None:
    standing("served:quick")
    for i in range(3):
        assert asyncio.run(served.quick("echo", str(i))) == str(i)


def test_map_over_the_wire(standing: Standing, served: Any) -> None:
    standing("served:quick")

    async def main() -> None:
        words = [str(i) for i in range(300)]
        assert await served.quick.map(["echo"] * 300, words, concurrency=50) == words
        assert sorted(
            [w async for w in served.quick.starmap((("echo", w) for w in words), ordered=False)]
        ) == (sorted(words))
        mixed = await served.quick.map(["echo", "value", "echo"], ["a", "b", "c"], return_exceptions=True)
        assert mixed[0::2] == ["a", "c"]
        assert isinstance(mixed[1], ValueError)

    asyncio.run(main())
    assert served.quick.map(["echo"] * 2, "ab").call() == ["a", "b"]


def test_a_served_function_calls_another(standing: Standing, served: Any) -> None:
    standing("served:quick", "served:aact", "served:nest")

    async def main() -> None:
        assert await served.aact("nested", "inner") == "inner"
        assert await served.nest("inner") == "inner"

    asyncio.run(main())


BUILTINS = [
    ("value", ValueError, ("no",)),
    ("key", KeyError, ((1, "no"),)),
    ("memory", MemoryError, ()),
    ("timeout", TimeoutError, ("no",)),
]


@pytest.mark.parametrize("name", ["act", "aact", "pact"])
@pytest.mark.parametrize(("what", "kind", "args"), BUILTINS)
def test_builtin_exceptions_arrive_as_they_are(
    standing: Standing, served: Any, name: str, what: str, kind: type[Exception], args: tuple[Any, ...]
) -> None:
    standing(f"served:{name}")
    function = getattr(served, name)
    with pytest.raises(kind) as caught:
        asyncio.run(function(what, "no"))
    assert type(caught.value) is kind
    assert caught.value.args == args
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "served.py" in cause.text
    assert "in fail" in cause.text
    assert "turbolift/" not in cause.text
    assert cause.function == f"served:{name}"
    assert cause.endpoint.startswith("unix:///")


def test_facts_of_builtin_exceptions(standing: Standing, served: Any) -> None:
    standing("served:act")
    with pytest.raises(FileNotFoundError) as caught:
        served.act.call("file", "x")
    assert (caught.value.errno, caught.value.filename) == (2, "/no/such/x")
    with pytest.raises(UnicodeDecodeError) as undecodable:
        served.act.call("unicode", "é")
    assert undecodable.value.object == "é".encode()
    with pytest.raises(RecursionError):
        served.act.call("recursion")


def test_the_users_own_class_with_its_facts(standing: Standing, served: Any) -> None:
    standing("served:act")
    with pytest.raises(served.OutOfStock) as caught:
        served.act.call("stock", "A-1")
    assert caught.value.args == ("A-1", 3)
    assert caught.value.left == 3
    assert caught.value.__notes__ == ["turbolift: attributes that did not travel: source"]


@pytest.mark.parametrize(
    ("what", "kind", "text"),
    [
        ("hidden", "hidden_module:Hidden", "no"),
        ("exit", "builtins:SystemExit", "3"),
        ("interrupt", "builtins:KeyboardInterrupt", ""),
        ("cancelled", "asyncio.exceptions:CancelledError", ""),
    ],
)
@pytest.mark.parametrize("name", ["act", "aact", "pact", "inline"])
def test_what_cannot_be_rebuilt_is_told(
    standing: Standing, served: Any, name: str, what: str, kind: str, text: str
) -> None:
    standing(f"served:{name}")
    with pytest.raises(RemoteError) as caught:
        asyncio.run(getattr(served, name)(what, "no"))
    assert caught.value.type == kind
    assert caught.value.function == f"served:{name}"
    assert f"raised {kind}" in str(caught.value)
    assert text in str(caught.value)
    assert "in fail" in caught.value.traceback
    assert "hidden_module" not in __import__("sys").modules
    # The server is as it was.
    assert asyncio.run(getattr(served, name)("echo", "alive")) == "alive"


def test_notes_and_chains(standing: Standing, served: Any) -> None:
    standing("served:act")
    with pytest.raises(ValueError, match="no") as noted:
        served.act.call("notes", "no")
    assert noted.value.__notes__ == ["the first note"]
    with pytest.raises(RuntimeError) as chained:
        served.act.call("chain", "no")
    assert isinstance(chained.value.__cause__, RemoteTraceback)
    assert "invalid literal for int()" in chained.value.__cause__.text


def test_exception_groups(standing: Standing, served: Any) -> None:
    standing("served:act")
    with pytest.raises(ExceptionGroup) as caught:
        served.act.call("group", "several")
    group = caught.value
    assert group.message == "several"
    assert [type(e) for e in group.exceptions] == [ValueError, served.OutOfStock, ExceptionGroup]
    inner = group.exceptions[2]
    assert isinstance(inner, ExceptionGroup)
    assert inner.exceptions[0].args == ("d",)


def test_stop_iteration_is_what_a_local_call_makes_of_it(
    standing: Standing, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    standing("served:act")
    for switch in ("on", "off"):
        monkeypatch.setenv("TURBOLIFT", switch)
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
            asyncio.run(served.act("stop", "x"))


def test_a_result_that_does_not_fit_its_hint(standing: Standing, served: Any) -> None:
    for name in ("act", "pact"):
        standing(f"served:{name}")
        with pytest.raises(EncodeError, match="what the function returned"):
            getattr(served, name).call("wrong")


def test_wrong_arguments_never_leave(standing: Standing, served: Any) -> None:
    standing("served:act")
    with pytest.raises(TypeError, match="missing"):
        served.act.call()
    with pytest.raises(TypeError, match="nope"):
        served.act.call("echo", nope=1)
    with pytest.raises(EncodeError, match="text: expected str, got int"):
        served.act.call("echo", 3)


def test_another_contract_is_named_on_either_side(standing: Standing, served: Any, shared: Any) -> None:
    standing("served:act")
    right = shared.routes["served:act"]
    served_changed = importlib.import_module("served_changed")

    try:
        # By the table: nothing is sent.
        shared.routes["served:act"] = {**right, "contract": "sha256:" + "0" * 64}
        shared.write()
        with pytest.raises(ContractMismatchError) as caught:
            served.act.call("echo", "x")
        assert caught.value.ours == served.act.contract.digest
        assert caught.value.theirs == "sha256:" + "0" * 64
        # By the server, where the table is wrong: another function's signature under this function's name.
        shared.routes["served_changed:f"] = {**right, "contract": served_changed.f.contract.digest}
        shared.write()
        with pytest.raises(FunctionNotFound, match="served:act is served here, not served_changed:f"):
            served_changed.f.call(1)
    finally:
        shared.routes["served:act"] = right
        shared.routes.pop("served_changed:f", None)
        shared.write()


def test_no_route_is_an_error_that_says_how_to_deploy(standing: Standing, served: Any, shared: Any) -> None:
    standing("served:act")
    with pytest.raises(NotRoutedError) as caught:
        served.never_warm.call()
    assert "./pants run deploy" in str(caught.value)
    assert str(shared.path) in str(caught.value)
    assert caught.value.function == "served:never_warm"
    assert "no route" in repr(served.never_warm)
    assert repr(served.act).endswith("runs at " + shared.routes["served:act"]["endpoint"] + ">")


def test_a_body_that_is_no_call(standing: Standing, http: Any) -> None:
    shim = standing("served:act")
    post = http(shim.endpoint)
    assert post(b"{", "application/json")[0] == 400
    assert post(b'{"args": [1]}', "application/json")[0] == 400
    assert post(b'{"args": {}, "more": 1}', "application/json")[0] == 400
    assert post(b"x", "text/plain")[0] == 400
    assert post(b"\0\0\0\x09{}", "application/vnd.turbolift.frames")[0] == 400
    status, problem = post(b'{"args": {"what": 3}}', "application/json")
    assert status == 422
    assert problem["path"] == "what"
    assert problem["type"] == "urn:turbolift:problem:invalid-arguments"
    status, problem = post(b'{"args": {"what": "echo"}}', "application/json", "Turbolift-Contract: sha256:1")
    assert status == 409
    assert problem["caller"] == "sha256:1"
    assert post(b'{"args": {"what": "echo"}}', "application/json", "Turbolift-Deadline: soon")[0] == 400
    assert post(b'{"args": {"what": "echo", "text": "x"}}', "application/json") == (200, {"result": "x"})


def test_arguments_that_the_server_refuses_are_a_decode_error() -> None:
    from turbolift.wire import Problem, decode_body, problem_to_exception

    document, _ = decode_body(
        "application/problem+json", Problem("invalid-arguments", "x: no", {"path": "x"}).body()
    )
    error = problem_to_exception(document, function="m:f", endpoint="unix:///s")
    assert isinstance(error, DecodeError)
    assert error.path == "x"
