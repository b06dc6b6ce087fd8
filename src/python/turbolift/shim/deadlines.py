# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The deadlines of calls that run: one timer of the loop for all of them, where ``asyncio.timeout`` has one for each."""

from __future__ import annotations

import asyncio
import time
from math import inf

CLOCK = 0.001
"""Seconds that a loop's timers may be early: some count in milliseconds."""


class Watch:
    """One task until one deadline. Attribute: ``late``: whether the task was cancelled for it."""

    __slots__ = ("deadline", "late", "task")

    def __init__(self, task: asyncio.Task[object], deadline: float) -> None:
        self.task = task
        self.deadline = deadline
        self.late = False


class Deadlines:
    """Cancels tasks whose time is up. For one event loop."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self._next = inf
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, task: asyncio.Task[object], deadline: float) -> Watch:
        """Cancel `task` at `deadline` (``time.monotonic`` seconds), unless what this returns is forgotten before."""
        watch = Watch(task, deadline)
        self._watches.add(watch)
        if deadline < self._next:
            self._set(deadline)
        return watch

    def forget(self, watch: Watch) -> bool:
        """Leave its task alone from now on; return whether it was cancelled here, which is then taken back."""
        if watch.late:
            watch.task.uncancel()
            return True
        self._watches.remove(watch)
        return False

    def _set(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = when
        self._timer = asyncio.get_running_loop().call_later(max(when - time.monotonic(), 0.0), self._look)

    def _look(self) -> None:
        now = time.monotonic() + CLOCK
        self._timer, self._next = None, inf
        for watch in [one for one in self._watches if one.deadline <= now]:
            self._watches.remove(watch)
            watch.late = True
            watch.task.cancel()
        if self._watches:
            self._set(min(one.deadline for one in self._watches))
