# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What is sent: the same for every stack. Standard library alone, as it is imported in every peer's environment; numpy
only when an array is asked for.
"""

from __future__ import annotations

import random
from typing import Any

_RANDOM = random.Random(7)

PAYLOADS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "tiny": ("tiny", (1, 2)),
    "medium": ("floats", ([_RANDOM.random() * 1000 for _ in range(1000)],)),
    "large": ("floats", ([_RANDOM.random() * 1000 for _ in range(54_000)],)),
    "burn": ("burn", (0.1,)),
    "bytes": ("raw", (_RANDOM.randbytes(1 << 20),)),
}
"""Name of the payload -> the function, and its arguments. large is a megabyte of JSON, bytes one of bytes; burn keeps a core
busy for so many seconds.
"""

NAMES = {"tiny": ("a", "b"), "floats": ("values",), "raw": ("data",), "array": ("data",)}


def payload(name: str) -> tuple[str, tuple[Any, ...]]:
    """Return the function and its arguments of the payload `name`; array is a megabyte of float64."""
    if name == "array":
        import numpy

        return "array", (numpy.random.default_rng(7).random(1 << 17),)
    return PAYLOADS[name]


def tiny(a: int, b: int) -> int:
    """Two small arguments, a small result."""
    return a + b


def floats(values: list[float]) -> float:
    """Many numbers in, one out."""
    return values[0] + values[-1]


def raw(data: bytes) -> bytes:
    """Bytes there and back."""
    return data


def array(data: Any) -> Any:
    """An array there, and one as large back."""
    return data * 2.0


def burn(seconds: float) -> float:
    """What comes back from a function that computes."""
    return seconds


FUNCTIONS: dict[str, Any] = {"tiny": tiny, "floats": floats, "raw": raw, "array": array, "burn": burn}
