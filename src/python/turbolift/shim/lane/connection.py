# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One connection of the lane: request after request, one at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from turbolift.shim.lane.ahead import Row, call_head, usual_calls
from turbolift.shim.lane.answers import BROKEN, CONTINUE, JOINED, TIMEOUT, pieces, size_of, stream
from turbolift.shim.lane.cancel import cancel
from turbolift.shim.lane.limits import (
    AHEAD,
    BODY_RATE,
    BODY_TIME,
    ENDS,
    GOES_ON,
    HEAD_TIME,
    IN_A_ROW,
    STUCK_TIME,
    TLS,
)
from turbolift.shim.lane.probes import probe
from turbolift.shim.lane.state import State
from turbolift.shim.log import log
from turbolift.shim.pressure import Reading
from turbolift.shim.servant import Answer
from turbolift.wire.codings import kind_of
from turbolift.wire.frames import Buffer, Frames
from turbolift.wire.http1 import (
    HEAD_LIMIT,
    CallHead,
)
from turbolift.wire.receive import DIRECT, Body, BodyReader, body_of
from turbolift.wire.send import STREAMED, Stream

if TYPE_CHECKING:
    from turbolift.shim.lane.lane import Lane


class Connection(asyncio.Protocol):
    """The protocol of one connection until it ends, or is the aiohttp app's."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._transport: asyncio.Transport | None = None
        self._state = State.HEAD
        self._pending = bytearray()
        self._since = lane.now
        self._head: CallHead | None = None
        self._body: Body | None = None
        self._task: asyncio.Task[Answer] | asyncio.Task[None] | None = None
        self._stream: Stream | None = None
        self._writing_paused = False
        self._reading_paused = False
        self._unsent = 0
        self._partial = False
        # How each call of turbolift's client on this connection starts, once there was one.
        self._common = b""
        self._reading = Reading(lane.dispatcher)
        self.row = Row(lane, self._answer_row)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start (Protocol)."""
        self._transport = cast("asyncio.Transport", transport)
        self._lane.add(self)
        self._since = self._lane.now

    def data_received(self, data: bytes) -> None:
        """Take bytes (Protocol)."""
        self._reading.read(self._pending)
        if self._state is State.HEAD:
            if self._pending:
                self._pending += data
                data = bytes(self._pending)
                self._pending.clear()
            self._requests(data)
        elif self._state is State.BODY:
            assert self._body is not None
            rest = data[self._body.put(data) :]
            if self._body.got == self._body.size:
                self._pending += rest
                self.body_received()
        elif self._state is not State.OVER:
            self._pending += data
            self._post_more()
            if len(self._pending) > AHEAD and not self._reading_paused and self._transport is not None:
                self._reading_paused = True
                self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone: so is the reason for its call (Protocol)."""
        self._state = State.OVER
        self._lane.connections.discard(self)
        self._transport = None
        self._pending.clear()
        self._head = self._body = None
        if self._stream is not None:
            self._stream.stop()
            self._stream = None
        if self._task is not None:
            self._task.cancel()
        self.row.abandon()

    def pause_writing(self) -> None:
        """The peer takes the answer more slowly than it is made (Protocol)."""
        self._writing_paused = True
        if self._stream is not None:
            self._stream.pause()

    def resume_writing(self) -> None:
        """It has taken most of it (Protocol)."""
        self._writing_paused = False
        if self._stream is not None:
            self._stream.resume()
        elif self._state is State.WRITE:
            self._go_on()
        else:
            self._post_more()

    def _requests(self, data: bytes) -> None:
        """Serve the requests in `data`, and keep what is no whole one yet."""
        lane = self._lane
        at = self._usual_calls(data) if self._common else 0
        if at:
            if self._state is not State.HEAD:
                self._pending += data[at:]
                return
            if at == len(data):
                return
            data = data[at:]
        for _ in range(IN_A_ROW if not at else 1):
            end = data.find(b"\r\n\r\n")
            if end < 0 and len(data) <= HEAD_LIMIT and not data.startswith(TLS):
                self._wait_for_head(data)
                return
            found, common = call_head(lane, data, end)
            if common and lane.dispatcher.posts and not self._common:
                self._common = common
                self._requests(data)  # it runs beside those that may come behind it
                return
            self._common = common or self._common
            if found is None:
                rest = self._probe(data, end)
                if rest is None:
                    self._leave(data)
                    return
                if self._state is not State.HEAD:
                    self._pending += rest
                    return
                if not rest:
                    return
                data = rest
                continue
            head, start = found, end + 4
            end = start + head.size
            self._partial = False
            if len(data) < end:
                self._wait_for_body(head, data[start:])
                return
            rest = data[end:]
            self._serve(head, data[start:end])
            if self._state is not State.HEAD:
                self._pending += rest
                return
            if not rest:
                return
            data = rest
        self._state = State.TURN
        self._pending += data
        lane.loop.call_soon(self._turn)

    def _usual_calls(self, data: bytes) -> int:
        """Answer the calls at the start of `data` that are of the form that this connection's calls have, or have them run; return
        where the next request starts.
        """
        lane = self._lane
        if lane.dispatcher.posts:
            at = self.row.post(data, self._common)
            self._partial, self._state = (False, State.CALL) if at else (self._partial, self._state)
            return at
        at, answers, other = usual_calls(lane, data, self._common, self._reading.at)
        if at:
            self._partial = False
        self._write(answers)
        if other is not None:
            self._send(other, GOES_ON)
        elif answers:
            self._wait_if_full()
        return at

    def _post_more(self) -> None:
        """Have further calls run beside those that run."""
        if self.row and self._pending and self._state is State.CALL and not self._writing_paused:
            at = self._usual_calls(bytes(self._pending))
            del self._pending[:at]

    def _answer_row(self) -> None:
        """Write the answers whose turn it is."""
        if self._transport is None or self._state is not State.CALL or self._task is not None:
            return
        while self._stream is None:
            answers, other, ends = self.row.ready()
            self._write(answers)
            if other is None:
                break
            self._send(other, ENDS if ends else GOES_ON)
            if ends:
                self.row.abandon()
                return
        if self._stream is None and self._wait_if_full():
            self._go_on()
        else:
            self._post_more()

    def _write(self, answers: list[bytes]) -> None:
        if answers and self._transport is not None:
            self._transport.write(b"".join(answers) if len(answers) > 1 else answers[0])
            self._since = self._lane.now

    def _turn(self) -> None:
        if self._state is State.TURN:
            self._go_on()

    def _wait_for_head(self, data: bytes) -> None:
        self._pending += data
        if data and not self._partial:
            self._partial = True
            self._since = self._lane.now

    def _wait_for_body(self, head: CallHead, first: bytes) -> None:
        assert self._transport is not None
        if head.expects:
            self._transport.write(CONTINUE)
        self._head = head
        self._body = body = body_of(kind_of(head.headers), head.size, first)
        self._state = State.BODY
        self._since = self._lane.now
        if head.size - len(first) >= DIRECT:
            self._transport.set_protocol(BodyReader(self, self._transport, body))

    def body_received(self) -> None:
        """The body is whole (Owner)."""
        assert self._head is not None
        assert self._body is not None
        head, body = self._head, self._body.whole()
        self._head = self._body = None
        self._serve(head, body)
        if self._state is State.HEAD:
            self._go_on()

    def _serve(self, head: CallHead, body: bytes | bytearray | Frames) -> None:
        lane = self._lane
        if self._common and lane.dispatcher.posts and not head.close and lane.is_ours(head.headers):
            self.row.add(head.headers, body)
            self._state = State.CALL
            return
        answer = lane.dispatcher.at_once(head.headers, body)
        if answer is not None:
            self._send(answer, head)
            return
        self._state = State.CALL
        self._head = head
        self._task = task = lane.loop.create_task(lane.dispatcher.dispatch(lane.identity, head.headers, body))
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[Answer]) -> None:
        self._task = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log(logging.ERROR, "internal error", function=self._lane.identity, error=repr(error))
        if self._transport is None:
            if error is None and not task.cancelled() and (more := task.result().more) is not None:
                more.cancel()
            return
        if task.cancelled():
            self.abort()
            return
        if error is not None:
            self._transport.write(BROKEN)
            self._close()
            return
        head, self._head = self._head, None
        assert head is not None
        answer = task.result()
        if answer.more is not None:
            last = head.close or self._lane.dispatcher.gate.draining
            start = self._lane.heads.head(answer, None, last=last)
            self._task = streaming = self._lane.loop.create_task(stream(self._transport, start, answer))
            streaming.add_done_callback(lambda ended: self._streamed(ended, last=last))
            return
        self._send(answer, head)
        if self._state is State.HEAD:
            self._go_on()

    def _streamed(self, task: asyncio.Task[None], *, last: bool) -> None:
        self._task = None
        if task.cancelled() or task.exception() is not None:
            self.abort()
        elif self._transport is not None:
            self._written(last=last)

    def _written(self, *, last: bool) -> None:
        """An answer that took its time is written to the end."""
        self._stream = None
        self._since = self._lane.now
        if last or self._lane.closing:
            self._close()
            return
        if self._wait_if_full():
            self._state = State.TURN
            self._lane.loop.call_soon(self._turn)
        else:
            self._answer_row()

    def _send(self, answer: Answer, head: CallHead) -> None:
        """Write an answer, and be ready for the next request, or wait until the peer has taken enough."""
        lane, transport = self._lane, self._transport
        assert transport is not None
        last = head.close or (lane.is_ending() and not self.row)
        body = answer.body
        usual = lane.heads.usual(answer) if self._common and not last else None
        if usual is not None:
            transport.write(usual)
        elif len(body) == 1 and type(body[0]) is bytes and len(body[0]) <= JOINED:
            transport.write(lane.heads.head(answer, len(body[0]), last=last) + body[0])
        else:
            size = sum(map(size_of, body))
            start = lane.heads.head(answer, size, last=last)
            if size > STREAMED:
                self._start_stream(start, body, last=last)
                return
            for piece in pieces(start, body, size):
                transport.write(piece)
        self._since = lane.now
        if last:
            self._close()
        else:
            self._wait_if_full()

    def _start_stream(self, start: bytes, body: Sequence[Buffer], *, last: bool) -> None:
        """Write a large answer as the peer takes it."""
        assert self._transport is not None
        self._state = State.WRITE
        self._since = self._lane.now
        self._stream = stream = Stream(self._transport, [start, *body], lambda: self._written(last=last))
        stream.resume()

    def _wait_if_full(self) -> bool:
        """Be ready for the next request, or wait until the peer has taken enough; return whether it is ready."""
        if self.row:
            self._state = State.CALL
        elif self._writing_paused and self._transport is not None:
            self._state = State.WRITE
            self._unsent = self._transport.get_write_buffer_size()
        else:
            self._state = State.HEAD
            return True
        return False

    def _go_on(self) -> None:
        """Look at what has come in the meantime."""
        self._state = State.HEAD
        self._reading.go_on()
        data = bytes(self._pending)
        self._pending.clear()
        if data:
            self._requests(data)
        if self._reading_paused and len(self._pending) <= AHEAD and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()

    def _probe(self, data: bytes, end: int) -> bytes | None:
        """Answer a probe, or a request to cancel a call, and return what comes after it, or None where it is neither."""
        found = probe(data, end, draining=self._lane.dispatcher.gate.draining) or cancel(
            self._lane, data, end
        )
        if found is None:
            return None
        self._partial = False
        self._send(*found)
        return data[end + 4 :]

    def _leave(self, data: bytes) -> None:
        """Let the aiohttp app have the connection, from this request on."""
        self._state = State.LEAVING
        self._pending += data
        if self._lane.app is None:
            self._lane.leave(self)
        else:
            self.hand_over()

    def hand_over(self) -> None:
        """Give the connection to the app, which is there now."""
        transport, make = self._transport, self._lane.app
        if transport is None or make is None:
            return
        if self._reading_paused:
            self._reading_paused = False
            transport.resume_reading()
        self._state = State.OVER
        self._transport = None
        self._lane.connections.discard(self)
        data = bytes(self._pending)
        self._pending.clear()
        app = make()
        transport.set_protocol(app)
        app.connection_made(transport)
        app.data_received(data)

    def look(self, now: float) -> None:
        """End the connection if what it waits for has taken too long."""
        transport = self._transport
        if transport is None:
            return
        spent = now - self._since
        most = HEAD_TIME if self._partial else self._lane.idle
        if self._state is State.BODY and self._body is not None:
            most = BODY_TIME + self._body.got / BODY_RATE
        if self._state in (State.HEAD, State.BODY):
            if spent > most:
                if self._partial or self._state is State.BODY:
                    transport.write(TIMEOUT)
                self._close()
        elif self._state in (State.WRITE, State.OVER):
            unsent = transport.get_write_buffer_size() + (self._stream.unsent if self._stream else 0)
            if unsent != self._unsent:
                self._unsent, self._since = unsent, now
            elif spent > STUCK_TIME:
                self.abort()

    def finish(self) -> None:
        """End now if nothing has been asked, else with the answer."""
        if self._state is State.HEAD and not self._partial:
            self._close()

    def abort(self) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        """End when what was written is sent."""
        self._state = State.OVER
        if self._transport is not None:
            self._unsent = self._transport.get_write_buffer_size()
            self._transport.close()
