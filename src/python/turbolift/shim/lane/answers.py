# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Answers as bytes. Heads that come again and again are made once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import cast

from turbolift.shim.gate import Gate
from turbolift.shim.servant import Answer
from turbolift.wire.frames import Buffer
from turbolift.wire.headers import PIPELINE
from turbolift.wire.send import merged

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

JOINED = 64 * 1024
"""Answers up to this size are sent in one piece."""


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
BROKEN = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 55\r\nConnection: close\r\n\r\n"
    b"500 Internal Server Error\n\nServer got itself in trouble"
)


def http_date(seconds: float) -> str:
    """Return a time as HTTP's ``Date`` has it, whatever the locale."""
    at = time.gmtime(seconds)
    return (
        f"{_WEEKDAYS[at.tm_wday]}, {at.tm_mday:02d} {_MONTHS[at.tm_mon - 1]} {at.tm_year} "
        f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} GMT"
    )


PATIENCE = "0.01"
"""Seconds after which a call in a worker is no quick one, as PIPELINE has it."""


class Heads:
    """Makes heads of answers; ``tick`` brings their date up to date."""

    def __init__(self, usual: Mapping[str, str], gate: Gate, *, pipelines: bool) -> None:
        """`usual`: the headers of the usual answer. `pipelines`: whether results invite to send ahead always, not only while `gate`
        lets calls go ahead.
        """
        self._starts: dict[tuple[object, ...], str] = {}
        self._usual = usual
        self._gate = gate
        self._pipelines = pipelines
        self._ahead = {"Connection": PIPELINE, PIPELINE: "1" if pipelines else PATIENCE}
        lines = self._start(200, usual, False)
        self._usual_start = f"{lines}Content-Length: ".encode("latin-1")
        lines = self._start(200, {**usual, **self._ahead}, False)
        self._ahead_start = f"{lines}Content-Length: ".encode("latin-1")
        self._date = ""
        self._end = b""
        self.tick()

    def tick(self) -> None:
        """Say the time as it is now; to be called each second."""
        self._date = http_date(time.time())
        self._end = f"\r\nDate: {self._date}\r\n\r\n".encode("ascii")

    def usual(self, answer: Answer) -> bytes | None:
        """Return the whole of `answer` if it is the usual one: to a call of turbolift's client on a connection that
        goes on, with its headers, and of a size that is sent in one piece.
        """
        if answer.headers is not self._usual:
            return None
        return self.whole(cast("bytes", answer.body[0]))

    def whole(self, body: bytes) -> bytes | None:
        """Return the whole of the usual answer with this body, if it is of a size that is sent in one piece."""
        size = len(body)
        if size > JOINED:
            return None
        start = self._ahead_start if self._pipelines or self._gate.ahead else self._usual_start
        return b"%b%d%b%b" % (start, size, self._end, body)

    def head(self, answer: Answer, size: int | None, *, last: bool) -> bytes:
        """Return the head of `answer` with a body of `size` bytes (None: chunked), after which the connection may end."""
        headers = answer.headers
        ahead = answer.status == 200 and not last and (self._pipelines or self._gate.ahead > 0)
        ahead = ahead and not headers.get("Content-Type", "").startswith(
            "text/"
        )  # no result, but a probe's answer
        key = (answer.status, last, ahead, *headers.items())
        start = self._starts.get(key)
        if start is None:
            if ahead and "Connection" not in headers:
                headers = {**headers, **self._ahead}
            start = self._start(answer.status, headers, last)
            # What problems say in headers (Retry-After) has many values, but is bounded by its rounding.
            if len(self._starts) < 64:
                self._starts[key] = start
        length = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
        return f"{start}{length}\r\nDate: {self._date}\r\n\r\n".encode("latin-1")

    def _start(self, status: int, headers: Mapping[str, str], last: bool) -> str:
        lines = [f"HTTP/1.1 {status} {_phrase(status)}"]
        for name, value in headers.items():
            if "\r" in value or "\n" in value:
                raise ValueError(f"a header must be one line: {name}: {value!r}")
            lines.append(f"{name}: {value}")
        if last and "Connection" not in headers:
            lines.append("Connection: close")
        return "\r\n".join(lines) + "\r\n"


def _phrase(status: int) -> str:
    if status == 200:
        return "OK"
    from http import HTTPStatus  # dear, and most servers give no other answers for long

    return HTTPStatus(status).phrase


async def stream(transport: asyncio.Transport, head: bytes, answer: Answer) -> None:
    """Write an answer whose pieces come in time. What they come from ends with this."""
    more = answer.more
    assert more is not None
    try:
        transport.write(head + b"".join(map(_chunk, answer.body)))
        async for piece in more:
            transport.write(_chunk(piece))
        transport.write(b"0\r\n\r\n")
    finally:
        more.cancel()


def _chunk(piece: Buffer) -> bytes:
    return b"%x\r\n%b\r\n" % (size_of(piece), bytes(piece))


def size_of(piece: Buffer) -> int:
    """Return the bytes of a piece."""
    return memoryview(piece).nbytes


def pieces(head: bytes, body: Sequence[Buffer], size: int) -> list[bytes | bytearray | memoryview]:
    """Return what to write, one after the other: large bodies are not copied."""
    if size <= JOINED:
        return [b"".join((head, *body))]
    return [head, *merged(body)]
