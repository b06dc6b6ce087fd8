# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The deadlines of calls that run: one timer of the loop for all of them, where ``asyncio.timeout`` has one for each."""

from __future__ import annotations

import asyncio
import time
from math import inf
from typing import Any, Protocol

CLOCK = 0.001
"""Seconds that a loop's timers may be early: some count in milliseconds."""


class Timed(Protocol):
    """A call that has a deadline. Attributes: ``deadline`` (``time.monotonic`` seconds), ``late``: whether it was cancelled for
    that.
    """

    deadline: Any
    late: bool

    def cancel(self) -> object:
        """End it."""
        ...


class Watch:
    """A task until its deadline (Timed)."""

    __slots__ = ("cancel", "deadline", "late", "uncancel")

    def __init__(self, task: asyncio.Task[Any], deadline: float) -> None:
        self.cancel = task.cancel
        self.uncancel = task.uncancel
        self.deadline = deadline
        self.late = False


class Deadlines:
    """Cancels calls whose time is up. For one event loop."""

    def __init__(self) -> None:
        self._calls: set[Timed] = set()
        self._next = inf
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, task: asyncio.Task[Any], deadline: float) -> Watch:
        """Cancel `task` at `deadline` (``time.monotonic`` seconds), unless what this returns is forgotten before."""
        watch = Watch(task, deadline)
        self.add(watch)
        return watch

    def add(self, call: Timed) -> None:
        """Cancel `call` at its deadline, unless it is dropped before."""
        self._calls.add(call)
        if call.deadline < self._next:
            self._set(call.deadline)

    def forget(self, watch: Watch) -> bool:
        """Leave its task alone from now on; return whether it was cancelled here, which is then taken back."""
        if watch.late:
            watch.uncancel()
            return True
        self._calls.remove(watch)
        return False

    def drop(self, call: Timed) -> None:
        """Leave it alone from now on."""
        self._calls.discard(call)

    def _set(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = when
        self._timer = asyncio.get_running_loop().call_later(max(when - time.monotonic(), 0.0), self._look)

    def _look(self) -> None:
        now = time.monotonic() + CLOCK
        self._timer, self._next = None, inf
        for call in [one for one in self._calls if one.deadline <= now]:
            if call in self._calls:  # what is cancelled may end others
                self._calls.remove(call)
                call.late = True
                call.cancel()
        if self._calls:
            self._set(min(one.deadline for one in self._calls))
