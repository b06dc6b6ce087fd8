# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""``f.map``: order, concurrency, laziness, errors."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turbolift import ConfigurationError
from turbolift.api.mapping import MapResults, rows


class Work:
    """A coroutine function that records what runs, and lets the test say when each call ends."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.cancelled: list[int] = []

    async def __call__(self, x: int) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            # Different numbers of turns, so that calls overtake each other.
            for _ in range(x * 7 % 5):
                await asyncio.sleep(0)
            if x < 0:
                raise ValueError(x)
            return x * x
        except asyncio.CancelledError:
            self.cancelled.append(x)
            raise
        finally:
            self.running -= 1


def start(
    work: Any, items: Any, concurrency: int = 3, ordered: bool = True, errors: bool = False
) -> MapResults[Any]:
    return MapResults(work, rows((items,)), concurrency, ordered, errors, "work.map()")


async def stream(items: Any) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 100), max_size=40),
    st.integers(1, 10),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_the_law_of_map(
    items: list[int], concurrency: int, ordered: bool, asynchronous: bool, iterate: bool
) -> None:
    async def main() -> None:
        work = Work()
        source = stream(items) if asynchronous else items
        results = start(work, source, concurrency, ordered)
        got = [r async for r in results] if iterate else await results
        expected = [x * x for x in items]
        assert (got if ordered else sorted(got)) == (expected if ordered else sorted(expected))
        assert work.most <= concurrency
        assert work.running == 0

    asyncio.run(main())


def test_concurrency_is_used() -> None:
    async def main() -> int:
        work = Work()
        await start(work, [4] * 40, concurrency=8)
        return work.most

    assert asyncio.run(main()) == 8


def test_endless_input_is_read_as_needed() -> None:
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        for number in itertools.count():
            read += 1
            yield number

    async def main() -> None:
        results = start(Work(), numbers(), concurrency=4)
        got = []
        async for result in results:
            got.append(result)
            assert read <= len(got) + 2 * 4 + 1
            if len(got) == 50:
                break
        await results.aclose()
        assert got == [x * x for x in range(50)]

    asyncio.run(main())


def test_nothing_runs_before_it_is_asked_for() -> None:
    work = Work()
    results = start(work, [1, 2, 3])
    assert work.most == 0
    assert "await them" in repr(results)
    assert asyncio.run(_list(results)) == [1, 4, 9]
    with pytest.raises(RuntimeError, match="only once"):
        asyncio.run(_list(results))


async def _list(results: MapResults[Any]) -> list[Any]:
    return await results


@pytest.mark.parametrize("ordered", [True, False])
def test_the_first_error_cancels_the_rest(ordered: bool) -> None:
    async def main() -> None:
        work = Work()
        forever = asyncio.Event()

        async def mixed(x: int) -> int:
            if x >= 100:
                try:
                    await forever.wait()
                except asyncio.CancelledError:
                    work.cancelled.append(x)
                    raise
            return await work(x)

        with pytest.raises(ValueError, match="-1"):
            await start(mixed, [100, 101, 1, 2, -1, 3], concurrency=3, ordered=ordered)
        assert sorted(work.cancelled) == [100, 101]
        assert work.running == 0

    asyncio.run(main())


def test_errors_as_results() -> None:
    results = asyncio.run(_list(start(Work(), [1, -2, 3], errors=True)))
    assert (results[0], results[2]) == (1, 9)
    assert isinstance(results[1], ValueError)


def test_an_error_of_the_input() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise KeyError("input")

    async def anumbers() -> AsyncIterator[int]:
        yield 1
        raise KeyError("input")

    for source in (numbers(), anumbers()):
        with pytest.raises(KeyError, match="input"):
            asyncio.run(_list(start(Work(), source)))


def test_cancelling_the_caller_cancels_the_calls() -> None:
    async def main() -> None:
        started = asyncio.Event()
        cancelled = []

        async def hang(x: int) -> int:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(x)
                raise
            return x

        task = asyncio.ensure_future(_list(start(hang, range(10), concurrency=2)))
        await started.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(cancelled) == [0, 1]

    asyncio.run(main())


def test_several_iterables_are_zipped_to_the_shortest() -> None:
    async def main() -> None:
        async def pair(a: int, b: str) -> str:
            return f"{a}{b}"

        zipped: MapResults[str] = MapResults(pair, rows(([1, 2, 3], "ab")), 2, True, False, "pair.map()")
        assert await zipped == ["1a", "2b"]
        mixed: MapResults[str] = MapResults(pair, rows((stream([1, 2]), "abc")), 2, True, False, "pair.map()")
        assert await mixed == ["1a", "2b"]

    asyncio.run(main())


def test_wrong_use_is_told(user: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"double\.map\(\): concurrency=0"):
        user.double.map([1], concurrency=0)
    with pytest.raises(TypeError, match="iterable"):
        user.double.map()
    with pytest.raises(TypeError, match="int"):
        user.double.map(3)
    with pytest.raises(TypeError, match="int"):
        user.double.starmap(3)


def test_map_of_tagged_functions(user: Any) -> None:
    async def main() -> None:
        assert await user.double.map(range(4)) == [0, 2, 4, 6]
        assert await user.later.map(range(3), concurrency=1) == [1, 2, 3]
        assert await user.Cart.total.starmap([(1, 2), (3, 4)]) == [3, 7]
        assert [x async for x in user.later.map(stream(range(3)))] == [1, 2, 3]

    asyncio.run(main())
    assert user.double.map([1, 2]).call() == [2, 4]
