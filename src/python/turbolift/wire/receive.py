# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Bodies, received into the memory that they stay in instead of being joined from many pieces.

A plain body is one piece. Of a framed one, each large raw part gets memory of its own, of the kind that its value is
made of: what arrives is the value, and is not copied again.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Protocol

from turbolift.wire.frames import FRAMES, HEAD, LENGTH, Frames, truncated
from turbolift.wire.send import STREAMED

AT_ONCE = 4 * 1024 * 1024
"""Bytes that an announced size is believed; more memory is taken only as bytes come in."""

STEP = 1024 * 1024
"""Bytes of memory that are taken at once then: clearing much more would hold the loop up."""

DIRECT = 64 * 1024
"""From this many missing bytes on, the socket is read straight into the body, or into a raw part."""

_ZEROS = bytes(STEP)


class Body(Protocol):
    """A body as it comes in. Attributes: ``size``, ``got`` (bytes)."""

    size: int
    got: int

    def room(self) -> memoryview:
        """Return where the next bytes go; never empty while some are missing."""
        ...

    def took(self, count: int) -> None:
        """Note that `count` bytes were written to the last ``room``."""
        ...

    def put(self, data: bytes | memoryview) -> int:
        """Take bytes from the start of `data`; return how many."""
        ...

    def whole(self) -> bytearray | Frames:
        """Return the body, once ``got`` is ``size``, or there is nothing more to come."""
        ...


def body_of(
    content_type: str | None, size: int, first: bytes | bytearray | memoryview = b"", *, known: bool = True
) -> Body:
    """Return a body of `size` bytes that begins with `first`; not `known`: of so many at most."""
    # To take small ones apart costs more than to copy them.
    if content_type == FRAMES and size > STREAMED:
        return FramedBody(size, first)
    return PlainBody(size, first, at_once=AT_ONCE if known else DIRECT)


class PlainBody:
    """A body in one piece (Body)."""

    __slots__ = ("_data", "_view", "got", "size")

    def __init__(
        self, size: int, first: bytes | bytearray | memoryview = b"", *, at_once: int = AT_ONCE
    ) -> None:
        self.size = size
        self.got = len(first)
        self._data = bytearray(min(size, max(at_once, self.got)))
        self._view = memoryview(self._data)
        self._view[: self.got] = first

    def room(self) -> memoryview:
        if self.got == len(self._data):
            self._view.release()
            self._data += _ZEROS[: self.size - self.got]
            self._view = memoryview(self._data)
        return self._view[self.got :]

    def took(self, count: int) -> None:
        self.got += count

    def put(self, data: bytes | memoryview) -> int:
        taken = 0
        while taken < len(data) and self.got < self.size:
            # A view that is left would keep the memory from growing.
            with self.room() as room:
                count = min(len(room), len(data) - taken)
                room[:count] = data[taken : taken + count]
            self.got += count
            taken += count
        return taken

    def whole(self) -> bytearray:
        self._view.release()
        if len(self._data) > self.got:
            del self._data[self.got :]
        return self._data


class _Writable:
    """A raw part that is wanted as memory which can be written to: an array's."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._body = PlainBody(size)
        self.room = self._body.room
        self.took = self._body.took

    @property
    def missing(self) -> int:
        return self.size - self._body.got

    def whole(self) -> bytearray:
        return self._body.whole()


class _Constant:
    """A raw part that is wanted as ``bytes``: those of a BytesIO are its own buffer, not a copy of it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._have = min(size, AT_ONCE)
        # Nobody else has these bytes, so they are not copied either.
        self._file = io.BytesIO(bytes(self._have))
        self._file.seek(self._have)
        self._view = self._file.getbuffer()
        self._got = 0

    @property
    def missing(self) -> int:
        return self.size - self._got

    def room(self) -> memoryview:
        if self._got == self._have:
            self._view.release()
            self._have += self._file.write(_ZEROS[: self.size - self._have])
            self._view = self._file.getbuffer()
        return self._view[self._got :]

    def took(self, count: int) -> None:
        self._got += count

    def whole(self) -> bytes:
        self._view.release()
        return self._file.getvalue()


