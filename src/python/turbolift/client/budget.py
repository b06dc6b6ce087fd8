# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The retry budget of a function: calls that are sent again stay a small share of all, so that they are no storm.

As Finagle's RetryBudget (https://finagle.github.io/blog/2016/02/08/retry-budgets): 20 % of the calls, and ten a second for
those who call seldom, of which a hundred are there from the start. Of a long calm no more is kept than one resend for each
call in flight, as Envoy's budget counts. Unlike both, calls are counted when a resend is asked for, not when they are made.
"""

from __future__ import annotations

import threading
import time

WAITING = 1000
"""Calls of a function that wait for its budget at most; what comes then is not sent again."""


class Budget:
    """Sends beyond the first of each call. May be asked from any thread.

    Over any history they are at most ``share`` of the calls, ``floor``, and ``per_second`` for each second.
    Attributes: ``waiting``: calls that wait until they may be sent again.
    """

    def __init__(self, share: float, floor: float, per_second: float, now: float | None = None) -> None:
        self.share = share
        self.floor = floor
        self.per_second = per_second
        self.waiting = 0
        self._left = floor
        self._calls = 0
        self._at = time.monotonic() if now is None else now
        self._lock = threading.Lock()

    def take(self, calls: int, in_flight: int, now: float | None = None) -> bool:
        """Take one resend out of it; False: it is used up. `calls`: all that were made, `in_flight`: of them, now;
        `now`: ``time.monotonic`` seconds.
        """
        with self._lock:
            at = time.monotonic() if now is None else now
            more = self.share * max(calls - self._calls, 0) + self.per_second * max(at - self._at, 0.0)
            self._left = min(self._left + more, self.floor + in_flight)
            self._calls = max(calls, self._calls)
            self._at = max(at, self._at)
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def __str__(self) -> str:
        return f"{self.share:.0%} of its calls and {self.per_second:g} a second"
