# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""``f.map``: many calls with bounded concurrency, results in order or as they come."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from typing import Any, Generic, NamedTuple, TypeVar

from turbolift.api.blocking import refuse_in_loop, run_here
from turbolift.api.switch import is_distributed
from turbolift.errors import ConfigurationError

T = TypeVar("T")

Rows = Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]]


class MapResults(Generic[T]):
    """The results of ``f.map``: awaitable (a list) and asynchronously iterable, once. Nothing runs before
    that.
    """

    def __init__(
        self,
        fn: Callable[..., Coroutine[Any, Any, Any]],
        rows: Rows,
        concurrency: int,
        ordered: bool,
        return_exceptions: bool,
        name: str,
    ) -> None:
        if type(concurrency) is not int or concurrency < 1:
            raise ConfigurationError(
                f"{name}: concurrency={concurrency!r}: it must be a whole number, 1 or more"
            )
        if not isinstance(rows, (Iterable, AsyncIterable)):
            raise TypeError(f"{name} takes iterables, got {type(rows).__name__}")
        self._fn = fn
        self._rows = rows
        self._concurrency = concurrency
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._name = name
        self._used = False
        self._generator: AsyncGenerator[T, None] | None = None

    def __await__(self) -> Generator[Any, None, list[T]]:
        return self._collect().__await__()

    async def _collect(self) -> list[T]:
        generator = self._start(ahead=None)
        try:
            return [result async for result in generator]
        finally:
            await generator.aclose()

    def __aiter__(self) -> AsyncIterator[T]:
        # Results that wait for an earlier one are kept, but not without bound.
        self._generator = self._start(ahead=2 * self._concurrency)
        return self._generator

    async def aclose(self) -> None:
        """Cancel what still runs, after a loop that was left early."""
        if self._generator is not None:
            await self._generator.aclose()

    def call(self) -> list[T]:
        """Wait for the list of results, for code without an event loop."""
        refuse_in_loop(f"{self._name}.call()", f"await {self._name}")
        if not is_distributed():
            return run_here(self._collect())
        from turbolift.client import run_blocking

        return run_blocking(self._collect())

    def __repr__(self) -> str:
        return f"<turbolift results of {self._name}; await them, or iterate with 'async for'>"

    def _start(self, ahead: int | None) -> AsyncGenerator[T, None]:
        if self._used:
            raise RuntimeError(
                f"the results of {self._name} can be awaited or iterated only once: call it again"
            )
        self._used = True
        return _run(self._fn, self._rows, self._concurrency, self._ordered, self._return_exceptions, ahead)


def rows(iterables: tuple[Iterable[Any] | AsyncIterable[Any], ...]) -> Rows:
    """Zip the iterables, of which some or all may be asynchronous, into rows of arguments, lazily."""
    if not iterables:
        raise TypeError("map() needs at least one iterable")
    for iterable in iterables:
        if not isinstance(iterable, (Iterable, AsyncIterable)):
            raise TypeError(f"map() takes iterables, got {type(iterable).__name__}")
    if any(isinstance(iterable, AsyncIterable) for iterable in iterables):
        return _zip_async(iterables)
    return zip(*iterables, strict=False)


async def _zip_async(
    iterables: tuple[Iterable[Any] | AsyncIterable[Any], ...],
) -> AsyncGenerator[tuple[Any, ...], None]:
    iterators = [_forward(iterable) for iterable in iterables]
    try:
        while True:
            row = []
            for iterator in iterators:
                try:
                    row.append(await anext(iterator))
                except StopAsyncIteration:
                    return
            yield tuple(row)
    finally:
        for iterator in iterators:
            await iterator.aclose()


async def _forward(iterable: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    if isinstance(iterable, AsyncIterable):
        async for item in iterable:
            yield item
    else:
        for item in iterable:
            yield item


class _Outcome(NamedTuple):
    number: int
    value: Any
    failed: bool


class _Source:
    """Hands out numbered rows, one at a time, to several workers."""

    def __init__(self, rows: Rows) -> None:
        self._async: AsyncIterator[Iterable[Any]] | None = None
        self._sync: Iterator[Iterable[Any]] | None = None
        if isinstance(rows, AsyncIterable):
            self._async = aiter(rows)
        else:
            self._sync = iter(rows)
        self._lock = asyncio.Lock()
        self._count = 0
        self._ended = False

    async def next(self) -> tuple[int, Iterable[Any]] | None:
        """Return the next row and its number, or None at the end; an error of the input ends it too."""
        async with self._lock:
            if self._ended:
                return None
            try:
                row = next(self._sync) if self._sync is not None else await anext(self._async)  # type: ignore[arg-type]
            except (StopIteration, StopAsyncIteration):
                self._ended = True
                return None
            except BaseException:
                self._ended = True
                raise
            self._count += 1
            return self._count - 1, row

    async def aclose(self) -> None:
        self._ended = True
        close = getattr(self._async, "aclose", None)
        if close is not None:
            await close()


async def _run(
    fn: Callable[..., Coroutine[Any, Any, Any]],
    rows: Rows,
    concurrency: int,
    ordered: bool,
    return_exceptions: bool,
    ahead: int | None,
) -> AsyncGenerator[Any, None]:
    source = _Source(rows)
    outcomes: asyncio.Queue[_Outcome | None] = asyncio.Queue()
    window = asyncio.Semaphore(ahead) if ahead is not None else None

    async def work() -> None:
        try:
            while True:
                if window is not None:
                    await window.acquire()
                numbered = await source.next()
                if numbered is None:
                    return
                index, row = numbered
                try:
                    value = await fn(*row)
                except Exception as error:
                    if not return_exceptions:
                        raise
                    value = error
                outcomes.put_nowait(_Outcome(index, value, False))
        except Exception as error:
            outcomes.put_nowait(_Outcome(-1, error, True))
        finally:
            outcomes.put_nowait(None)

    workers = [asyncio.ensure_future(work()) for _ in range(concurrency)]
    waiting: dict[int, Any] = {}
    expected = 0
    running = len(workers)
    try:
        while running:
            outcome = await outcomes.get()
            if outcome is None:
                running -= 1
                # The others may wait for room that nothing will free any more.
                if window is not None:
                    window.release()
                continue
            if outcome.failed:
                raise outcome.value
            if not ordered:
                yield outcome.value
                if window is not None:
                    window.release()
                continue
            waiting[outcome.number] = outcome.value
            while expected in waiting:
                yield waiting.pop(expected)
                expected += 1
                if window is not None:
                    window.release()
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await source.aclose()
