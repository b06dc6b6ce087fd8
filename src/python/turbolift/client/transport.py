# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The seam between the logic of a call and what moves its bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from turbolift.wire.frames import Buffer, Frames

Received = bytes | bytearray | Frames
"""The body of an answer: as it was sent, or taken apart as it came in."""


class Request(NamedTuple):
    """One request: ``POST path`` with the pieces of a body, `size` bytes together.

    ``lines``: the headers as they are sent, ``Name: value\\r\\n`` each, but for Host and Content-Length. ``feed``: given
    the pieces of a body that is sent as it is made (chunked) with status 200, as they come; the whole is in the Response
    all the same. ``alone``: not by a connection that has other requests in flight.
    """

    path: str
    lines: str
    body: Sequence[Buffer]
    size: int
    feed: Callable[[bytes], None] | None = None
    alone: bool = False


class Response(NamedTuple):
    """One answer, read whole. ``headers`` are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: Received


class Tls(NamedTuple):
    """How an endpoint is secured: the name that its certificate must be for, and the folder of the caller's own
    (``turbolift.client.tls``).
    """

    server_name: str
    folder: str


class NotSentError(Exception):
    """The endpoint could not be reached, or the connection ended before the whole request was sent: it did not run.

    Attributes: ``connected``: the latter.
    """

    def __init__(self, message: str, *, connected: bool = False) -> None:
        super().__init__(message)
        self.connected = connected


class InsecureError(NotSentError):
    """No secure connection could be had: nothing of the request was sent, or the server refused us unread.

    Attributes: ``reason``, as of TlsError.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class BrokenError(Exception):
    """The connection failed after something was sent, and before the whole answer was there."""


class LateError(Exception):
    """The deadline passed before the answer was there; the connection is closed."""


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

    async def send(
        self,
        endpoint: str,
        request: Request,
        *,
        max_answer: int,
        deadline: float | None,
        tls: Tls | None = None,
    ) -> Response:
        """Send to ``unix:///path``, ``http://host:port`` or, with `tls`, ``https://host:port`` and return the answer,
        whatever its status.

        `max_answer`: bytes; `deadline`: ``time.monotonic`` seconds. Raises NotSentError, BrokenError,
        AnswerTooLargeError or LateError.
        """
        ...

    async def aclose(self) -> None:
        """Close what the running loop has open."""
        ...
