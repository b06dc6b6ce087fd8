# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Counts and times of calls, in plain numbers; made into Prometheus text only when somebody asks."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from turbolift.wire.times import BUCKETS, Times

if TYPE_CHECKING:
    from turbolift.shim.gate import Gate


class Metrics:
    """What happened to the calls of one function. Updated on the event loop only. Attribute ``count``: calls that ended."""

    def __init__(self, function: str, gate: Gate, *, version: str = "", contract: str = "") -> None:
        self._function = function
        self._gate = gate
        self._info = {"function": function, "version": version, "contract": contract}
        self._outcomes: dict[str, int] = {"ok": 0}
        self._times = Times()
        self._counts = self._times.counts
        self.count = 0
        self._recent = 0.0
        self.workers_replaced = 0
        self.certificate_end: Callable[[], float | None] = lambda: None

    def observe(self, outcome: str, seconds: float) -> None:
        """Count one call that ended as `outcome` (``ok``, ``cancelled``, a problem kind) after `seconds`."""
        self.count += 1
        self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1
        if outcome in ("ok", "raised", "deadline"):
            self._times.add(seconds)
            self._recent += (seconds - self._recent) * 0.1

    def observe_ok(self, seconds: float) -> None:
        """Count one call that ended as ``ok``: as ``observe``, in fewer steps, for this is part of each call on the loop."""
        self.count += 1
        self._outcomes["ok"] += 1
        self._counts[bisect_left(BUCKETS, seconds)] += 1
        self._times.total += seconds
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
        # A function that calls others is a caller too; what has never been imported has made no call.
        client: Any = sys.modules.get("turbolift.client")
        if client is not None and client.existing_caller() is not None:
            from turbolift.client.metrics import Collector

            registry.register(Collector(client.existing_caller))
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
        seconds.add_metric([self._function], self._times.buckets(), self._times.total)
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
