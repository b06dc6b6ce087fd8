# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Hedged calls: a second send where the first one has no answer; the first answer wins."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from turbolift import Local, on
from turbolift.client import Caller, Policy, default_transport, parse_table
from turbolift.errors import ConfigurationError, DeadlineExceeded, MaybeExecuted, Overloaded

QUICK = Policy(first=0.001, longest=0.01, refused=0.3, busy=0.3)
# The head of an answer, and nothing of its body: the connection stays open.
SILENT = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"


@on(Local(), idempotent=True)
def steady(a: int) -> int:
    return a


@on(Local())
def once(a: int) -> int:
    return a


def caller_of(says: Any, endpoint: str, *others: str, policy: Policy = QUICK, **route: Any) -> Caller:
    entry = {"version": "0" * 64, "endpoint": endpoint, "contract": says.contract.digest, **route}
    if others:
        entry["replicas"] = list(others)
    table = {"version": 1, "deployment": "d", "platform": "p", "generation": 1, "routes": {"m:add": entry}}
    parsed = parse_table(table, "test")
    return Caller(default_transport(), lambda: parsed, policy)


def run(caller: Caller, says: Any, times: int = 1, **options: Any) -> list[Any]:
    async def main() -> list[Any]:
        found: list[Any] = []
        for _ in range(times):
            try:
                found.append(await caller.call("m:add", says.contract, (1,), {}, **options))
            except Exception as error:
                found.append(error)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not {task for task in left if "send" in repr(task)}
        await caller.transport.aclose()
        return found

    return asyncio.run(main())


def test_the_second_send_wins_by_another_connection_with_the_same_key(scripted: Any, says: Any) -> None:
    server = scripted(SILENT, says.result(2))
    caller = caller_of(says, server.endpoint, idempotent=True)
    assert run(caller, says, hedge=0.02) == [2]
    assert server.connections == 2
    first, second = (head.decode().split("\r\n") for head, _ in server.requests)
    keys = [line for line in (*first, *second) if line.startswith("Idempotency-Key")]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert "Turbolift-Attempt: 2" in second
    assert not any(line.startswith("Turbolift-Attempt") for line in first)
    tally = caller.tallies["m:add"]
    assert (tally.hedges, tally.hedges_won, tally.outcomes) == (1, 1, {"ok": 1})


def test_another_endpoint_is_asked_where_there_is_one(scripted: Any, says: Any) -> None:
    slow, quick = scripted(SILENT), scripted(says.result(2))
    caller = caller_of(says, slow.endpoint, quick.endpoint, idempotent=True)
    assert run(caller, says, 20, hedge=0.02) == [2] * 20
    assert len(slow.requests) == caller.tallies["m:add"].hedges > 0
    assert len(quick.requests) == 20


def test_a_quick_answer_is_sent_for_once(scripted: Any, says: Any) -> None:
    server = scripted(says.result(3))
    caller = caller_of(says, server.endpoint, idempotent=True)
    assert run(caller, says, 10, hedge=30.0) == [3] * 10
    assert len(server.requests) == 10
    assert caller.tallies["m:add"].hedges == 0


@pytest.mark.parametrize("kind", ["overloaded", "draining", "not-ready"])
def test_a_refusal_does_not_win(scripted: Any, says: Any, kind: str) -> None:
    slow, full = scripted(SILENT), scripted(says.problem(kind, retry_after=0))
    caller = caller_of(says, slow.endpoint, full.endpoint, idempotent=True)
    ended = run(caller, says, 6, hedge=0.02, timeout=0.4)
    # Where the second send was refused, the first one was waited for, and kept its connection.
    assert caller.tallies["m:add"].hedges > 0
    assert caller.tallies["m:add"].hedges_won == 0
    assert all(type(one) in (DeadlineExceeded, Overloaded) for one in ended)


def test_a_send_that_breaks_leaves_it_to_the_other(scripted: Any, says: Any) -> None:
    slow, cuts = scripted(SILENT), scripted(None)
    caller = caller_of(says, slow.endpoint, cuts.endpoint, idempotent=True)
    (ended,) = run(caller, says, hedge=0.02, timeout=0.5)
    assert isinstance(ended, DeadlineExceeded)
    both = caller_of(says, scripted(None).endpoint, idempotent=True)
    (ended,) = run(both, says, hedge=5.0)
    assert isinstance(ended, MaybeExecuted)


def test_what_the_function_raises_wins(scripted: Any, says: Any) -> None:
    raised = says.problem("raised", exception={"type": "builtins:KeyError", "message": "x", "args": ["x"],
                                               "traceback": ""})  # fmt: skip
    caller = caller_of(says, scripted(SILENT, raised).endpoint, idempotent=True)
    (ended,) = run(caller, says, hedge=0.02)
    assert type(ended).__name__ in ("KeyError", "RemoteError")
    assert caller.tallies["m:add"].hedges_won == 1


def test_hedges_are_counted_against_the_budget(scripted: Any, says: Any) -> None:
    server = scripted(SILENT)
    policy = QUICK._replace(floor=2, share=0, per_second=0)
    caller = caller_of(says, server.endpoint, idempotent=True, policy=policy)
    ended = run(caller, says, 6, hedge=0.01, timeout=0.2)
    assert {type(one) for one in ended} == {DeadlineExceeded}
    assert len(server.requests) == 6 + 2
    assert caller.tallies["m:add"].hedges == 2


def test_a_call_that_is_cancelled_ends_both(scripted: Any, says: Any) -> None:
    server = scripted(SILENT)
    caller = caller_of(says, server.endpoint, idempotent=True)

    async def main() -> None:
        task = asyncio.create_task(caller.call("m:add", says.contract, (1,), {}, hedge=0.01))
        end = time.monotonic() + 60
        while len(server.requests) < 2:
            assert time.monotonic() < end
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        connections: Any = caller.transport
        assert sum(connections.connections().values()) == 0
        await caller.transport.aclose()

    asyncio.run(main())


def test_only_what_is_idempotent(scripted: Any, says: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"test_hedge\.py:[0-9]+: option hedge=0\.1: once is not idempotent"
    ):
        once.with_options(hedge=0.1)
    with pytest.raises(ConfigurationError):
        once.with_options(idempotent=True, hedge=0.1).with_options(idempotent=False)
    with pytest.raises(ConfigurationError):
        steady.with_options(idempotent=False, hedge=0.1)
    assert once.with_options(idempotent=True, hedge=0.1).with_options(hedge=None, idempotent=False)
    for wrong in (0, -1, True, "1", float("inf"), float("nan")):
        with pytest.raises(ConfigurationError, match="option hedge="):
            steady.with_options(hedge=wrong)  # type: ignore[arg-type]
        if wrong != 0:
            with pytest.raises(ConfigurationError, match="option wait="):
                steady.with_options(wait=wrong)  # type: ignore[arg-type]
    # What is deployed may be older than the tag.
    server = scripted(says.result(1))
    (ended,) = run(caller_of(says, server.endpoint), says, hedge=0.1)
    assert isinstance(ended, ConfigurationError)
    assert "was deployed without idempotent=True" in str(ended)
    assert server.requests == []
