# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What a connection of the lane waits for, the heads it has read, and why it ended."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from turbolift.wire.http1 import AnswerHead, read_answer

Feed = Callable[[bytes], None]
"""Is told of the pieces of an answer as they come."""


HEADS: dict[bytes, AnswerHead] = {}
"""A server's heads differ in little: what was read once is not read again."""

_MOST = 512


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


def head_of(text: bytes) -> AnswerHead:
    """Return the head of an answer. Raises BadAnswerError."""
    head = HEADS.get(text)
    if head is None:
        head = read_answer(text)
        if len(HEADS) >= _MOST:
            HEADS.clear()
        HEADS[text] = head
    return head
