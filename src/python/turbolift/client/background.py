# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""An event loop on a thread of its own, for blocking calls: connections outlive the calls."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class _Background:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._main: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="turbolift-calls", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._stop.wait())

    def submit(self, coroutine: Coroutine[Any, Any, T], context: contextvars.Context) -> Future[T]:
        result: Future[T] = Future()

        def start() -> None:
            task = self._loop.create_task(coroutine, context=context)
            task.add_done_callback(finish)
            cancel.append(task)

        def finish(task: asyncio.Task[T]) -> None:
            if task.cancelled():
                if self._ending:
                    return  # the program ends, and with it the daemon thread that waits: it has nothing to say
                result.cancel()
                result.set_running_or_notify_cancel()
                return
            error = task.exception()
            if error is not None:
                result.set_exception(error)
            else:
                result.set_result(task.result())

        cancel: list[asyncio.Task[T]] = []
        result.turbolift_cancel = lambda: self._loop.call_soon_threadsafe(  # type: ignore[attr-defined]
            lambda: [task.cancel() for task in cancel]
        )
        self._loop.call_soon_threadsafe(start)
        return result

    def close(self) -> None:
        if self._thread.is_alive():
            self._ending = True
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(5)


_lock = threading.Lock()
_current: _Background | None = None
# The program ends: calls from handlers that run now find no loop, and no thread can be started for one.
_over = False
# A loop that belongs to the parent process is neither used nor closed here, nor collected.
_abandoned: list[_Background] = []


def _background() -> _Background | None:
    """Return the background loop; None where the program ends, or no thread can be started (at its end, from CPython 3.12 on)."""
    global _current
    if _over:
        return None
    with _lock:
        if _current is None:
            try:
                _current = _Background()
            except RuntimeError:
                return None
            if not _abandoned:
                atexit.register(_close)
        return _current


def _close() -> None:
    global _current, _over
    _over = True
    if _current is not None:
        _current.close()
        _current = None


def _forget() -> None:
    """In a forked child the thread does not exist, and the lock may have been held by it."""
    global _lock, _current, _over
    _over = False
    _lock = threading.Lock()
    if _current is not None:
        _abandoned.append(_current)
        _current = None


os.register_at_fork(after_in_child=_forget)


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on the background loop, in a copy of this thread's context, and wait for it.

    What interrupts the waiting (KeyboardInterrupt) cancels the call.
    """
    background = _background()
    if background is None:
        return contextvars.copy_context().run(asyncio.run, coroutine)
    future = background.submit(coroutine, contextvars.copy_context())
    try:
        return future.result()
    except BaseException:
        if not future.done():
            future.turbolift_cancel()  # type: ignore[attr-defined]
        raise
