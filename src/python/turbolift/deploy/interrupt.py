# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Run a coroutine that SIGTERM and SIGHUP cancel, as Ctrl-C does.

A signal handler that raises would do so wherever the program happens to be, also in the middle of a start, whose process
would then be forgotten. A cancellation arrives where the program waits, and its clean-up is done.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class TerminatedError(KeyboardInterrupt):
    """SIGTERM or SIGHUP: as Ctrl-C, with another exit code."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Return what `main` returns; raises TerminatedError after its clean-up where a signal ended it."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    seen: list[int] = []

    async def guarded() -> T:
        task = asyncio.current_task()
        assert task is not None

        def stop(number: int) -> None:
            # Once: the clean-up that the first one began is not to be cut off.
            if not seen:
                task.cancel()
            seen.append(number)

        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, stop, number)
        return await main

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        if seen:
            raise TerminatedError from None
        raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
