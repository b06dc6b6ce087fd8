# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a call runs: on the event loop, or in a thread. (Worker processes are in ``processes``.)"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from turbolift.shim.servant import Answer, Received, Servant
from turbolift.wire.aside import LARGE


class Runner(Protocol):
    """Runs admitted calls; never more at once than the gate lets in.

    ``stops``: whether a call that runs ends when it is cancelled.
    """

    stops: bool

    async def start(self) -> None:
        """Get ready, within the running loop."""
        ...

    async def run(self, content_type: str, body: Received, release: Callable[[float], None]) -> Answer:
        """Run one call. `release` is called once, when its slot is really free, which may be after a cancellation, with
        the time when the call began (``time.monotonic`` seconds).
        """
        ...

    async def close(self) -> bool:
        """End; returns False where work that cannot be stopped still runs."""
        ...


class LoopRunner:
    """Async functions, and plain ones that are declared quick enough for the loop."""

    stops = True

    def __init__(self, servant: Servant, *, is_async: bool) -> None:
        self._servant = servant
        self._is_async = is_async
        self.inline = None if is_async else servant.run
        """Runs a call from its body to its answer without waiting for anything, where that is possible."""

    async def start(self) -> None:
        """Nothing to prepare."""

    async def run(self, content_type: str, body: Received, release: Callable[[float], None]) -> Answer:
        """Run in this task; cancelling it cancels the function."""
        began = time.monotonic()
        try:
            if self._is_async:
                return await self._servant.run_async(content_type, body)
            if len(body) < LARGE:
                return self._servant.run(content_type, body)
            given = await self._servant.aside(content_type, body)
            return given if isinstance(given, Answer) else self._servant.run_given(*given)
        finally:
            release(began)

    async def close(self) -> bool:
        """Nothing is left when the tasks have ended."""
        return True


class ThreadRunner:
    """Plain functions, in a pool of threads. A thread cannot be stopped: its slot is taken until it ends."""

    stops = False

    def __init__(self, servant: Servant, threads: int) -> None:
        self._servant = servant
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="turbolift-call")
        self._busy = 0

    async def start(self) -> None:
        """Threads start with the first calls."""

    async def run(self, content_type: str, body: Received, release: Callable[[float], None]) -> Answer:
        """Run in a thread, in a copy of this context (the deadline and the trace)."""
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        context = contextvars.copy_context()
        self._busy += 1

        def done() -> None:
            self._busy -= 1
            release(began)

        def ended(_: Future[Answer]) -> None:
            with suppress(RuntimeError):  # the loop is closed: the process ends
                loop.call_soon_threadsafe(done)

        future = self._pool.submit(context.run, self._servant.run, content_type, body)
        future.add_done_callback(ended)
        return await asyncio.wrap_future(future)

    async def close(self) -> bool:
        """Wait for no thread; say whether one is still busy."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        return self._busy == 0
