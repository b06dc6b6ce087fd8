# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The load: so many calls in flight until SIGTERM, shared out among the streams; says how each call ended.

``python -m chaos.suite.load NAME IN_FLIGHT FILE``, in the environment of a user's program that calls. Times are of
``time.monotonic``, which processes of one machine share and no jump of the clock moves.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, TextIO

from chaos.suite.userland import STREAMS, Stream


class Load:
    """`in_flight` callers."""

    def __init__(self, name: str, sink: TextIO) -> None:
        self._sink = sink
        # A second load must not repeat the names of calls.
        self._run = f"{name}-{os.getpid()}"
        self._ending = asyncio.Event()
        self._functions: dict[Stream, Callable[[str, int], Awaitable[int]]] = {
            stream: getattr(importlib.import_module(f"chaos_{stream.name}"), stream.name)
            for stream in STREAMS
        }
        self.calls = 0

    def end(self) -> None:
        """Begin no more calls."""
        self._ending.set()

    async def run(self, in_flight: int) -> None:
        """Call until ``end``, and until the last call has ended."""
        async with asyncio.TaskGroup() as group:
            for number in range(in_flight):
                group.create_task(self._caller(number, STREAMS[number % len(STREAMS)]))

    async def _caller(self, number: int, stream: Stream) -> None:
        function = self._functions[stream]
        for turn in itertools.count(1):
            if self._ending.is_set():
                return
            call = f"{self._run}-{number}-{turn}"
            fact: dict[str, Any] = {
                "ended": call,
                "stream": stream.name,
                "n": turn,
                "begin": time.monotonic(),
            }
            try:
                fact["value"] = await function(call, turn)
                fact["outcome"] = "result"
            except Exception as error:
                fact["outcome"] = type(error).__name__
                fact["detail"] = str(error)
            fact["end"] = time.monotonic()
            self.calls += 1
            self._sink.write(json.dumps(fact) + "\n")
            if fact["outcome"] != "result":
                await asyncio.sleep(0.02)


async def main(name: str, in_flight: int, path: str) -> None:
    """Run the program."""
    with open(path, "a", encoding="utf-8", buffering=1) as sink:
        load = Load(name, sink)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, load.end)
        await load.run(in_flight)
        sink.write(json.dumps({"done": load.calls}) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
