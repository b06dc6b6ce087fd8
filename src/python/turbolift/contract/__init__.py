# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Type hints to JSON Schema, and values to JSON and back without loss.

``contract_of(fn)`` compiles a function's hints once; the ``Contract`` binds, encodes and decodes its calls.
What it carries, and how each type looks as JSON, is in docs/types.md. Compiling needs ``inspect`` and more,
so it is imported when the first contract is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from turbolift.contract.jsontext import MAX_DEPTH, Payload, dumps, loads
from turbolift.contract.weight import is_heavy

if TYPE_CHECKING:
    from turbolift.contract.contract import Contract

__all__ = ["MAX_DEPTH", "Contract", "Payload", "contract_of", "dumps", "is_heavy", "loads"]


def contract_of(fn: Callable[..., Any], *, owner: type | None = None) -> Contract:
    """Compile the contract of `fn`; `owner` is the class that a static method belongs to (what ``Self``
    means).

    Raises UnsupportedTypeError with file, line and parameter where a hint is missing or cannot travel.
    """
    from turbolift.contract.contract import build

    return build(fn, owner=owner)


def __getattr__(name: str) -> Any:
    if name == "Contract":
        from turbolift.contract.contract import Contract

        return Contract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
