# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Counts and times of calls, in plain numbers; made into Prometheus text only when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turbolift.shim.gate import Gate

BUCKETS = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
)
"""Upper bounds in seconds: from a no-op to a long batch."""


class Metrics:
    """What happened to the calls of one function. Updated on the event loop only. Attribute ``count``: calls that ended."""

    def __init__(self, function: str, gate: Gate, *, version: str = "", contract: str = "") -> None:
        self._function = function
        self._gate = gate
        self._info = {"function": function, "version": version, "contract": contract}
        self._outcomes: dict[str, int] = {}
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0
        self.count = 0
        self._recent = 0.0
        self.workers_replaced = 0
        self.certificate_end: Callable[[], float | None] = lambda: None

    def observe(self, outcome: str, seconds: float) -> None:
        """Count one call that ended as `outcome` (``ok``, ``cancelled``, a problem kind) after `seconds`."""
        self.count += 1
        self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1
        if outcome in ("ok", "raised", "deadline"):
            self._buckets[bisect_left(BUCKETS, seconds)] += 1
            self._seconds += seconds
            self._recent += (seconds - self._recent) * 0.1

    def mean_seconds(self) -> float:
        """Return the recent mean of how long a call takes, its waiting included."""
        return self._recent

    def render(self) -> bytes:
        """Return the Prometheus text exposition."""
        from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest

        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Any]:
        """Yield the metric families (the collector interface of prometheus_client)."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
            InfoMetricFamily,
        )

        yield InfoMetricFamily("turbolift_function", "What is served here.", value=self._info)
        calls = CounterMetricFamily(
            "turbolift_calls", "Calls, by how they ended.", labels=["function", "outcome"]
        )
        for outcome, count in sorted(self._outcomes.items()):
            calls.add_metric([self._function, outcome], count)
        yield calls
        seconds = HistogramMetricFamily(
            "turbolift_call_seconds", "Time from a call's arrival to its answer.", labels=["function"]
        )
        counts = accumulate(self._buckets)
        bounds = [*map(str, BUCKETS), "+Inf"]
        seconds.add_metric([self._function], list(zip(bounds, counts, strict=True)), self._seconds)
        yield seconds
        for name, text, value in (
            ("turbolift_calls_running", "Calls that hold a slot.", self._gate.running),
            ("turbolift_calls_queued", "Calls that wait for a slot.", self._gate.queued),
            ("turbolift_slots", "Calls that can run at once.", self._gate.concurrency),
        ):
            gauge = GaugeMetricFamily(name, text, labels=["function"])
            gauge.add_metric([self._function], value)
            yield gauge
        end = self.certificate_end()
        if end is not None:
            gauge = GaugeMetricFamily(
                "turbolift_certificate_end_seconds",
                "When the server's certificate expires, since 1970.",
                labels=["function"],
            )
            gauge.add_metric([self._function], end)
            yield gauge
        replaced = CounterMetricFamily(
            "turbolift_workers_replaced", "Worker processes that died or were ended.", labels=["function"]
        )
        replaced.add_metric([self._function], self.workers_replaced)
        yield replaced
