# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Bodies of a known size, received into one piece of memory instead of being joined from many."""

from __future__ import annotations

import asyncio
from typing import Protocol

AT_ONCE = 4 * 1024 * 1024
"""Bytes that an announced size is believed; more memory is taken only as bytes come in."""

DIRECT = 64 * 1024
"""From this many missing bytes on, the socket is read straight into the body."""


class Body:
    """A body of `size` bytes that begins with `first`. Attributes: ``size``, ``got`` (bytes)."""

    __slots__ = ("_data", "_view", "got", "size")

    def __init__(self, size: int, first: bytes | bytearray | memoryview) -> None:
        self.size = size
        self.got = len(first)
        self._data = bytearray(min(size, max(AT_ONCE, self.got)))
        self._view = memoryview(self._data)
        self._view[: self.got] = first

    def room(self) -> memoryview:
        """Return where the next bytes go; never empty while some are missing."""
        if self.got == len(self._data):
            self._view.release()
            self._data += bytes(min(self.size - self.got, self.got))
            self._view = memoryview(self._data)
        return self._view[self.got :]

    def put(self, data: bytes | memoryview) -> int:
        """Take bytes from the start of `data`; return how many."""
        taken = 0
        while taken < len(data) and self.got < self.size:
            room = self.room()
            part = data[taken : taken + len(room)]
            room[: len(part)] = part
            self.got += len(part)
            taken += len(part)
        return taken

    def whole(self) -> bytearray:
        """Return the body, once ``got`` is ``size``."""
        self._view.release()
        return self._data


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
        body.got += nbytes
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
