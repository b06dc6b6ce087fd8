# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""``f.map``: many calls with bounded concurrency, results in order or as they come."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
)
from typing import Any, Generic, TypeVar

from turbolift.api.blocking import refuse_in_loop, run_here
from turbolift.api.flow import Flow, OneByOne, Way
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
        batches: Callable[[], Way | None] = lambda: None,
    ) -> None:
        """`batches`: returns how many rows are called at once, when the map begins; None: one by one, by `fn`."""
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
        self._batches = batches
        self._used = False
        self._generator: AsyncGenerator[T, None] | None = None

    def __await__(self) -> Generator[Any, None, list[T]]:
        return self._collect().__await__()

    async def _collect(self) -> list[T]:
        self._use()
        return await self._flow(ahead=None).collect()

    def __aiter__(self) -> AsyncIterator[T]:
        # Results that wait for an earlier one are kept, but not without bound.
        self._use()
        self._generator = self._stream()
        return self._generator

    async def _stream(self) -> AsyncGenerator[T, None]:
        flow = self._flow(ahead=2 * self._concurrency).stream()
        try:
            async for result in flow:
                yield result
        finally:
            await flow.aclose()

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

    def _use(self) -> None:
        if self._used:
            raise RuntimeError(
                f"the results of {self._name} can be awaited or iterated only once: call it again"
            )
        self._used = True

    def _flow(self, ahead: int | None) -> Flow:
        return Flow(
            self._batches() or OneByOne(self._fn),
            self._rows,
            self._concurrency,
            ordered=self._ordered,
            return_exceptions=self._return_exceptions,
            ahead=ahead,
        )


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
