# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether a value is so large that its encoding is to be kept from an event loop: a guess from a few looks."""

from __future__ import annotations

from typing import Any

HEAVY = 2 * 1024 * 1024
"""Bytes of JSON, or of raw parts that are copied, about."""

_DEPTH = 4


def is_heavy(value: Any) -> bool:
    """Whether the JSON of `value` is large, if all its items are as its first ones. Raw parts weigh what they
    cost to copy.
    """
    kind = type(value)
    if kind is int or kind is float or value is None:
        return False
    return _weight(value, _DEPTH) >= HEAVY


def _weight(value: Any, depth: int) -> int:
    kind = type(value)
    if kind is str:
        return len(value)
    if kind is bytes or kind is bytearray:
        return 0
    if kind in (list, tuple, set, frozenset) and depth and value:
        return len(value) * _weight(next(iter(value)), depth - 1)
    if kind is dict and depth and value:
        name, item = next(iter(value.items()))
        return len(value) * (_weight(name, depth - 1) + _weight(item, depth - 1))
    if kind.__module__ == "numpy":
        size = getattr(value, "nbytes", 0)
        return size if type(size) is int else 0
    fields = getattr(value, "__dict__", None) if depth else None
    if type(fields) is dict:
        return 20 + sum(20 + _weight(item, depth - 1) for item in list(fields.values())[:50])
    return 8
