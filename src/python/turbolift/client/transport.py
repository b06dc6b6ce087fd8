# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The seam between the logic of a call and what moves its bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

Buffer = bytes | bytearray | memoryview


class Request(NamedTuple):
    """One request: ``POST path`` with headers and the pieces of a body."""

    path: str
    headers: Mapping[str, str]
    body: Sequence[Buffer]


class Response(NamedTuple):
    """One answer, read whole. ``headers`` are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NotSentError(Exception):
    """The endpoint could not be reached: nothing of the request was sent."""


class BrokenError(Exception):
    """The connection failed after something was sent, and before the whole answer was there."""


class AnswerTooLargeError(Exception):
    """The answer is larger than the caller allows.

    Attributes: ``limit`` (bytes), ``size`` (bytes; None where the server did not say).
    """

    def __init__(self, limit: int, size: int | None) -> None:
        super().__init__(f"answer over the limit of {limit} bytes")
        self.limit = limit
        self.size = size


class Transport(Protocol):
    """Sends requests from the running event loop. Cancelling ``send`` closes the connection, which tells the
    server.
    """

    async def send(self, endpoint: str, request: Request, *, max_answer: int) -> Response:
        """Send to ``unix:///path`` or ``http://host:port`` and return the answer, whatever its status.

        Raises NotSentError, BrokenError or AnswerTooLargeError.
        """
        ...

    async def aclose(self) -> None:
        """Close what the running loop has open."""
        ...
