# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""How long calls take, counted in plain numbers: the same buckets on both sides, so that a dashboard can subtract."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

BUCKETS = (
    0.0001,
    0.00025,
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
"""Upper bounds in seconds: from a no-op on the same machine (0.1 ms) to a long batch."""


class Times:
    """A histogram. Attributes: ``counts`` (one for each bucket, and one for what is beyond them), ``total`` (seconds)."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return the upper bounds as Prometheus writes them, each with the count of what took no longer."""
        return list(zip([*map(str, BUCKETS), "+Inf"], accumulate(self.counts), strict=True))
