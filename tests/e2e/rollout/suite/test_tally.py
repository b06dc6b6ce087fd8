# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Each promise that is broken is told: a run whose tally sees nothing shows nothing."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.rollout.suite.tally import Tally, Window

WINDOW = Window("deploy", 100.0, 110.0, "", ("pod",))


def call(
    name: str, stream: str, outcome: str = "result", *, begin: float = 105.0, ran: int = 1
) -> list[dict[str, Any]]:
    """Return what is told of one call of ``f(3)``, which ran so many times."""
    ended: dict[str, Any] = {"ended": name, "origin": "pod", "stream": stream, "n": 3}
    ended |= {"begin": begin, "end": begin + 0.1, "outcome": outcome}
    ended |= {"value": 6} if outcome == "result" else {"detail": f"{outcome} happened"}
    return [*({"ran": name, "stream": stream, "factor": 2} for _ in range(ran)), ended]


GOOD = [*call("a", "steady"), *call("b", "once")]


def tally(*facts: dict[str, Any], done: int | None = None) -> Tally:
    made = sum("ended" in fact for fact in facts)
    return Tally([*facts, {"origin": "pod", "done": made if done is None else done}], (1, 2))


def test_all_is_kept() -> None:
    maybe = [*call("c", "once", "MaybeExecuted"), *call("d", "once", "MaybeExecuted", ran=0)]
    # What is idempotent may run again.
    found = tally(*GOOD, *maybe, *call("e", "steady", ran=2))
    assert found.broken([WINDOW], 5) == []
    streams = found.window(WINDOW)["origins"]["pod"]
    once = {"calls": 3, "results": 1, "slowest_ms": 100, "maybe_executed": 2, "maybe_executed_that_ran": 1}
    assert streams["not idempotent"] == {**once, "run_twice": 0, "errors": {}}
    steady = {"calls": 2, "results": 2, "slowest_ms": 100, "failed": 0, "run_again": 1, "errors": {}}
    assert streams["idempotent"] == steady


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (call("x", "steady", "MaybeExecuted"), "1 calls of the idempotent stream failed: 1 x MaybeExecuted"),
        (call("x", "once", "ConnectError"), "neither a result nor MaybeExecuted: 1 x ConnectError"),
        (call("x", "once", ran=2), "1 calls that are not idempotent ran twice"),
        (call("x", "once", "MaybeExecuted", ran=2), "1 calls that are not idempotent ran twice"),
        (call("x", "once", ran=0), "no record of a run"),
        (call("x", "steady", ran=0), "no record of a run"),
        ([{**call("x", "steady")[1], "value": 7}], "1 calls of the idempotent stream failed: 1 x result: 7"),
    ],
)
def test_a_broken_promise_is_told(facts: list[dict[str, Any]], said: str) -> None:
    (broken,) = tally(*GOOD, *facts).broken([WINDOW], 3)
    assert said in broken


def test_a_load_that_was_not_there_shows_nothing() -> None:
    assert "2 calls, and not 3" in tally(*GOOD).broken([WINDOW], 3)
    (broken,) = tally(*GOOD, done=3).broken([WINDOW], 2)
    assert "made 3 calls, and told of 2" in broken
    late = tally(*call("a", "steady", begin=115.1), *call("b", "once", begin=97.9))
    assert [one[:16] for one in late.broken([WINDOW], 2)] == ["deploy: no call "] * 2
    assert any(
        "the load outside" in one for one in tally(*GOOD).broken([WINDOW._replace(origins=("outside",))], 2)
    )
