# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What server and worker process say to each other over their socket: requests, and an answer to each, in order."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from turbolift.shim.servant import USUAL, Answer, Received
from turbolift.wire import JSON
from turbolift.wire.frames import Buffer, Frames
from turbolift.wire.receive import body_of
from turbolift.wire.send import merged

REQUEST = struct.Struct(">dI?HQ")
"""Before a request: its deadline (``time.monotonic`` seconds, one clock for all processes; infinity: none), the lengths of its
content type (0: JSON), whether its trace is the caller's (or the name of this call's own span), the lengths of its trace (0:
none) and of its body; these follow in this order.
"""

ANSWER = struct.Struct(">IQd")
"""Before an answer: the lengths of its JSON head (0: the usual one) and of its body, and the seconds that the call took."""

SKIPPED = 0xFFFFFFFF
"""Instead of the length of a head: the request was taken back, and did not run."""

JOINED = 64 * 1024
"""Bytes up to which a message is sent, and read, in one piece."""


class Request(NamedTuple):
    """A request, as the worker has it."""

    content_type: str
    deadline: float | None
    trace: str | None
    is_callers: bool
    body: Received


def pack_request(
    content_type: str, body: Received, deadline: float | None, trace: bytes, *, is_callers: bool
) -> list[Buffer]:
    """Return the pieces of a request."""
    # What foreign callers send in a header need not be text.
    kind = b"" if content_type == JSON else content_type.encode("utf-8", "surrogatepass")
    size = len(body)
    head = (
        REQUEST.pack(inf if deadline is None else deadline, len(kind), is_callers, len(trace), size)
        + kind
        + trace
    )
    if isinstance(body, Frames):
        pieces = body.pieces()
        return [b"".join((head, *pieces))] if size <= JOINED else [head, *merged(pieces)]
    return [b"".join((head, body))] if size <= JOINED else [head, body]


class Requests:
    """What comes from the server. Several requests may come with one read: the socket is asked when they are used up."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._data = b""
        self._at = 0

    def next(self) -> Request:
        """Wait for a request. Raises EOFError where the server has ended."""
        if len(self._data) - self._at < REQUEST.size:
            self._read(REQUEST.size)
        deadline, kind_size, is_callers, trace_size, size = REQUEST.unpack_from(self._data, self._at)
        head_size = REQUEST.size + kind_size + trace_size
        if len(self._data) - self._at < head_size:
            self._read(head_size)
        data, at = self._data, self._at
        kind_at = at + REQUEST.size
        trace_at = kind_at + kind_size
        start = at + head_size
        content_type = data[kind_at:trace_at].decode("utf-8", "surrogatepass") if kind_size else JSON
        trace = data[trace_at:start].decode("ascii") if trace_size else None
        body: Received = data[start : start + size]
        self._at = start + size
        if len(data) < self._at:
            body = self._whole(content_type, data[start:], size)
            self._data, self._at = b"", 0
        return Request(content_type, None if deadline == inf else deadline, trace, is_callers, body)

    def _read(self, size: int) -> None:
        """Read until `size` bytes are there."""
        data = self._data[self._at :]
        while len(data) < size:
            more = self._channel.recv(JOINED)
            if not more:
                raise EOFError
            data = data + more if data else more
        self._data, self._at = data, 0

    def _whole(self, content_type: str, first: bytes, size: int) -> Received:
        body = body_of(content_type, size, first)
        while body.got < size:
            with body.room() as room:
                received = self._channel.recv_into(room)
            if not received:
                raise EOFError
            body.took(received)
        return body.whole()


def send_answer(channel: socket.socket, answer: bytes | Answer, seconds: float) -> None:
    """Send the answer to a call that took `seconds`, or the text of its result: at once, not with the next one, for the worker may
    be killed in the midst of that. Raises OSError.
    """
    if isinstance(answer, bytes):
        channel.sendall(ANSWER.pack(0, len(answer), seconds) + answer)
        return
    body: Sequence[Buffer] = answer.body
    head = b""
    if answer.headers is not USUAL or answer.status != 200 or answer.outcome != "ok":
        head = json.dumps([answer.status, dict(answer.headers), answer.outcome]).encode()
    size = sum(memoryview(piece).nbytes for piece in body)
    start = ANSWER.pack(len(head), size, seconds) + head
    if size <= JOINED:
        channel.sendall(b"".join((start, *body)))
        return
    channel.sendall(start)
    for piece in merged(body):
        channel.sendall(piece)


def send_skipped(channel: socket.socket) -> None:
    """Say that a request was skipped. Raises OSError."""
    channel.sendall(ANSWER.pack(SKIPPED, 0, 0.0))


def unpack_answer(head: bytes, body: bytes | bytearray) -> Answer:
    """Return the answer that has this head and this body."""
    if not head:
        return Answer(200, USUAL, [body], "ok")
    status, headers, outcome = json.loads(head)
    return Answer(status, headers, [body], outcome)
