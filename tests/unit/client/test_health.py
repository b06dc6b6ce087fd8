# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Endpoints that fail: outliers among several are left out, one alone is knocked at by one call for all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from turbolift.client import Caller, Policy, Route, default_transport, parse_table
from turbolift.client import health as module
from turbolift.client.health import Health
from turbolift.client.metrics import Collector
from turbolift.errors import ConnectError, DeadlineExceeded, MaybeExecuted, RemoteError, WireError

QUICK = Policy(first=0.001, longest=0.01, refused=0.3, busy=0.3)


def caller_of(says: Any, endpoint: str, *others: str, policy: Policy = QUICK, **route: Any) -> Caller:
    entry = {"version": "0" * 64, "endpoint": endpoint, "contract": says.contract.digest, **route}
    if others:
        entry["replicas"] = list(others)
    table = {"version": 1, "deployment": "d", "platform": "p", "generation": 1, "routes": {"m:add": entry}}
    parsed = parse_table(table, "test")
    return Caller(default_transport(), lambda: parsed, policy)


async def one(caller: Caller, says: Any, **options: Any) -> Any:
    try:
        return await caller.call("m:add", says.contract, (1,), {}, **options)
    except Exception as error:
        return error


async def in_turn(caller: Caller, says: Any, count: int, **options: Any) -> list[Any]:
    try:
        return [await one(caller, says, **options) for _ in range(count)]
    finally:
        await caller.transport.aclose()


async def together(caller: Caller, says: Any, count: int, **options: Any) -> list[Any]:
    try:
        return await asyncio.gather(*(one(caller, says, **options) for _ in range(count)))
    finally:
        await caller.transport.aclose()


# What is known.

ENDPOINTS = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=7, unique=True)
EVENTS = st.lists(st.tuples(st.sampled_from(["failed", "answered"]), st.integers(0, 6)), max_size=80)


@given(ENDPOINTS, EVENTS)
def test_law_never_more_than_half_of_several_are_left_out(
    names: list[str], events: list[tuple[str, int]]
) -> None:
    replicas = tuple((name, None) for name in names) if len(names) > 1 else ()
    health = Health()
    for what, number in events:
        route = Route("0", names[number % len(names)], "c", replicas=replicas)
        if what == "failed":
            health.failed(route, time.monotonic(), "why")
        else:
            health.answered(route.endpoint)
            assert not health.is_out(route.endpoint, time.monotonic())
        out = health.left_out()
        if replicas:
            assert len(out) <= len(names) / 2
            assert health.shut(route) is None
            assert health.choose(route).endpoint not in out
        else:
            assert (health.shut(route) is not None) == bool(out)


def test_failures_at_once_are_one() -> None:
    health, route = Health(), Route("0", "a", "c")
    began = time.monotonic()
    for _ in range(100):
        health.failed(route, began, "cut")
    assert health.ailing["a"].failures == 1
    assert health.shut(route) is None


def test_the_times_grow_up_to_a_limit_and_are_jittered() -> None:
    pauses = []
    ailing = module.Ailing(0.0)
    for _ in range(40):
        ailing.leave_out(0.0, (1.0, 30.0))
        pauses.append(ailing.until)
    for number, pause in enumerate(pauses):
        assert 0.75 <= pause / min(2**number, 30.0) <= 1.25
    assert len(set(pauses)) == len(pauses)


def test_what_failed_long_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FORGET", -1.0)
    health = Health()
    for name in "abc":
        health.failed(Route("0", name, "c"), time.monotonic(), "why")
    assert list(health.ailing) == ["c"]


# Several.


def test_an_outlier_costs_no_call(scripted: Any, says: Any, folder: Path) -> None:
    good, better = scripted(says.result(1)), scripted(says.result(1))
    dead = f"unix://{folder}/none"
    caller = caller_of(says, dead, good.endpoint, better.endpoint)
    assert asyncio.run(in_turn(caller, says, 60)) == [1] * 60
    assert caller.health.left_out() == [dead]
    # It was tried until it had failed in a row, and no more.
    assert caller.tallies["m:add"].resent == module.IN_A_ROW
    assert min(len(good.requests), len(better.requests)) > 5
    registry = CollectorRegistry()
    registry.register(Collector(lambda: caller))
    assert registry.get_sample_value("turbolift_client_left_out", {"endpoint": dead}) == 1
    assert registry.get_sample_value("turbolift_client_ejections_total", {"endpoint": dead}) == 1
    caller.health.answered(dead)
    assert registry.get_sample_value("turbolift_client_left_out", {"endpoint": dead}) is None


