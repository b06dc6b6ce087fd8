# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Large bodies, written no faster than the peer takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

Buffer = bytes | bytearray | memoryview

STREAMED = 1024 * 1024
"""Bodies of more bytes than this are written slice by slice; smaller ones at once, by few system calls."""

SMALL = 16 * 1024
"""Bytes below which a piece is joined with its neighbours."""

SLICE = 256 * 1024
"""Bytes that are written at once: so much, and what the system holds, is in memory beside the body itself."""


def merged(pieces: Iterable[Buffer]) -> Iterator[Buffer]:
    """Yield `pieces` with the small ones among them joined, which copies these alone; empty ones are left out.

    A transport of asyncio counts, from CPython 3.12 on, what it holds at each write, all of it: many small writes take the
    square of their number.
    """
    small: list[Buffer] = []
    held = 0
    for piece in pieces:
        view = memoryview(piece).cast("B")
        if not len(view):
            continue
        if len(view) < SMALL:
            small.append(view)
            held += len(view)
            if held < SLICE:
                continue
        if small:
            yield b"".join(small)
            small, held = [], 0
        if len(view) >= SMALL:
            yield view
    if small:
        yield b"".join(small)


class Stream:
    """A body on its way: `pieces` go to `transport` one slice after the other, as it asks for more.

    The owner of the transport hands on what it is told: ``pause``, ``resume``. `done` is called when the last slice
    was written (the transport may still hold it). Attribute ``unsent``: bytes that were not written yet; while there
    are any, the peer cannot have the whole.
    """

    def __init__(
        self, transport: asyncio.Transport, pieces: Sequence[Buffer], done: Callable[[], None] | None = None
    ) -> None:
        self._transport: asyncio.Transport | None = transport
        self._views = [memoryview(piece) for piece in merged(pieces)][::-1]
        self._done = done
        self._paused = False
        self._writing = False
        self.unsent = sum(map(len, self._views))

    def pause(self) -> None:
        """The transport wants no more for now."""
        self._paused = True

    def resume(self) -> None:
        """Write as long as the transport takes it; this starts it as well."""
        self._paused = False
        if self._writing:
            return  # told so by a write that is below
        self._writing = True
        try:
            # Of what is written to a transport that has failed, nothing is ever said.
            while self._views and not (
                self._paused or self._transport is None or self._transport.is_closing()
            ):
                view = self._views.pop()
                if len(view) > SLICE:
                    self._views.append(view[SLICE:])
                    view = view[:SLICE]
                self.unsent -= len(view)
                self._transport.write(view)
        finally:
            self._writing = False
        if not self._views and self._transport is not None:
            self._transport = None
            if self._done is not None:
                self._done()

    def stop(self) -> None:
        """Write no more; ``unsent`` stays."""
        self._transport = None
        self._views.clear()
