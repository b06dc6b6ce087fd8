# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What holds from the first moment on, while the process starts.

SIGTERM and SIGINT end it at once; later they drain it. The collector of cycles looks rarely: an import makes much that stays.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)

YOUNG = 50_000
"""New objects after which the collector looks, while starting: some 10 MB at most that could have been freed."""

_usual = gc.get_threshold()
_looked = 0

_cleanups: list[Callable[[], None]] = []


def install() -> None:
    """Install the handlers for the time until the server runs."""
    for number in SIGNALS:
        signal.signal(number, _leave)


def restore() -> None:
    """Give the signals their usual meaning back: a program that only describes is ended by them, with an error."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def collect_rarely() -> None:
    """Have the collector look once for many objects: finding that what was imported still lives is a tenth of a start."""
    global _looked
    _looked = gc.get_stats()[0]["collections"]
    gc.set_threshold(YOUNG, *_usual[1:])


def started() -> None:
    """Have the collector look as usual from here on, and no more at what exists now: it lives as long as the process."""
    if gc.get_stats()[0]["collections"] > _looked:
        gc.collect()  # the user's module is large, and so may be what its import left behind
    gc.freeze()
    gc.set_threshold(*_usual)


def at_early_exit(cleanup: Callable[[], None]) -> None:
    """Have `cleanup` run when a signal ends the process while it starts."""
    _cleanups.append(cleanup)


def _leave(number: int, frame: FrameType | None) -> None:
    # No call is running. User code may be in the middle of an import, where an exception could be caught:
    # just leave.
    for cleanup in _cleanups:
        cleanup()
    os._exit(0)
