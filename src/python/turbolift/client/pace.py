# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""How many calls of a map share a request, from how long the server was at those before."""

from __future__ import annotations

TARGET = 0.004
"""Seconds of a server's work that a batch should be."""

MOST = 1000
"""Calls in a batch."""

BYTES = 60 * 1024
"""Bytes of a batch: so many go in one write, and on a connection that others use too."""


class Pace:
    """How many calls a batch should have, from how long the server was at those before.

    Attributes: ``size`` (0: not known yet), ``grows`` (the next one will have many more).
    """

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self.grows = False
        self._bytes_each = 1.0

    def learn(self, count: int, seconds: float, size: int) -> None:
        """Note that the server took `seconds` for `count` calls, which went, or came, as `size` bytes."""
        factor = TARGET / max(seconds, 1e-9)
        wanted = count * min(max(factor, 0.25), 4.0)
        self._bytes_each += (size / count - self._bytes_each) * 0.5
        most = min(MOST, BYTES / self._bytes_each)
        self.size = max(1, int(min(wanted, most)))
        self.grows = factor >= 4.0 and wanted < most

    def alone(self) -> None:
        """Note that there is reason to send calls alone, for now."""
        self.size = 1
        self.grows = False
