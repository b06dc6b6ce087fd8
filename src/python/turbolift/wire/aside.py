# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Work on large bodies, aside from the event loop: in threads of its own, which start when they are first needed."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

LARGE = 2 * 1024 * 1024
"""From this many bytes on, the step to a thread costs less than what others would wait for."""

THREADS = 2
"""Bodies that are worked on at once; each takes memory while it is."""

P = ParamSpec("P")
R = TypeVar("R")

_threads: ThreadPoolExecutor | None = None


async def aside(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what `work` returns, or raise what it raises; the loop goes on meanwhile.

    Cancelled, it leaves the work to itself: nothing waits for that any more.
    """
    global _threads
    if _threads is None:
        from concurrent.futures import ThreadPoolExecutor

        _threads = ThreadPoolExecutor(THREADS, thread_name_prefix="turbolift-aside")
    context = contextvars.copy_context()
    future = _threads.submit(lambda: context.run(work, *args, **kwargs))
    return await asyncio.wrap_future(future)


def _forget() -> None:
    """In a forked child: threads do not come along."""
    global _threads
    _threads = None


os.register_at_fork(after_in_child=_forget)
