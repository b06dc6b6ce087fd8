# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The log's line about a call."""

from __future__ import annotations

import logging
import time
from math import inf

from turbolift.shim.log import log

TELL = 0.1
"""Seconds between two lines of the log that say that a call was refused for want of a place."""


class Notes:
    """Writes lines about the calls of one function."""

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self._told = -inf

    def note(self, outcome: str, seconds: float, key: str | bytes | None, trace: str | bytes | None) -> None:
        """Say how a call ended, after how long."""
        if outcome == "overloaded":
            # A line for each would cost as much as the refusals.
            now = time.monotonic()
            if now - self._told < TELL:
                return
            self._told = now
        log(
            logging.DEBUG if outcome == "ok" else logging.INFO,
            "call",
            function=self._identity,
            outcome=outcome,
            ms=round(seconds * 1000, 3),
            key=_text(key),
            traceparent=_text(trace),
        )


def _text(value: str | bytes | None) -> str | None:
    return value.decode("ascii") if isinstance(value, bytes) else value
