# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What server and worker process say to each other over their socket: a request, then its answer, one at a time."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Sequence
from math import inf

from turbolift.shim.servant import USUAL, Answer, Received
from turbolift.wire import JSON, current_deadline, current_trace
from turbolift.wire.frames import Buffer, Frames
from turbolift.wire.receive import body_of

REQUEST = struct.Struct(">dIHQ")
"""Before a request: seconds that it has (infinity: no deadline), the lengths of its content type (0: JSON), of its
trace (0: none), and of its body; these follow in this order.
"""

ANSWER = struct.Struct(">IQ")
"""Before an answer: the lengths of its JSON head (0: the usual one) and of its body."""

JOINED = 64 * 1024
"""Bytes up to which a message is sent, and read, in one piece."""


def pack_request(content_type: str, body: Received) -> list[Buffer]:
    """Return the pieces of a request: it inherits the deadline and the trace of this context."""
    deadline = current_deadline()
    left = inf if deadline is None else deadline - time.monotonic()
    # What foreign callers send in a header need not be text.
    kind = b"" if content_type == JSON else content_type.encode("utf-8", "surrogatepass")
    trace = (current_trace() or "").encode("ascii")
    head = REQUEST.pack(left, len(kind), len(trace), len(body)) + kind + trace
    pieces = body.pieces() if isinstance(body, Frames) else [body]
    return [b"".join((head, *pieces))] if len(body) <= JOINED else [head, *pieces]


def receive_request(channel: socket.socket) -> tuple[str, float | None, str | None, Received]:
    """Wait for a request; return content type, deadline (``time.monotonic`` seconds), trace and body.

    Raises EOFError where the other side has ended.
    """
    data = _at_least(channel, b"", REQUEST.size)
    left, kind_size, trace_size, size = REQUEST.unpack_from(data)
    start = REQUEST.size + kind_size + trace_size
    data = _at_least(channel, data, start)
    kind = data[REQUEST.size : REQUEST.size + kind_size]
    trace = data[start - trace_size : start]
    first = data[start:]
    content_type = kind.decode("utf-8", "surrogatepass") if kind else JSON
    body = first if len(first) == size else _whole(channel, content_type, first, size)
    return (
        content_type,
        None if left == inf else time.monotonic() + left,
        trace.decode("ascii") if trace else None,
        body,
    )


def send_answer(channel: socket.socket, answer: Answer) -> None:
    """Send an answer. Raises OSError."""
    body: Sequence[Buffer] = answer.body
    head = b""
    if answer.headers is not USUAL or answer.status != 200 or answer.outcome != "ok":
        head = json.dumps([answer.status, dict(answer.headers), answer.outcome]).encode()
    size = sum(memoryview(piece).nbytes for piece in body)
    start = ANSWER.pack(len(head), size) + head
    if size <= JOINED:
        channel.sendall(b"".join((start, *body)))
        return
    channel.sendall(start)
    for piece in body:
        channel.sendall(piece)


def unpack_answer(head: bytes, body: bytes | bytearray) -> Answer:
    """Return the answer that has this head and this body."""
    if not head:
        return Answer(200, USUAL, [body], "ok")
    status, headers, outcome = json.loads(head)
    return Answer(status, headers, [body], outcome)


def _at_least(channel: socket.socket, data: bytes, size: int) -> bytes:
    """Return `data` with as much more that it has `size` bytes at least."""
    while len(data) < size:
        more = channel.recv(JOINED)
        if not more:
            raise EOFError
        data += more
    return data


def _whole(channel: socket.socket, content_type: str, first: bytes, size: int) -> Received:
    body = body_of(content_type, size, first)
    while body.got < size:
        with body.room() as room:
            received = channel.recv_into(room)
        if not received:
            raise EOFError
        body.took(received)
    return body.whole()
