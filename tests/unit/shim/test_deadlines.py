# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One timer ends all tasks whose time is up, and no others."""

from __future__ import annotations

import asyncio
import time

from turbolift.shim.deadlines import Deadlines


async def held(deadlines: Deadlines, seconds: float, work: float) -> str:
    """Work for so long, watched for `seconds`; what became of it."""
    task = asyncio.current_task()
    assert task is not None
    watch = deadlines.watch(task, time.monotonic() + seconds)
    try:
        await asyncio.sleep(work)
    except asyncio.CancelledError:
        return "late" if deadlines.forget(watch) and not task.cancelling() else "cancelled"
    return "late" if deadlines.forget(watch) else "done"


def test_each_ends_at_its_own_deadline_or_by_itself() -> None:
    async def main() -> list[str]:
        deadlines = Deadlines()
        # The first deadline is not the first that was watched, and some end before theirs.
        work = [(60.0, 0.01), (0.3, 60.0), (0.1, 60.0), (0.2, 0.0), (0.0, 60.0), (60.0, 0.5)]
        async with asyncio.timeout(50):
            return await asyncio.gather(*(held(deadlines, *one) for one in work))

    assert asyncio.run(main()) == ["done", "late", "late", "done", "late", "done"]


def test_who_is_cancelled_by_others_is_not_late() -> None:
    async def main() -> None:
        deadlines = Deadlines()
        task = asyncio.create_task(held(deadlines, 60.0, 60.0))
        await asyncio.sleep(0)
        task.cancel()
        assert await task == "cancelled"
        assert not deadlines._calls

    asyncio.run(main())


def test_a_task_is_watched_for_two_deadlines_at_once() -> None:
    async def main() -> None:
        deadlines = Deadlines()
        task = asyncio.current_task()
        assert task is not None
        outer = deadlines.watch(task, time.monotonic() + 60.0)
        assert await held(deadlines, 0.05, 60.0) == "late"
        assert await held(deadlines, 60.0, 0.0) == "done"
        assert not deadlines.forget(outer)
        assert not task.cancelling()

    asyncio.run(main())


def test_no_timer_outlives_what_it_is_for() -> None:
    async def main() -> None:
        deadlines = Deadlines()
        assert await held(deadlines, 0.02, 0.0) == "done"
        async with asyncio.timeout(50):
            while deadlines._timer is not None:
                await asyncio.sleep(0.005)
        assert await held(deadlines, 0.02, 60.0) == "late"

    asyncio.run(main())
