# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Signals from the first moment on: while starting, SIGTERM and SIGINT end the process at once; later they
drain it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)

_cleanups: list[Callable[[], None]] = []


def install() -> None:
    """Install the handlers for the time until the server runs."""
    for number in SIGNALS:
        signal.signal(number, _leave)


def restore() -> None:
    """Give the signals their usual meaning back: a program that only describes is ended by them, with an error."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def at_early_exit(cleanup: Callable[[], None]) -> None:
    """Have `cleanup` run when a signal ends the process while it starts."""
    _cleanups.append(cleanup)


def _leave(number: int, frame: FrameType | None) -> None:
    # No call is running. User code may be in the middle of an import, where an exception could be caught:
    # just leave.
    for cleanup in _cleanups:
        cleanup()
    os._exit(0)
