# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether a call can still be answered by its deadline: one that cannot is refused before any work is spent on it.

A queue that is first come, first served and longer than what callers wait for does nothing but late work: under overload goodput falls to
nothing ("Fail at Scale", Maurer, ACM Queue 13/8, 2015; CoDel, RFC 8289, measures time in the queue for the same reason). Here each
call says what time it has, so the queue needs no target of its own: who would be late is told so at once, and its place is
another's.
"""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turbolift.shim.dispatch import Dispatcher
    from turbolift.shim.gate import Gate

_WHO = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)

IDLE = 0.002
"""Seconds between two calls in which the loop has read all that had come, and waited, or was not given the processor."""

LAG = 0.02
"""Seconds that a call may have lain unread before anybody asks whether it is too late for it."""

JOINED_TIME = 0.002
"""Seconds after which an answer waits no more for others to share its system call."""

MARGIN = 0.8
"""Of the time that a call has, so much may be spent here: the answer must travel, and estimates are estimates."""


def switches(known: int) -> int:
    """Return how often this thread has waited for something by itself, as sleeping for want of anything to read is, and being
    preempted is not; another number than `known` where that is negative: it is not known.
    """
    return 0 if known < 0 else resource.getrusage(_WHO).ru_nvcsw


class Pressure:
    """What a gate's queue means in seconds. Attribute: ``service``: how long a call runs, a moving mean in seconds; 0 before the first."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.service = 0.0

    def learn(self, seconds: float) -> None:
        """Note how long a call held its slot."""
        self.service += (seconds - self.service) * (0.1 if self.service else 1.0)

    def expected(self) -> float:
        """Return the seconds until a call that comes now would have its answer; 0 where a slot is free for it."""
        gate = self._gate
        if gate.running < gate.concurrency and not gate.queued:
            return 0.0
        return (gate.queued + 1) * self.service / gate.concurrency + self.service

    def is_hopeless(self, left: float | None) -> bool:
        """Return whether a call that comes now, and has `left` seconds, would be late."""
        if left is None:
            return False
        expected = self.expected()
        # Where a slot is free nothing is too much: a call whose deadline has passed is late, for no fault of this server.
        return expected > 0 and expected > MARGIN * left

    def gives_way(self, left: float | None) -> bool:
        """Return whether a call whose turn it is would be late, where others wait that would not."""
        return left is not None and self._gate.queued > 0 and self.service > MARGIN * left

    def retry_after(self) -> float:
        """Seconds until a place may be free: half the time that the queue takes to drain, between 50 ms and 5 s."""
        gate = self._gate
        return round(min(max(self.service * gate.queue / gate.concurrency / 2, 0.05), 5.0), 3)


class Reading:
    """When a connection is read, and what that says of the age of its calls. Attribute: ``at``: when it was last read."""

    __slots__ = ("_bound", "_dispatcher", "at")

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        # What a new connection has sent may have come while it waited to be accepted.
        self._bound = dispatcher.seen(0.0)
        self.at = 0.0

    def read(self, pending: bytearray) -> None:
        """Note that it is read; `pending`: what was read before and not served yet, which is older."""
        if self.at and not pending:
            self._bound = self._dispatcher.seen(self.at)
        self.at = time.monotonic()
        self._dispatcher.since = self._bound

    def go_on(self) -> None:
        """Note that what was read before is served now."""
        self._dispatcher.since = self._bound
