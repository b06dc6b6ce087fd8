# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Each law that is broken is told: a run whose tally sees nothing shows nothing."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.suite.tally import Tally, Window

KILL = Window("kill", 100.0, 110.0, "", frozenset(), frozenset(), True)
CUT = Window("cut", 120.0, 130.0, "", frozenset({"MaybeExecuted"}), frozenset({"Overloaded"}), False)


def call(
    name: str,
    stream: str,
    outcome: str = "result",
    *,
    begin: float = 105.0,
    took: float = 0.1,
    ran: str = "s-1",
) -> list[dict[str, Any]]:
    """Return what is told of one call of ``f(3)``, which ran on these servers."""
    ended: dict[str, Any] = {"ended": name, "stream": stream, "n": 3, "begin": begin, "end": begin + took}
    ended |= {"outcome": outcome} | (
        {"value": 9} if outcome == "result" else {"detail": f"{outcome} happened"}
    )
    return [*({"ran": name, "server": server} for server in ran.split()), ended]


GOOD = [
    *call("a", "steady_x"),
    *call("b", "once_x"),
    *call("c", "steady_x", begin=121),
    *call("d", "once_x", begin=121),
]


def broken(*facts: dict[str, Any], done: int | None = None) -> list[str]:
    made = sum("ended" in fact for fact in facts)
    return Tally([*facts, {"done": made if done is None else done}], 5.0).broken([KILL, CUT])


def test_all_is_kept() -> None:
    fine = [
        *call("e", "once_x", "MaybeExecuted", ran=""),
        *call("f", "once_x", "MaybeExecuted"),
        *call("g", "steady_x", ran="s-1 s-2"),
        *call("h", "steady_x", ran="s-1 s-1"),
        *call("i", "steady_x", "MaybeExecuted", begin=129),
        *call("j", "once_x", "Overloaded", begin=132.9, ran=""),
        *call("k", "steady_x", took=6.9),
    ]
    assert broken(*GOOD, *fine) == []


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (call("x", "steady_x", took=7.1), "later than 2 s past their deadline, one after 7.1 s"),
        ([{**call("x", "steady_x")[1], "value": 8}, call("x", "steady_x")[0]], "a result that is not theirs"),
        (call("x", "once_x", ran="s-1 s-2"), "1 calls that are not idempotent ran twice"),
        (call("x", "once_x", "MaybeExecuted", ran="s-1 s-1"), "1 calls that are not idempotent ran twice"),
        (call("x", "once_x", "Overloaded", begin=125), "1 calls ran, and were told that they had not"),
        (call("x", "once_x", ran=""), "no record of a run"),
        (call("x", "steady_x", "MaybeExecuted"), "1 calls of idempotent functions ended as they must not"),
        (
            call("x", "steady_x", "Overloaded", begin=125),
            "1 calls of idempotent functions ended as they must not",
        ),
        (call("x", "once_x", "Overloaded", ran=""), "1 calls of other functions ended as they must not"),
        (
            call("x", "once_x", "MaybeExecuted", begin=115),
            "1 calls of other functions ended as they must not",
        ),
        (call("x", "steady_x", begin=121, ran="s-1 s-1"), "1 calls ran twice on one and the same server"),
    ],
)
def test_a_broken_law_is_told(facts: list[dict[str, Any]], said: str) -> None:
    (text,) = broken(*GOOD, *facts)
    assert said in text


def test_a_load_that_was_not_there_shows_nothing() -> None:
    assert broken(*GOOD, done=5) == ["the load made 5 calls, and told of 4"]
    assert broken(*GOOD[:4]) == ["cut: no call at all"]
