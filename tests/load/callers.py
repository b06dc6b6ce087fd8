# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Callers without a pause: so many calls in flight, shared out among streams; says how each call ended.

Imports nothing but the standard library: it is copied, as any user's module, to where calls are made from.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

MAYBE = "MaybeExecuted"

PAUSE = 0.02
"""Seconds that a caller waits after a call that failed."""


class Callers:
    """Call ``functions``, name of the stream -> function of the call's own name and of a number.

    `name` begins the names of all calls, `clock` gives the times, `write` takes a fact for each call that has ended.
    """

    def __init__(
        self,
        name: str,
        functions: Mapping[str, Callable[[str, int], Awaitable[int]]],
        write: Callable[[dict[str, Any]], object],
        clock: Callable[[], float],
    ) -> None:
        # A second program of the same name must not repeat the names of calls.
        self._name = f"{name}-{os.getpid()}-{time.time_ns():x}"
        self._functions = list(functions.items())
        self._write = write
        self._clock = clock
        self._ending = asyncio.Event()
        self.calls = 0

    async def run(self, in_flight: int) -> None:
        """Call until SIGTERM or SIGINT, and until the last call has ended."""
        for end in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(end, self._ending.set)
        async with asyncio.TaskGroup() as group:
            for number in range(in_flight):
                group.create_task(self._caller(number, *self._functions[number % len(self._functions)]))

    async def _caller(self, number: int, stream: str, function: Callable[[str, int], Awaitable[int]]) -> None:
        for turn in itertools.count(1):
            if self._ending.is_set():
                return
            call = f"{self._name}-{number}-{turn}"
            fact: dict[str, Any] = {"ended": call, "stream": stream, "n": turn, "begin": self._clock()}
            try:
                fact["value"] = await function(call, turn)
                fact["outcome"] = "result"
            except Exception as error:
                fact["outcome"] = _outcome(error)
                fact["detail"] = f"{type(error).__name__}: {error}"
            fact["end"] = self._clock()
            self.calls += 1
            self._write(fact)
            if fact["outcome"] != "result":
                await asyncio.sleep(PAUSE)


def _outcome(error: Exception) -> str:
    """Return the name of its class; one that is a MaybeExecuted too is that."""
    names = [one.__name__ for one in type(error).__mro__]
    return MAYBE if MAYBE in names else names[0]
