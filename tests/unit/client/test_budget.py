# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The retry budget: its law over any history, and calls against servers that fail."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift.client import Caller, Policy, default_transport, parse_table
from turbolift.client.budget import Budget
from turbolift.errors import DeadlineExceeded, MaybeExecuted, Overloaded, WorkerDied

STEPS = st.lists(
    st.tuples(
        st.integers(0, 40),  # calls that begin
        st.integers(0, 40),  # calls that end
        st.integers(0, 60),  # resends that are asked for
        st.floats(-0.1, 5.0),  # seconds that pass, by a clock that another thread may have read earlier
    ),
    max_size=40,
)


@given(STEPS, st.floats(0, 2), st.integers(0, 30), st.floats(0, 20))
def test_law_over_any_history(
    steps: list[tuple[int, int, int, float]], share: float, floor: int, per_second: float
) -> None:
    budget = Budget(share, floor, per_second, now=0.0)
    calls = flying = 0
    now = latest = 0.0
    marks = [
        (0, 0.0, 0, float(floor))
    ]  # calls, time, resends, what was left at most: at the start and after each step
    taken = 0
    for begin, end, asked, seconds in steps:
        calls += begin
        flying = max(0, flying + begin - end)
        now += seconds
        latest = max(latest, now)
        got = 0
        for _ in range(asked):
            before = got
            got += budget.take(calls, flying, now)
            if got == before:
                # Used up is used up, until a call is made or time passes.
                assert not budget.take(calls, flying, now)
                break
        taken += got
        # From any earlier moment on, the calm before it has left at most what was allowed to be kept then.
        for was_calls, was_at, was_taken, kept in marks:
            allowed = share * (calls - was_calls) + per_second * (latest - was_at) + kept
            assert taken - was_taken <= allowed + 1e-6
        if asked:
            marks.append((calls, latest, taken, float(floor + flying)))
    assert taken <= share * calls + floor + per_second * latest + 1e-6


@given(st.integers(0, 1000), st.floats(0.01, 1.0), st.integers(0, 20))
def test_what_it_allows_can_be_had(calls: int, share: float, floor: int) -> None:
    budget = Budget(share, floor, 0.0, now=0.0)
    got = 0
    while budget.take(calls, calls, 0.0):
        got += 1
    assert got == math.floor(min(floor + share * calls, floor + calls))


def test_calls_that_are_counted_again_later_give_nothing() -> None:
    budget = Budget(0.5, 0, 0.0, now=0.0)
    assert [budget.take(calls, 100, 0.0) for calls in (2, 0, 2, 0, 2, 4)] == [True, *[False] * 4, True]


def caller_of(endpoint: str, says: Any, policy: Policy, **route: Any) -> Caller:
    entry = {"version": "0" * 64, "endpoint": endpoint, "contract": says.contract.digest, **route}
    table = {"version": 1, "deployment": "d", "platform": "p", "generation": 1, "routes": {"m:add": entry}}
    parsed = parse_table(table, "test")
    return Caller(default_transport(), lambda: parsed, policy)


async def together(caller: Caller, says: Any, count: int, **options: Any) -> list[Any]:
    calls = (caller.call("m:add", says.contract, (1,), {}, **options) for _ in range(count))
    try:
        return await asyncio.gather(*calls, return_exceptions=True)
    finally:
        await caller.transport.aclose()


@pytest.mark.parametrize(
    ("kind", "error"), [("overloaded", Overloaded), ("worker-died", WorkerDied), (None, MaybeExecuted)]
)
def test_a_failing_server_gets_no_storm(
    scripted: Any, says: Any, kind: str | None, error: type[Exception]
) -> None:
    server = scripted(says.problem(kind, retry_after=0) if kind else None)
    policy = Policy(first=0.001, longest=0.01, busy=0.5, refused=0.5, share=0.1, floor=5, per_second=0)
    caller = caller_of(server.endpoint, says, policy, idempotent=True)
    ended = asyncio.run(together(caller, says, 60))
    assert {type(one) for one in ended} == {error}
    assert len(server.requests) == 60 + 6 + 5
    assert caller.tallies["m:add"].resent == 11
    assert caller.tallies["m:add"].held >= 49
    told = [str(one) for one in ended if "retry budget of m:add is used up" in str(one)]
    assert any("It was not sent again, after 1 try: " in text for text in told)
    assert all("10% of its calls and 0 a second" in text for text in told)


def test_a_call_waits_for_the_budget_as_long_as_it_may(scripted: Any, says: Any) -> None:
    server = scripted(*[says.problem("not-ready", retry_after=0)] * 12, says.result(4))
    policy = Policy(first=0.001, longest=0.02, floor=2, share=0, per_second=100)
    caller = caller_of(server.endpoint, says, policy)
    assert asyncio.run(together(caller, says, 6, timeout=None)) == [4] * 6
    tally = caller.tallies["m:add"]
    assert tally.held > 0
    assert tally.budget is not None
    assert tally.budget.waiting == 0


def test_a_deadline_that_passes_meanwhile_says_so(scripted: Any, says: Any) -> None:
    server = scripted(says.problem("overloaded", retry_after=0))
    caller = caller_of(server.endpoint, says, Policy(first=0.001, floor=1, share=0, per_second=0))
    (ended,) = asyncio.run(together(caller, says, 1, timeout=0.3))
    assert isinstance(ended, DeadlineExceeded)
    assert "the last of 2 tries" in str(ended)
    assert "after 2 tries: the retry budget of m:add is used up" in str(ended)
    assert len(server.requests) == 2


def test_when_too_many_wait_the_next_fails_at_once(
    scripted: Any, says: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turbolift.client.pending.WAITING", 3)
    server = scripted(says.problem("overloaded", retry_after=0))
    caller = caller_of(server.endpoint, says, Policy(first=0.001, floor=0, share=0, per_second=0, busy=600))

    async def main() -> None:
        tasks = [asyncio.create_task(caller.call("m:add", says.contract, (1,), {})) for _ in range(10)]
        done, waiting = await asyncio.wait(tasks, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 7:
            more, waiting = await asyncio.wait(waiting, timeout=60, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        budget = caller.tallies["m:add"].budget
        assert budget is not None
        assert budget.waiting == 3
        assert all(isinstance(task.exception(), Overloaded) for task in done)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert budget.waiting == 0
        await caller.transport.aclose()

    asyncio.run(main())
    assert len(server.requests) == 10


def test_what_never_reached_a_server_takes_nothing(folder: Any, scripted: Any, says: Any) -> None:
    caller = caller_of(
        f"unix://{folder}/none", says, Policy(first=0.001, longest=0.005, refused=0.2, floor=0)
    )
    (ended,) = asyncio.run(together(caller, says, 1))
    assert isinstance(ended, ConnectionError)
    assert caller.tallies["m:add"].resent > 1
    assert caller.tallies["m:add"].held == 0
