# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""From what functions and callers said to counts, and to the promises that were broken. Knows no cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

BEFORE = 2.0
AFTER = 5.0
"""Seconds before and after a disturbance that belong to it."""

LEAST = 10_000

IDEMPOTENT = "idempotent"
OTHER = "not idempotent"
NAMES = {"steady": IDEMPOTENT, "once": OTHER}
RESULT = "result"
MAYBE = "MaybeExecuted"

Fact = Mapping[str, Any]


class Window(NamedTuple):
    """When a disturbance began and ended (seconds since 1970), what it did, and where calls came from."""

    name: str
    begin: float
    end: float
    note: str
    origins: tuple[str, ...]


class Tally:
    """Counts of all facts. `factors`: what versions multiplied by."""

    def __init__(self, facts: Iterable[Fact], factors: Sequence[int]) -> None:
        self.ran: Counter[str] = Counter()
        self.calls: list[Fact] = []
        self.done: Counter[str] = Counter()
        self.said: Counter[str] = Counter()
        self._factors = factors
        for fact in facts:
            if "ran" in fact:
                self.ran[fact["ran"]] += 1
            elif "ended" in fact:
                self.calls.append(fact)
                self.said[fact["origin"]] += 1
            elif "done" in fact:
                self.done[fact["origin"]] += fact["done"]

    def streams(self, calls: Iterable[Fact]) -> dict[str, dict[str, Any]]:
        """Return stream -> counts of `calls`."""
        calls = list(calls)
        return {name: self._counts(stream, calls) for stream, name in NAMES.items()}

    def window(self, one: Window) -> dict[str, Any]:
        """Return the counts, by origin and stream, of calls that began around a disturbance."""
        calls = [call for call in self.calls if one.begin - BEFORE <= call["begin"] <= one.end + AFTER]
        return {
            "name": one.name,
            "seconds": round(one.end - one.begin, 1),
            "did": one.note,
            "origins": {
                origin: self.streams(call for call in calls if call["origin"] == origin)
                for origin in one.origins
            },
        }

    def failed(self) -> int:
        """Return how many calls of the idempotent stream did not end in the right result."""
        return sum(not self._is_right(call) for call in self.calls if call["stream"] == "steady")

    def run_twice(self) -> list[str]:
        """Return the calls of the other stream that ran more than once."""
        once = (call["ended"] for call in self.calls if call["stream"] == "once")
        return [call for call in once if self.ran[call] > 1]

    def broken(self, windows: Sequence[Window], least: int = LEAST) -> list[str]:
        """Return the promises that were not kept, a sentence each."""
        broken = []
        bad = [call for call in self.calls if not self._is_allowed(call)]
        for stream, promise in (
            ("steady", "of the idempotent stream failed"),
            ("once", "that are not idempotent ended in neither a result nor MaybeExecuted"),
        ):
            mine = [call for call in bad if call["stream"] == stream]
            if mine:
                broken.append(f"{len(mine)} calls {promise}: {self._examples(mine)}")
        if self.run_twice():
            broken.append(f"{len(self.run_twice())} calls that are not idempotent ran twice")
        silent = [call for call in self.calls if self._is_right(call) and not self.ran[call["ended"]]]
        if silent:
            broken.append(f"{len(silent)} calls have a result, and no record of a run: the record is broken")
        if len(self.calls) < least:
            broken.append(f"{len(self.calls)} calls, and not {least}")
        for origin in {origin for one in windows for origin in one.origins}:
            if self.done[origin] != self.said[origin] or not self.said[origin]:
                broken.append(
                    f"the load {origin} made {self.done[origin]} calls, and told of {self.said[origin]}"
                )
        for one in windows:
            for origin, streams in self.window(one)["origins"].items():
                broken += [
                    f"{one.name}: no call from {origin}, stream {name}"
                    for name, counts in streams.items()
                    if not counts["calls"]
                ]
        return broken

    def _counts(self, stream: str, calls: Iterable[Fact]) -> dict[str, Any]:
        mine = [call for call in calls if call["stream"] == stream]
        outcomes = Counter(str(call["outcome"]) for call in mine)
        right = sum(self._is_right(call) for call in mine)
        slowest = max((call["end"] - call["begin"] for call in mine), default=0.0)
        counts: dict[str, Any] = {"calls": len(mine), "results": right, "slowest_ms": round(slowest * 1000)}
        if stream == "steady":
            counts["failed"] = len(mine) - right
            counts["run_again"] = sum(self.ran[call["ended"]] > 1 for call in mine)
            others = outcomes
        else:
            maybe = [call for call in mine if call["outcome"] == MAYBE]
            counts["maybe_executed"] = len(maybe)
            counts["maybe_executed_that_ran"] = sum(self.ran[call["ended"]] == 1 for call in maybe)
            counts["run_twice"] = sum(self.ran[call["ended"]] > 1 for call in mine)
            others = Counter({name: count for name, count in outcomes.items() if name != MAYBE})
        counts["errors"] = {name: count for name, count in sorted(others.items()) if name != RESULT}
        return counts

    def _is_right(self, call: Fact) -> bool:
        return call["outcome"] == RESULT and call["value"] in [one * call["n"] for one in self._factors]

    def _is_allowed(self, call: Fact) -> bool:
        return self._is_right(call) or (call["stream"] == "once" and call["outcome"] == MAYBE)

    def _examples(self, bad: Iterable[Fact]) -> str:
        said = Counter(f"{call['outcome']}: {call.get('detail') or call.get('value')}"[:300] for call in bad)
        return "; ".join(f"{count} x {text}" for text, count in said.most_common(3))
