# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Memory that the server and its worker processes share: which calls have begun, and which are taken back.

Calls are sent ahead to a busy worker. When that one dies, or is killed for one of them, the others must be known that no one has
begun with: they go elsewhere, and nothing runs twice. So a worker writes down the number of each call before it looks
whether that was taken back, and runs it; the server writes down what it takes back before it looks at that number.
"""

from __future__ import annotations

import mmap

RING = 64
"""Calls of a worker that can be told apart at a time; more than are ever sent ahead."""

_PLACE = 8 + RING

SURE = 0.001
"""Seconds after which what one process wrote is seen by each other, whatever their processors hold back: that is nanoseconds."""


class Board:
    """A place for each worker. Made before the first fork."""

    def __init__(self, places: int) -> None:
        self._memory = mmap.mmap(-1, places * _PLACE)
        view = memoryview(self._memory)
        self._places = [
            (view[at : at + 8].cast("Q"), view[at + 8 : at + _PLACE])
            for at in range(0, places * _PLACE, _PLACE)
        ]

    # The server's side.

    def clear(self, place: int) -> None:
        """Make `place` ready for a new worker."""
        begun, back = self._places[place]
        begun[0] = 0
        back[:] = bytes(RING)

    def begun(self, place: int) -> int:
        """Return the number of the last call that the worker has begun with; they begin in the order of their numbers."""
        return self._places[place][0][0]

    def take_back(self, place: int, number: int) -> None:
        """Ask the worker to skip a call. Whether it does is known SURE seconds later: by then it has either begun or will not."""
        self._places[place][1][number % RING] = 1

    # The worker's side.

    def begin(self, place: int, number: int) -> bool:
        """Begin with the call that has this number; return False where it was taken back."""
        begun, back = self._places[place]
        begun[0] = number
        at = number % RING
        if back[at]:
            back[at] = 0
            return False
        return True