class FramedBody:
    """A framed body (Body), each large raw part received into memory of its own.

    What lies between the large parts is read through a small buffer. A body whose lengths do not add up is taken to
    its end, and says so when it is decoded.
    """

    def __init__(self, size: int, first: bytes | bytearray | memoryview = b"") -> None:
        self.size = size
        self.got = 0
        self._broken = ""
        self._text: bytearray | None = None
        self._parts: list[bytes | bytearray] = []
        # What is not whole yet: a length, the JSON, a part that is small.
        self._held = bytearray()
        self._missing = HEAD.size
        self._state: Callable[[bytearray], None] = self._text_length
        self._part: _Writable | _Constant | None = None
        self._writable = False
        self._scratch = memoryview(bytearray(DIRECT))
        self._straight = False
        self._feed(memoryview(first)[:size])

    def room(self) -> memoryview:
        part = self._part
        left = self.size - self.got
        # A transport holds on to this until it has told of the bytes: the last one of a part goes another way, so that
        # nothing holds the part when it is whole.
        self._straight = part is not None and part.missing > 1 and left > 0
        if part is not None and self._straight:
            return part.room()[: min(part.missing - 1, left)]
        return self._scratch[:left]

    def took(self, count: int) -> None:
        if not self._straight:
            self._feed(self._scratch[:count])
            return
        assert self._part is not None
        self._part.took(count)
        self.got += count

    def put(self, data: bytes | memoryview) -> int:
        taken = min(len(data), self.size - self.got)
        self._feed(memoryview(data)[:taken])
        return taken

    def whole(self) -> Frames:
        if not self._broken:
            at_start = self._part is None and self._state == self._part_length and not self._held
            if not at_start:
                announced = self._missing if self._part is None else self._part.size
                self._broken = truncated(self._stage(), len(self._parts), announced, self.got)
        return Frames(self._text, self._parts, self.got, self._broken)

    def _stage(self) -> str:
        if self._part is not None or self._state == self._small_part:
            return "part"
        if self._state == self._text_length:
            return "start"
        return "json" if self._state == self._json else "length"

    def _feed(self, data: memoryview) -> None:
        """Take bytes that lie elsewhere."""
        self.got += len(data)
        while data and not self._broken:
            part = self._part
            if part is not None:
                with part.room() as room:
                    count = min(len(room), len(data))
                    room[:count] = data[:count]
                part.took(count)
                data = data[count:]
                self._end_part()
                continue
            count = min(self._missing - len(self._held), len(data))
            self._held += data[:count]
            data = data[count:]
            while self._part is None and len(self._held) == self._missing and not self._broken:
                held, self._held = self._held, bytearray()
                self._state(held)

    def _end_part(self) -> None:
        part = self._part
        if part is not None and not part.missing:
            self._parts.append(part.whole())
            self._part = None
            self._next(self._part_length, LENGTH.size)

    def _next(self, state: Callable[[bytearray], None], missing: int) -> None:
        self._state = state
        self._missing = missing

    # What is whole now.

    def _text_length(self, held: bytearray) -> None:
        length = HEAD.unpack(held)[0]
        if HEAD.size + length > self.size:
            self._broken = truncated("json", 0, length, self.size)
            return
        self._next(self._json, length)

    def _json(self, held: bytearray) -> None:
        self._text = held
        # A hint, no more: parts of any kind become values of any kind.
        self._writable = b'"dtype":' in self._text
        self._next(self._part_length, LENGTH.size)

    def _part_length(self, held: bytearray) -> None:
        length = LENGTH.unpack(held)[0]
        if length < DIRECT:
            self._next(self._small_part, length)
        else:
            self._part = _Writable(length) if self._writable else _Constant(length)
            self._missing = length

    def _small_part(self, held: bytearray) -> None:
        self._parts.append(held if self._writable else bytes(held))
        self._next(self._part_length, LENGTH.size)


class Owner(Protocol):
    """The protocol that a connection has before and after a body."""

    def body_received(self) -> None:
        """The body is whole, and the connection is the owner's again."""
        ...

    def eof_received(self) -> bool | None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, error: Exception | None, /) -> None: ...


class BodyReader(asyncio.BufferedProtocol):
    """Reads one body from a transport, then gives the transport back to its owner."""

    def __init__(self, owner: Owner, transport: asyncio.Transport, body: Body) -> None:
        self._owner = owner
        self._transport = transport
        self._body = body

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to (BufferedProtocol). It ends with the body: what follows stays unread."""
        return self._body.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Note what was read (BufferedProtocol)."""
        body = self._body
        body.took(nbytes)
        if body.got == body.size:
            self._transport.set_protocol(self._owner)  # type: ignore[arg-type]
            self._owner.body_received()

    def eof_received(self) -> bool | None:
        """Tell the owner (BufferedProtocol)."""
        return self._owner.eof_received()

    def pause_writing(self) -> None:
        """Tell the owner."""
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        """Tell the owner."""
        self._owner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner: the body will not be whole."""
        self._owner.connection_lost(exc)
