# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Calls from code without an event loop."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def refuse_in_loop(what: str, instead: str) -> None:
    """Raise RuntimeError where this thread's event loop is running; `instead` is the code to write."""
    # No loop runs where asyncio was never imported (uvloop imports it), and importing it is dear.
    asyncio = sys.modules.get("asyncio.events")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        raise RuntimeError(
            f"{what} would stop the event loop that runs on this thread: write '{instead}' here"
        )


def run_here(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` to its end on this thread, in a loop of its own: no thread is started."""
    import asyncio

    return asyncio.run(coroutine)
