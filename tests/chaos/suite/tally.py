# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""From what functions and callers said to counts, and to the laws that were broken. Knows no process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

SLACK = 2.0
"""Seconds past its deadline by which a call must have ended: a loaded machine's, not the client's."""

AFTER = 3.0
"""Seconds after a disturbance whose calls belong to it."""

RESULT = "result"
MAYBE = "MaybeExecuted"
NOT_RUN = frozenset({"ConnectError", "Overloaded"})
"""Errors that say that the function did not run."""

Fact = Mapping[str, Any]


class Window(NamedTuple):
    """A disturbance: when (``time.monotonic`` seconds), what it did, and what calls may end in, beside a result."""

    name: str
    begin: float
    end: float
    note: str
    steady: frozenset[str]
    once: frozenset[str]
    reruns: bool


class Tally:
    """All facts of one load. `timeout`: seconds that each call had."""

    def __init__(self, facts: Iterable[Fact], timeout: float) -> None:
        self.calls: list[Fact] = []
        self.ran: Counter[str] = Counter()
        self.ran_at: Counter[tuple[str, str]] = Counter()
        self.done: int | None = None
        self._timeout = timeout
        for fact in facts:
            if "ran" in fact:
                self.ran[fact["ran"]] += 1
                self.ran_at[fact["ran"], fact["server"]] += 1
            elif "ended" in fact:
                self.calls.append(fact)
            elif "done" in fact:
                self.done = (self.done or 0) + fact["done"]
        self._again = {call for (call, _), count in self.ran_at.items() if count > 1}

    def during(self, window: Window) -> list[Fact]:
        """Return the calls that were in flight in a disturbance, or began soon after."""
        return [
            call for call in self.calls if call["end"] >= window.begin and call["begin"] <= window.end + AFTER
        ]

    def counts(self, calls: Sequence[Fact]) -> dict[str, dict[str, Any]]:
        """Return ``steady`` (idempotent) and ``once`` -> counts of `calls`."""
        return {
            name: self._counts([c for c in calls if c["stream"].startswith(name)])
            for name in ("steady", "once")
        }

    def broken(self, windows: Sequence[Window]) -> list[str]:
        """Return the laws that were broken, a sentence each."""
        broken = []
        late = [call for call in self.calls if call["end"] - call["begin"] > self._timeout + SLACK]
        if late:
            worst = max(call["end"] - call["begin"] for call in late)
            broken.append(
                f"{len(late)} calls ended later than {SLACK:g} s past their deadline, one after {worst:.1f} s"
            )
        wrong = [call for call in self.calls if call["outcome"] == RESULT and call["value"] != 3 * call["n"]]
        if wrong:
            broken.append(f"{len(wrong)} calls got a result that is not theirs")
        twice = [call for call in self.calls if not _idempotent(call) and self.ran[call["ended"]] > 1]
        if twice:
            broken.append(f"{len(twice)} calls that are not idempotent ran twice: {self._examples(twice)}")
        ran = [call for call in self.calls if call["outcome"] in NOT_RUN and self.ran[call["ended"]]]
        ran = [call for call in ran if not _idempotent(call)]
        if ran:
            broken.append(f"{len(ran)} calls ran, and were told that they had not: {self._examples(ran)}")
        silent = [call for call in self.calls if call["outcome"] == RESULT and not self.ran[call["ended"]]]
        if silent:
            broken.append(f"{len(silent)} calls have a result, and no record of a run: the record is broken")
        if self.done != len(self.calls):
            broken.append(f"the load made {self.done} calls, and told of {len(self.calls)}")
        broken += self._refused(windows)
        for window in windows:
            streams = {call["stream"] for call in self.during(window)}
            if not streams:
                broken.append(f"{window.name}: no call at all")
        return broken

    def _refused(self, windows: Sequence[Window]) -> list[str]:
        """Return what calls ended in that none of the disturbances around them excuses."""
        bad: list[Fact] = []
        again: list[Fact] = []
        excused: dict[str, tuple[set[str], bool]] = {}
        for window in windows:
            for call in self.during(window):
                allowed, reruns = excused.setdefault(call["ended"], (set(), False))
                allowed |= window.steady if _idempotent(call) else window.steady | window.once | {MAYBE}
                excused[call["ended"]] = allowed, reruns or window.reruns
        for call in self.calls:
            allowed, reruns = excused.get(call["ended"], (set(), False))
            if call["outcome"] != RESULT and call["outcome"] not in allowed:
                bad.append(call)
            if call["ended"] in self._again and not reruns:
                again.append(call)
        broken = []
        for name in ("steady", "once"):
            mine = [call for call in bad if call["stream"].startswith(name)]
            if mine:
                kind = "of idempotent functions" if name == "steady" else "of other functions"
                broken.append(f"{len(mine)} calls {kind} ended as they must not: {self._examples(mine)}")
        if again:
            broken.append(f"{len(again)} calls ran twice on one and the same server: {self._examples(again)}")
        return broken

    def _counts(self, calls: Sequence[Fact]) -> dict[str, Any]:
        outcomes = Counter(str(call["outcome"]) for call in calls)
        slowest = max((call["end"] - call["begin"] for call in calls), default=0.0)
        return {
            "calls": len(calls),
            "results": outcomes.pop(RESULT, 0),
            "ran_again": sum(self.ran[call["ended"]] > 1 for call in calls),
            "ran_again_on_one_server": sum(call["ended"] in self._again for call in calls),
            "slowest_ms": round(slowest * 1000),
            "errors": dict(sorted(outcomes.items())),
        }

    def _examples(self, calls: Iterable[Fact]) -> str:
        said = Counter(
            f"{call['stream']}: {call['outcome']}: {call.get('detail') or call.get('value')}"[:400]
            for call in calls
        )
        return "; ".join(f"{count} x {text}" for text, count in said.most_common(3))


def _idempotent(call: Fact) -> bool:
    return bool(call["stream"].startswith("steady"))
