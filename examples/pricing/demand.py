# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Forecast demand from its history by a least-squares trend: another third-party need than the quote's."""

from __future__ import annotations

import numpy as np

from pricing.model import Forecast
from turbolift import K8s, on

CLUSTER = K8s(max_scale_n=4)


@on(CLUSTER, cpu="1", memory="512Mi", timeout=20.0, idempotent=True)
def forecast(history: list[float], periods: int = 3) -> Forecast:
    """Return the next `periods` values of the linear trend through `history` (at least two values)."""
    if len(history) < 2:
        raise ValueError(f"a trend needs two values of history, got {len(history)}")
    x = np.arange(len(history), dtype=float)
    y = np.asarray(history, dtype=float)
    slope, intercept = np.polyfit(x, y, 1)
    spread = float(((y - y.mean()) ** 2).sum())
    error = float(((y - (slope * x + intercept)) ** 2).sum())
    ahead = np.arange(len(history), len(history) + periods, dtype=float)
    values = [round(float(v), 3) for v in slope * ahead + intercept]
    return Forecast(values, round(1 - error / spread, 6) if spread else 1.0)
