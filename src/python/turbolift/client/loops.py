# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What belongs to an event loop: made when it is first asked for, closed when the loop ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Generic, TypeVar
from weakref import ReferenceType, WeakKeyDictionary, ref

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One T for each event loop. `make` makes it within the loop, `close` closes it there."""

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> None:
        self._make = make
        self._close = close
        self._mine: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()
        self._closers: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = (
            WeakKeyDictionary()
        )
        self._last: tuple[ReferenceType[asyncio.AbstractEventLoop], T] | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._mine.values()))

    def known(self) -> T | None:
        """Return what the running loop has already."""
        loop = asyncio.get_running_loop()
        last = self._last
        if last is not None and last[0]() is loop:
            return last[1]
        found = self._mine.get(loop)
        if found is not None:
            self._last = ref(loop), found
        return found

    async def get(self) -> T:
        """Return what belongs to the running loop."""
        loop = asyncio.get_running_loop()
        found = self._mine.get(loop)
        if found is None:
            found = self._mine[loop] = self._make()
            # asyncio.run, its Runner and uvloop close the generators that a loop has seen before they close the
            # loop: a generator that stands in its try block is the one hook for that moment.
            closer = self._closers[loop] = self._close_at_end(loop)
            await anext(closer)
        return found

    async def aclose(self) -> None:
        """Close what the running loop has."""
        closer = self._closers.pop(asyncio.get_running_loop(), None)
        if closer is not None:
            await closer.aclose()

    async def _close_at_end(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._last = None
            found = self._mine.pop(loop, None)
            if found is not None:
                await self._close(found)
