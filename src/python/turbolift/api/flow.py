# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The engine of ``map``: reads rows as there is room for them, has them called, and gives the results back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from itertools import islice
from typing import Any, Protocol

Settle = Callable[[int, Any, Exception | None], None]
Row = tuple[int, Iterable[Any]]

ABREAST = 2
"""Batches that `concurrency` makes room for at least: while one is run, the next one is on its way."""

GATHER = 0.001
"""Seconds for which rows of a source that is slower than the calls are gathered to a batch."""


class Way(Protocol):
    """How rows are called."""

    wake: Callable[[], None]
    """Set by the engine; to be called when ``size`` is no longer 0."""

    def size(self, running: int) -> int:
        """Return how many rows to call at once, next, while `running` others are; 0: none for now."""
        ...

    async def run(self, rows: Sequence[Row], settle: Settle) -> None:
        """Call for all rows, and settle each with its result or its error."""
        ...


class OneByOne:
    """Awaits a coroutine function for each row."""

    def __init__(self, fn: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self._fn = fn
        self.wake: Callable[[], None] = lambda: None

    def size(self, running: int) -> int:
        """One at once."""
        return 1

    async def run(self, rows: Sequence[Row], settle: Settle) -> None:
        """Call (Way)."""
        for index, row in rows:
            try:
                value = await self._fn(*row)
            except Exception as error:
                settle(index, None, error)
            else:
                settle(index, value, None)


class Flow:
    """One map, from its rows to its results. For one event loop, which runs when it is made.

    `ahead`: how many rows may be read of which no result was given yet; None: any number.
    """

    def __init__(
        self,
        way: Way,
        rows: Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]],
        concurrency: int,
        *,
        ordered: bool,
        return_exceptions: bool,
        ahead: int | None,
    ) -> None:
        self._way = way
        self._most = max(1, concurrency // ABREAST)
        self._concurrency = concurrency
        self._flying = 0
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._ahead = ahead
        self._loop = asyncio.get_running_loop()
        # The source, and how far it was read.
        self._rows = rows
        self._iterator: Iterator[Iterable[Any]] | None = None
        self._read: deque[Iterable[Any]] = deque()
        self._reader: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._ended = False
        self._count = 0
        # Results.
        self._tasks: set[asyncio.Task[None]] = set()
        self._results: deque[Any] = deque()
        self._waiting: dict[int, Any] = {}
        self._expected = 0
        self._given = 0
        self._failure: BaseException | None = None
        self._news: asyncio.Future[None] | None = None

    async def collect(self) -> list[Any]:
        """Return all results."""
        try:
            self._start()
            while not self._done():
                await self._wait()
            return list(self._results)
        finally:
            await self._close()

    async def stream(self) -> AsyncGenerator[Any, None]:
        """Yield the results as they come."""
        results = self._results
        try:
            self._start()
            while True:
                while results:
                    self._given += 1
                    yield results.popleft()
                    self._pump()
                if self._done():
                    return
                await self._wait()
        finally:
            await self._close()

    # Reading.

    def _start(self) -> None:
        self._way.wake = self._pump
        if isinstance(self._rows, AsyncIterable):
            self._reader = self._loop.create_task(self._read_on(self._rows))
        else:
            self._iterator = iter(self._rows)
            self._pump()

    async def _read_on(self, rows: AsyncIterable[Iterable[Any]]) -> None:
        iterator: AsyncIterator[Iterable[Any]] | None = None
        try:
            iterator = aiter(rows)
            while True:
                while self._rooms() <= len(self._read):
                    self._room = self._loop.create_future()
                    await self._room
                self._read.append(await anext(iterator))
                self._pump()
        except StopAsyncIteration:
            self._end()
        except asyncio.CancelledError:
            if self._failure is None:
                self._fail(asyncio.CancelledError())
            raise
        except BaseException as error:
            self._fail(error)
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()

    def _end(self) -> None:
        self._ended = True
        self._pump()
        self._tell()

    def _rooms(self) -> int:
        """Return how many rows there is room for, of those that nobody calls yet."""
        rooms = self._concurrency - self._flying
        if self._ahead is not None:
            rooms = min(rooms, self._ahead - (self._count - self._given))
        return rooms

    def _pump(self) -> None:
        """Have as many rows called as there is room for."""
        while rows := self._next(len(self._tasks)):
            task = self._loop.create_task(self._work(rows))
            self._tasks.add(task)
        if self._room is not None and not self._room.done() and self._rooms() > len(self._read):
            self._room.set_result(None)

    def _next(self, running: int, *, gathered: bool = False) -> list[Row]:
        """Return the rows to call next, or none, while `running` batches are called."""
        if self._failure is not None or (self._ended and not self._read):
            return []
        rooms = self._rooms()
        size = min(self._way.size(running), self._most) if rooms > 0 else 0
        if size > rooms and self._flying:
            return []  # there will be room for all of them
        size = min(size, rooms)
        if size <= 0:
            return []
        if self._iterator is None:
            return self._gathered(size, gathered)
        try:
            rows = list(enumerate(islice(self._iterator, size), self._count))
        except BaseException as error:
            self._fail(error)
            return []
        if len(rows) < size:
            self._ended = True
        return self._taken(rows)

    def _gathered(self, size: int, gathered: bool) -> list[Row]:
        read = self._read
        if not read:
            return []
        if len(read) < size and self._flying and not self._ended and not gathered:
            if self._gathering is None:
                self._gathering = self._loop.call_later(GATHER, self._send_what_is_there)
            return []
        return self._taken([(self._count + i, read.popleft()) for i in range(min(size, len(read)))])

    def _send_what_is_there(self) -> None:
        self._gathering = None
        if rows := self._next(len(self._tasks), gathered=True):
            self._tasks.add(self._loop.create_task(self._work(rows)))
        self._pump()

    def _taken(self, rows: list[Row]) -> list[Row]:
        self._count += len(rows)
        self._flying += len(rows)
        return rows

    # Calling.

    async def _work(self, rows: list[Row]) -> None:
        try:
            while rows:
                await self._way.run(rows, self._settle)
                rows = self._next(len(self._tasks) - 1)
                self._pump()
        except BaseException as error:
            # A coroutine function may raise CancelledError by itself.
            self._fail(error)
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.discard(task)
            self._pump()
            self._tell()

    def _settle(self, index: int, value: Any, error: Exception | None) -> None:
        self._flying -= 1
        if error is not None:
            if not self._return_exceptions:
                self._fail(error)
                return
            value = error
        if not self._ordered:
            self._results.append(value)
        elif index == self._expected:
            self._results.append(value)
            self._expected = index + 1
            while self._waiting and self._expected in self._waiting:
                self._results.append(self._waiting.pop(self._expected))
                self._expected += 1
        else:
            self._waiting[index] = value
            return
        self._tell()

    def _fail(self, error: BaseException) -> None:
        """End with `error`: what was called and not answered is cancelled."""
        if self._failure is None:
            self._failure = error
            for task in self._tasks:
                task.cancel()
        self._tell()

    # Results.

    def _done(self) -> bool:
        """Whether all results are there; raises what failed."""
        if self._failure is not None:
            raise self._failure
        return self._ended and not self._tasks and not self._read

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _wait(self) -> None:
        self._news = self._loop.create_future()
        await self._news
        self._news = None

    async def _close(self) -> None:
        """Cancel what still runs, and wait for it."""
        if self._failure is None:
            self._failure = asyncio.CancelledError()
        self._way.wake = lambda: None
        if self._gathering is not None:
            self._gathering.cancel()
        tasks = [*self._tasks]
        if self._reader is not None:
            tasks.append(self._reader)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