@pytest.mark.parametrize("dead", [1, 2, 3])
def test_no_call_fails_while_one_is_well(scripted: Any, says: Any, folder: Path, dead: int) -> None:
    gone = [f"unix://{folder}/none{number}" for number in range(dead)]
    caller = caller_of(says, *gone, scripted(says.result(1)).endpoint)
    assert asyncio.run(in_turn(caller, says, 40)) == [1] * 40
    assert 1 <= len(caller.health.left_out()) <= (dead + 1) / 2


@pytest.mark.parametrize("kind", ["draining", "not-ready"])
def test_one_that_starts_or_ends_is_left_out(scripted: Any, says: Any, kind: str) -> None:
    good, bad = scripted(says.result(1)), scripted(says.problem(kind, retry_after=30))
    caller = caller_of(says, good.endpoint, bad.endpoint)
    assert asyncio.run(in_turn(caller, says, 40)) == [1] * 40
    assert caller.health.left_out() == [bad.endpoint]
    assert len(bad.requests) == module.IN_A_ROW


def test_one_that_cuts_is_left_out(scripted: Any, says: Any) -> None:
    good, bad = scripted(says.result(1)), scripted(None)
    caller = caller_of(says, good.endpoint, bad.endpoint)
    ended = asyncio.run(in_turn(caller, says, 40))
    assert sum(isinstance(one, MaybeExecuted) for one in ended) == module.IN_A_ROW == len(bad.requests)
    caller = caller_of(says, good.endpoint, bad.endpoint, idempotent=True)
    assert asyncio.run(in_turn(caller, says, 40)) == [1] * 40


def test_a_proxy_with_nobody_behind_it_is_left_out(scripted: Any, says: Any) -> None:
    good, bad = scripted(says.result(1)), scripted(says.answer(502, b"<html>", "text/html"))
    caller = caller_of(says, good.endpoint, bad.endpoint)
    ended = asyncio.run(in_turn(caller, says, 40))
    assert sum(isinstance(one, WireError) for one in ended) == module.IN_A_ROW == len(bad.requests)


