# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What is sent: the same for every stack. Standard library alone, as it is imported in every peer's environment."""

from __future__ import annotations

import random
from typing import Any

_RANDOM = random.Random(7)

PAYLOADS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "tiny": ("tiny", (1, 2)),
    "medium": ("floats", ([_RANDOM.random() * 1000 for _ in range(1000)],)),
    "large": ("floats", ([_RANDOM.random() * 1000 for _ in range(54_000)],)),
    "bytes": ("raw", (_RANDOM.randbytes(1 << 20),)),
}
"""Name of the payload -> the function, and its arguments. large is a megabyte of JSON, bytes one of bytes."""

NAMES = {"tiny": ("a", "b"), "floats": ("values",), "raw": ("data",)}


def tiny(a: int, b: int) -> int:
    """Two small arguments, a small result."""
    return a + b


def floats(values: list[float]) -> float:
    """Many numbers in, one out."""
    return values[0] + values[-1]


def raw(data: bytes) -> bytes:
    """Bytes there and back."""
    return data


FUNCTIONS: dict[str, Any] = {"tiny": tiny, "floats": floats, "raw": raw}
