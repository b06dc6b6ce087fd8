# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The smallest tagged function: one number in, its square out."""

from __future__ import annotations

from turbolift import K8s, on

CLUSTER = K8s(max_scale_n=2)


@on(CLUSTER, idempotent=True)
def square(u: int) -> int:
    """Return the square of `u`."""
    return u * u
