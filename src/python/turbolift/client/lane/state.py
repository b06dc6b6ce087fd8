# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What a connection of the lane waits for, and why it ended."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

Feed = Callable[[bytes], None]
"""Is told of the pieces of an answer as they come."""


class State(Enum):
    """What a connection waits for."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    CHUNKS = "chunks"
    END = "end"
    OVER = "over"


def reason_of(error: Exception | None) -> str:
    """Say why a connection was lost."""
    if error is None:
        return "the server closed it"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
