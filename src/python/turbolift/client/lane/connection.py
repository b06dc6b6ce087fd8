# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One connection to an endpoint: requests, one at a time or ahead of the answers to others, and answers read whole."""

from __future__ import annotations

import asyncio
import select
import time
from collections import deque
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, cast

from turbolift.client.lane.state import HEADS, Feed, State, head_of, reason_of
from turbolift.client.lane.upload import Upload
from turbolift.client.transport import (
    AnswerTooLargeError,
    BrokenError,
    LateError,
    NotSentError,
    Response,
)
from turbolift.wire.codings import kind_of
from turbolift.wire.frames import Buffer, Frames
from turbolift.wire.http1 import HEAD_LIMIT, AnswerHead, BadAnswerError, Chunks
from turbolift.wire.receive import DIRECT, Body, BodyReader, body_of
from turbolift.wire.send import merged

if TYPE_CHECKING:
    import socket

JOINED = 64 * 1024
"""Requests up to this size are sent in one piece."""


class Connection(asyncio.Protocol):
    """A protocol that sends requests, and gives each answer to the oldest of those that wait for one.

    Attributes: ``used`` (when there was an answer, or a request where none waited, ``time.monotonic`` seconds), ``patience`` (the server
    has said with its last result that requests may be sent ahead, until an answer has been waited for so long).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock
        self._transport: asyncio.Transport | None = None
        self._state = State.IDLE
        self._pending = b""
        # Of each request that waits for its answer: that, the bytes it may have, the deadline, and who is told of pieces.
        self._slots: deque[tuple[asyncio.Future[Response], int, float | None, Feed | None]] = deque()
        self._upload: Upload | None = None
        self._head: AnswerHead | None = None
        self._body: Body | None = None
        self._chunks: Chunks | None = None
        self._reusable = True
        self._large = False
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)
        self._closed: asyncio.Future[None] = loop.create_future()
        self.used = 0.0
        self.patience = 0.0

    # For the pool.

    @property
    def reusable(self) -> bool:
        """Whether another request can be sent when there is none, as far as is known."""
        return self._state is State.IDLE and self._reusable

    @property
    def is_over(self) -> bool:
        """Whether it is closed."""
        return self._state is State.OVER

    @property
    def in_flight(self) -> int:
        """Requests that wait for their answers."""
        return len(self._slots)

    def has_room(self, depth: int) -> bool:
        """Whether another request can be sent, with at most `depth` in flight (1 where none may be sent ahead), as far as is known."""
        waiting = len(self._slots)
        quick = not waiting or self.patience == inf or time.monotonic() - self.used < self.patience
        return waiting < depth and quick and self._reusable and self._state is not State.OVER

    def holds_up(self, answer: asyncio.Future[Response]) -> bool:
        """Whether others wait behind this answer, or before it, which nobody wants any more."""
        waiting = [one for one, _, _, _ in self._slots if one is answer or not one.done()]
        return answer in waiting and len(waiting) > 1

    def silent(self) -> bool:
        """Whether the system has nothing to read: no end of the connection either, which the loop may not have
        seen yet.
        """
        return not self._poll.poll(0)

    def exchange(
        self,
        head: bytes,
        body: Sequence[Buffer],
        size: int,
        limit: int,
        deadline: float | None,
        feed: Feed | None = None,
    ) -> asyncio.Future[Response]:
        """Send a request, and return the future of its answer, which has a body of at most `limit` bytes."""
        answer = self._expect(limit, deadline, feed)
        if size <= JOINED:
            if self._transport is not None:
                self._transport.write(head + body[0] if len(body) == 1 else b"".join((head, *body)))
        else:
            self._large = True
            for piece in (head, *merged(body)):
                self._write(piece)
        return answer

    async def exchange_large(
        self, head: bytes, body: Sequence[Buffer], limit: int, deadline: float | None, patience: float
    ) -> asyncio.Future[Response]:
        """Send a head that asks (``Expect: 100-continue``), and the body if it is wanted, or nothing is heard for
        `patience` seconds.
        """
        answer = self._expect(limit, deadline)
        self._upload = upload = Upload(self._loop, body)
        self._large = True
        self._write(head)
        try:
            wanted = await upload.wanted(patience)
        except BaseException:
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # it has been seen
            raise
        if wanted and not answer.done() and self._transport is not None:
            upload.send(self._transport)
        else:
            self._reusable = False
        return answer

    def close(self) -> asyncio.Future[None]:
        """Close now; the future is done when it is closed."""
        self._reusable = False
        if self._transport is not None:
            self._transport.abort()
        return self._closed

    def retire(self) -> None:
        """Send no more on it, and close it as soon as nobody waits for an answer."""
        self._reusable = False
        self._close_if_left()

    def end_late(self, now: float) -> float:
        """End the requests whose deadline has passed; return the first deadline of the others, or infinity."""
        first = inf
        late = False
        for answer, _, deadline, _ in self._slots:
            if deadline is None or answer.done():
                continue
            if deadline > now:
                first = min(first, deadline)
                continue
            answer.set_exception(LateError())
            late = True
        if late:
            self._tell(wanted=False)
            self.retire()
        return first

    def leave(self) -> None:
        """In a forked child: give the descriptor up without touching the connection, which is the parent's."""
        import os

        self._state = State.OVER
        descriptor = self._sock.detach()
        if descriptor >= 0:
            os.close(descriptor)

    # Sending.

    def _expect(
        self, limit: int, deadline: float | None, feed: Feed | None = None
    ) -> asyncio.Future[Response]:
        if self._state is State.IDLE:
            self._state = State.HEAD
            self.used = time.monotonic()
        self._large = False
        self._upload = None
        answer: asyncio.Future[Response] = self._loop.create_future()
        self._slots.append((answer, limit, deadline, feed))
        if self._state is State.OVER:
            self._settle(BrokenError("the server closed it"))
        return answer

    def _write(self, data: Buffer) -> None:
        if self._transport is not None:
            self._transport.write(data)

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start (Protocol)."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes (Protocol)."""
        if self._state is State.HEAD:
            if self._pending:
                data = self._pending + data
                self._pending = b""
            if not self._large:
                data = self._usual(data)
            if data:
                self._read(data)
        elif self._state is State.BODY:
            assert self._body is not None
            taken = self._body.put(data)
            if self._body.got == self._body.size:
                self.body_received()
                self._go_on(data[taken:])
        elif self._state is State.CHUNKS:
            self._read_chunks(data)
        elif self._state is State.END:
            assert self._chunks is not None
            self._chunks.data += data
            self._check(len(self._chunks.data), None)
        elif self._state is State.IDLE:
            # Nothing was asked.
            self._fail(BrokenError("the server sent something that was not asked for"))

    def eof_received(self) -> None:
        """The server says no more (Protocol): what it has not taken yet, it will not answer."""
        if self._transport is not None and self._is_sending():
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed (Protocol)."""
        state, self._state = self._state, State.OVER
        self._reusable = False
        self._transport = None
        if state is State.END and exc is None:
            assert self._chunks is not None
            self._finish(bytes(self._chunks.data))
        cut = self._upload.cut(reason_of(exc)) if self._upload is not None else None
        self._settle(cut or BrokenError(reason_of(exc)))
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """A large body waits; others are in the transport's memory (Protocol)."""
        if self._upload is not None:
            self._upload.pause()

    def resume_writing(self) -> None:
        """A large body goes on (Protocol)."""
        if self._upload is not None:
            self._upload.resume()

    def _is_sending(self) -> bool:
        """Whether a part of a request is still here."""
        unsent = self._upload.unsent if self._upload is not None else 0
        return bool(unsent or (self._transport is not None and self._transport.get_write_buffer_size()))

    def _tell(self, *, wanted: bool) -> None:
        if self._upload is not None:
            self._upload.told(wanted)

    # Answers.

    def _usual(self, data: bytes) -> bytes:
        """Take the answers at the start of `data` that are whole and have heads that were read before; return the
        rest.
        """
        slots, heads = self._slots, HEADS
        at, got = 0, len(data)
        while at < got and slots:
            end = data.find(b"\r\n\r\n", at)
            head = heads.get(data[at:end]) if end >= 0 else None
            answer, limit, _, _ = slots[0]
            if head is None or head.size is None or head.size > limit or head.close or head.status < 200:
                break
            start = end + 4
            if got - start < head.size:
                break
            at = start + head.size
            slots.popleft()
            if head.status == 200:
                self.patience = head.patience
            if not answer.done():
                answer.set_result(Response(head.status, head.headers, data[start:at]))
        if not at:
            return data
        self.used = time.monotonic()
        if not slots:
            self._state = State.IDLE
            if at < got:
                self.retire()
                return b""
        if not self._reusable:
            self._close_if_left()
        return data[at:]

    def _read(self, data: bytes) -> None:
        """Read heads: interim ones, and the answer's."""
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                if len(data) > HEAD_LIMIT:
                    self._fail(BrokenError(f"the answer's head is longer than {HEAD_LIMIT} bytes"))
                self._pending = data
                return
            self._pending = b""
            try:
                head = head_of(data[:end])
            except BadAnswerError as error:
                self._fail(BrokenError(f"the answer is broken: {error}"))
                return
            data = data[end + 4 :]
            if head.status >= 200:
                rest = self._begin(head, data)
                if not rest or self._state is not State.HEAD:
                    self._surplus(rest)
                    return
                data = rest
                continue
            if head.status == 101:
                self._fail(BrokenError("the server switches to a protocol that was not asked for"))
                return
            if head.status == 100:
                self._tell(wanted=True)
            if not data:
                return

    def _go_on(self, rest: bytes) -> None:
        """Read on after a body."""
        if rest and self._state is State.HEAD:
            self._read(rest)
        else:
            self._surplus(rest)

    def _begin(self, head: AnswerHead, rest: bytes) -> bytes:
        """Begin the body that has the head `head`, with its first bytes; return what comes after it."""
        self._head = head
        self._tell(wanted=False)
        size = head.size
        if size is None:
            self._chunks = Chunks()
            self._state = State.CHUNKS if head.chunked else State.END
            if rest:
                self.data_received(rest)
            return b""
        limit = self._slots[0][1]
        got = len(rest)
        if size > limit:
            self._fail(AnswerTooLargeError(limit, size))
            return b""
        if got == size:
            self._finish(rest)
            return b""
        if got > size:
            self._finish(rest[:size])
            return rest[size:]
        self._body = body_of(kind_of(head.headers), size, rest)
        self._state = State.BODY
        if size - got >= DIRECT and self._transport is not None:
            self._transport.set_protocol(BodyReader(self, self._transport, self._body))
        return b""

    def _read_chunks(self, data: bytes) -> None:
        assert self._chunks is not None
        known = len(self._chunks.data)
        try:
            rest = self._chunks.put(data)
        except BadAnswerError as error:
            self._fail(BrokenError(f"the answer is broken: {error}"))
            return
        if not self._check(len(self._chunks.data), None):
            return
        answer, _, _, feed = self._slots[0]
        if feed is not None and not answer.done() and self._head is not None and self._head.status == 200:
            feed(bytes(self._chunks.data[known:]))
        if self._chunks.done:
            self._finish(bytes(self._chunks.data))
            self._go_on(rest)

    def _check(self, got: int, size: int | None) -> bool:
        limit = self._slots[0][1]
        if got > limit:
            self._fail(AnswerTooLargeError(limit, size))
            return False
        return True

    def body_received(self) -> None:
        """The body is whole (Owner)."""
        assert self._body is not None
        self._finish(self._body.whole())

    def _surplus(self, rest: bytes) -> None:
        """A server that says more than its answers is not asked again."""
        if rest:
            self.retire()

    def _finish(self, body: bytes | bytearray | Frames) -> None:
        head = self._head
        assert head is not None
        slots = self._slots
        answer = slots.popleft()[0]
        if self._state is not State.OVER:
            self._state = State.HEAD if slots else State.IDLE
            self.used = time.monotonic()
        self._head = self._body = self._chunks = None
        if head.status == 200:
            self.patience = head.patience
        if head.close or (self._large and self._is_sending()):
            self._reusable = False  # the answer came before the request was sent
            if self._upload is not None:
                self._upload.stop()
        if not answer.done():
            answer.set_result(Response(head.status, head.headers, body))
        if head.close and slots:
            # Where a server has said so, it reads no more after this answer: what was sent ahead has not run.
            said = head.size is not None or head.chunked
            closing = NotSentError("the server was closing it", connected=True)
            self._settle(closing if said else BrokenError(reason_of(None)))
        if not self._reusable:
            self._close_if_left()

    def _close_if_left(self) -> None:
        if self._transport is not None and all(answer.done() for answer, _, _, _ in self._slots):
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        self._reusable = False
        self._settle(error)
        if self._transport is not None:
            self._transport.abort()

    def _settle(self, error: Exception) -> None:
        """Give the oldest request `error`, and the others their own; none gets an answer any more."""
        if self._upload is not None:
            self._upload.stop()
        slots = self._slots
        while slots:
            answer = slots.popleft()[0]
            if not answer.done():
                answer.set_exception(error)
            if not isinstance(error, (NotSentError, BrokenError)):
                error = BrokenError("it was closed for what another answer was like")
        if self._state is not State.OVER:
            self._state = State.IDLE
