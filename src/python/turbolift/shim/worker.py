# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The server's end of a worker process: requests sent to it, some ahead of the answers to others, and its answers."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import time
from collections import deque
from contextlib import suppress
from typing import Protocol, cast

from turbolift.shim.board import Board
from turbolift.shim.messages import ANSWER, JOINED, SKIPPED, pack_request, unpack_answer
from turbolift.shim.servant import Answer, Received
from turbolift.wire.frames import Buffer
from turbolift.wire.receive import DIRECT, BodyReader, PlainBody


class Ticket:
    """A call for a worker process: `trace` is the caller's, or the name of this call's own span.

    Attributes: ``worker`` and ``number`` (where it was sent, as which), ``sent`` (when), ``is_over`` (answered, or not wanted
    any more).
    """

    __slots__ = (
        "body",
        "content_type",
        "deadline",
        "is_callers",
        "is_over",
        "number",
        "sent",
        "trace",
        "worker",
    )

    def __init__(
        self, content_type: str, body: Received, deadline: float | None, trace: bytes, *, is_callers: bool
    ) -> None:
        self.content_type = content_type
        self.body = body
        self.deadline = deadline
        self.trace = trace
        self.is_callers = is_callers
        self.worker: Worker | None = None
        self.number = 0
        self.sent = 0.0
        self.is_over = False

    def settle(self, answer: Answer, began: float, now: float) -> None:
        """Take the answer; it began then, and it is `now` (``time.monotonic`` seconds)."""
        raise NotImplementedError


class Owner(Protocol):
    """Who has the worker."""

    def answered(self, worker: Worker) -> None:
        """Some of its calls have their answers."""
        ...

    def returned(self, ticket: Ticket) -> None:
        """It has skipped this call, which is still wanted."""
        ...

    def learn(self, seconds: float) -> None:
        """A call has taken so long."""
        ...

    def closed(self, worker: Worker) -> None:
        """No more answers will come from it."""
        ...


class Worker(asyncio.Protocol):
    """Attributes: ``pid``, ``place`` (on the board), ``tickets`` (sent and not answered, in order; None for one that it will
    skip), ``is_doomed`` (given up), ``ended`` (its wait status), ``closed`` (what
    it had is dealt with), ``front`` and ``is_stuck`` (its first call, when somebody last looked, and
    whether that was the same as before).
    """

    def __init__(self, owner: Owner, board: Board, place: int, sock: socket.socket) -> None:
        self._owner = owner
        # A transport that fails to write does not read what was there before.
        self._rest = sock.dup()
        self._board = board
        self._transport: asyncio.Transport | None = None
        self._pending = b""
        self._head = b""
        self._seconds = 0.0
        self._body: PlainBody | None = None
        self._out: list[Buffer] = []
        self._is_large = False
        self._count = 0
        self._last = 0.0
        self.place = place
        self.pid = 0
        self.is_doomed = False
        self.tickets: deque[Ticket | None] = deque()
        self.front: Ticket | None = None
        self.is_stuck = False
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_alive(self) -> bool:
        """Whether it can be sent anything, as far as is known."""
        return self._transport is not None and not self.is_doomed and not self.ended.done()

    def put(self, ticket: Ticket) -> bool:
        """Send a call with the next ``flush``; return whether that is the first since the last one."""
        self._count += 1
        ticket.worker = self
        ticket.number = self._count
        ticket.sent = time.monotonic()
        self.tickets.append(ticket)
        first = not self._out
        if len(ticket.body) > JOINED:
            self._is_large = True
        self._out += pack_request(
            ticket.content_type, ticket.body, ticket.deadline, ticket.trace, is_callers=ticket.is_callers
        )
        return first

    def flush(self) -> None:
        """Send."""
        out, self._out = self._out, []
        if self._transport is None:
            return
        if self._is_large:
            self._is_large = False
            for piece in out:
                self._transport.write(piece)
        else:
            self._transport.write(b"".join(out) if len(out) > 1 else out[0])

    def has_begun(self, ticket: Ticket) -> bool:
        """Whether it has begun with a call of its own, which has no answer yet."""
        return self._board.begun(self.place) >= ticket.number

    def take_back(self, ticket: Ticket) -> None:
        """Have a call skipped; see Board."""
        self._board.take_back(self.place, ticket.number)

    def began(self, ticket: Ticket) -> float:
        """Return since when it has had nothing else to do than this call, its first one."""
        return max(ticket.sent, self._last)

    def kill(self) -> None:
        """End it at once. The answers that it has sent still come."""
        self.is_doomed = True
        if not self.ended.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def is_silent(self) -> bool:
        """Whether there is nothing to read now, no end of the connection either."""
        if self._transport is None:
            return True
        poll = select.poll()
        poll.register(self._rest.fileno(), select.POLLIN)
        return not poll.poll(0)

    def abort(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start (Protocol)."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take answers (Protocol)."""
        if self._body is not None:
            taken = self._body.put(data)
            if self._body.got < self._body.size:
                return
            self._end_body()
            data = data[taken:]
        if self._pending:
            data = self._pending + data
        at, got = 0, len(data)
        while got - at >= ANSWER.size:
            head_size, size, seconds = ANSWER.unpack_from(data, at)
            start = at + ANSWER.size
            if head_size == SKIPPED:
                at = start
                self._skipped()
                continue
            first = start + head_size
            end = first + size
            if end <= got:
                at = end
                self._settle(data[start:first], data[first:end], seconds)
                continue
            if got >= first and end - got >= DIRECT:
                self._head = data[start:first]
                self._seconds = seconds
                self._body = body = PlainBody(size, data[first:])
                at = got
                if self._transport is not None:
                    self._transport.set_protocol(BodyReader(self, self._transport, body))
            break
        self._pending = data[at:]
        self._owner.answered(self)

    def body_received(self) -> None:
        """A large answer is whole (Owner)."""
        self._end_body()
        self._owner.answered(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended (Protocol)."""
        self._transport = None
        with suppress(OSError):
            while data := self._rest.recv(JOINED):
                self.data_received(data)
        self._rest.close()
        self._owner.closed(self)
        self.closed.set_result(None)

    def _end_body(self) -> None:
        assert self._body is not None
        head, body = self._head, self._body.whole()
        self._head, self._body = b"", None
        self._settle(head, body, self._seconds)

    def _settle(self, head: bytes, body: bytes | bytearray, seconds: float) -> None:
        ticket = self.tickets.popleft()
        self.is_stuck = False
        if ticket is None:
            return
        self._last = now = time.monotonic()
        self._owner.learn(seconds)
        if not ticket.is_over:
            ticket.is_over = True
            ticket.settle(unpack_answer(head, body), now - seconds, now)

    def _skipped(self) -> None:
        ticket = self.tickets.popleft()
        if ticket is not None and not ticket.is_over:
            self._owner.returned(ticket)