def test_one_that_does_not_answer_is_left_out(scripted: Any, says: Any) -> None:
    good, bad = scripted(says.result(1)), scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{")
    caller = caller_of(says, good.endpoint, bad.endpoint)

    async def main() -> list[Any]:
        found = []
        while not caller.health.left_out():
            found.append(await one(caller, says, timeout=0.3))
        await caller.transport.aclose()
        return found

    ended = asyncio.run(main())
    assert sum(isinstance(one, DeadlineExceeded) for one in ended) >= module.IN_A_ROW


def test_what_the_function_raises_and_a_full_queue_say_nothing_against_an_endpoint(
    scripted: Any, says: Any
) -> None:
    raised = says.problem("raised", exception={"type": "m:Own", "message": "no", "args": [], "traceback": ""})
    good = scripted(says.result(1))
    bad = scripted(raised, says.problem("overloaded", retry_after=0), says.problem("worker-died"))
    caller = caller_of(says, good.endpoint, bad.endpoint)
    asyncio.run(in_turn(caller, says, 60))
    assert len(bad.requests) > 10
    assert caller.health.ailing == {}
    assert caller.health.ejections == {}
    full = scripted(raised)
    ended = asyncio.run(in_turn(caller_of(says, full.endpoint), says, 10))
    assert {type(one) for one in ended} == {RemoteError}


def test_one_that_is_well_again_is_used_again(
    scripted: Any, says: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AMONG", (0.05, 0.1))
    good = scripted(says.result(1))
    bad = scripted(*[says.problem("draining", retry_after=0)] * 4, says.result(2))
    caller = caller_of(says, good.endpoint, bad.endpoint)

    async def main() -> None:
        end = time.monotonic() + 60
        while await one(caller, says) != 2:
            assert time.monotonic() < end
            await asyncio.sleep(0.005)
        await caller.transport.aclose()

    asyncio.run(main())
    assert caller.health.ailing == {}
    assert caller.health.ejections == {bad.endpoint: 2}


# One alone.


def test_calls_wait_for_a_server_that_is_started_again_and_few_try(
    scripted: Any, says: Any, folder: Path
) -> None:
    starting = threading.Timer(2.0, lambda: scripted(says.result(6)))
    caller = caller_of(says, f"unix://{folder}/s0", policy=Policy())
    starting.start()
    try:
        assert asyncio.run(together(caller, says, 100)) == [6] * 100
    finally:
        starting.join()
    # By itself each would have tried seven times in two seconds.
    assert caller.tallies["m:add"].resent < 4 * 100
    assert caller.health.ailing == {}


def test_a_batch_waits_too(scripted: Any, says: Any, folder: Path) -> None:
    from turbolift.client.batches import Batches

    endpoint = f"unix://{folder}/s0"
    caller = caller_of(says, endpoint, policy=Policy())
    route = caller.way("m:add")
    for _ in range(module.IN_A_ROW):
        caller.health.failed(route, time.monotonic(), "gone")
    with pytest.raises(ConnectError):
        caller.way("m:add")
    scripted(says.result(6))
    got: list[tuple[int, Any, Exception | None]] = []

    async def main() -> None:
        batches = Batches(caller, "m:add", says.contract)
        await batches.run([(number, (number,)) for number in range(5)], lambda *row: got.append(row))
        await caller.transport.aclose()

    asyncio.run(main())
    assert sorted(got) == [(number, 6, None) for number in range(5)]
    assert caller.health.ailing == {}


def test_fails_at_once_where_that_is_wanted(says: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALONE", (60.0, 60.0))
    endpoint = f"unix://{folder}/none"
    caller = caller_of(says, endpoint)
    ended = asyncio.run(in_turn(caller, says, module.IN_A_ROW + 5, wait=0))
    assert {type(one) for one in ended} == {ConnectError}
    first, last = ended[0], ended[-1]
    assert first.retry_after is None
    assert last.retry_after is not None
    assert 0 < last.retry_after <= 75
    assert last.failing is not None
    assert last.endpoint == endpoint
    text = str(last)
    assert f"m:add: cannot reach {endpoint}: No such file or directory; the function did not run." in text
    assert "3 tries in a row have failed in " in text
    assert "the next one is in " in text
    # All but the first ones did not even try.
    assert caller.health.ailing[endpoint].failures == module.IN_A_ROW
    # Others wait as long as they may.
    waited = asyncio.run(in_turn(caller, says, 1))
    assert isinstance(waited[0], ConnectError)
    (late,) = asyncio.run(in_turn(caller, says, 1, timeout=0.1))
    assert isinstance(late, DeadlineExceeded)
    assert "3 tries in a row have failed" in str(late)


def test_one_knock_for_all(scripted: Any, says: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALONE", (0.01, 0.02))
    server = scripted(says.result(1))
    caller = caller_of(says, server.endpoint)
    route = caller.way("m:add")
    for _ in range(module.IN_A_ROW):
        caller.health.failed(route, time.monotonic(), "gone")

    async def main() -> list[bool]:
        ailing = caller.health.ailing[route.endpoint]
        await asyncio.sleep(0.05)
        return await asyncio.gather(*(ailing.knock(route.endpoint) for _ in range(50)))

    assert asyncio.run(main()) == [True] * 50
    end = time.monotonic() + 60
    while not server.connections:
        assert time.monotonic() < end
    assert server.connections == 1
    assert caller.health.shut(route) is None
    # The next failure shuts it again, for longer; the next answer forgets all.
    caller.health.failed(route, time.monotonic(), "gone")
    assert caller.health.shut(route) is not None
    assert caller.health.ailing[route.endpoint].times == 2
    assert asyncio.run(in_turn(caller, says, 1)) == [1]
    assert caller.health.ailing == {}


def test_a_knock_that_is_given_up_is_left_to_another(says: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALONE", (0.0, 0.0))
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        # The kernel answers no more once the queue is full.
        for _ in range(8):
            filler = opened.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        caller = caller_of(says, f"http://127.0.0.1:{server.getsockname()[1]}")
        route = caller.way("m:add")
        for _ in range(module.IN_A_ROW):
            caller.health.failed(route, time.monotonic(), "gone")
        ailing = caller.health.ailing[route.endpoint]
        (late,) = asyncio.run(in_turn(caller, says, 1, timeout=0.1))
        assert isinstance(late, DeadlineExceeded)
        assert ailing.out
        assert ailing.until <= time.monotonic()


def test_a_server_that_cuts_each_call_gets_few(scripted: Any, says: Any) -> None:
    server = scripted(None)
    caller = caller_of(says, server.endpoint, idempotent=True)
    ended = asyncio.run(together(caller, says, 20))
    assert {type(one) for one in ended} <= {MaybeExecuted, ConnectError}
    assert caller.health.ejections[server.endpoint] >= 1
