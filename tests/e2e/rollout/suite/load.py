# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The load: so many calls in flight until SIGTERM, half of each stream; says how each call ended.

``python -m shop.load ORIGIN IN_FLIGHT SINK``: the sink is ``HOST:PORT`` of the collector, or a file. Runs in a pod
and outside, with the functions' sources beside it, as any user's program does.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from typing import Any

from load.callers import Callers

STREAMS = ("steady", "once")
"""``shop.steady:steady`` is declared idempotent, ``shop.once:once`` is not."""


class FileSink:
    """Lines go to a file."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115

    def write(self, fact: dict[str, Any]) -> None:
        """Keep one fact."""
        self._file.write(json.dumps(fact) + "\n")

    async def close(self) -> None:
        """Return when all is kept."""
        self._file.close()


class CollectorSink:
    """Lines go to the collector, which acknowledges each."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sent = 0
        self._acknowledged = asyncio.create_task(self._count())
        self._ended = False

    def write(self, fact: dict[str, Any]) -> None:
        """Keep one fact."""
        self._sent += 1
        self._writer.write(json.dumps(fact).encode() + b"\n")

    async def close(self) -> None:
        """Return when all is kept. Raises ConnectionError where it is not."""
        self._writer.write_eof()
        got = await self._acknowledged
        if got != self._sent:
            raise ConnectionError(f"the collector acknowledged {got} of {self._sent} lines")

    async def _count(self) -> int:
        count = 0
        while await self._reader.readline():
            count += 1
        return count


async def main(origin: str, in_flight: int, where: str) -> None:
    """Run the program."""
    sink: FileSink | CollectorSink
    if "/" in where:
        sink = FileSink(where)
    else:
        host, _, port = where.partition(":")
        sink = CollectorSink(*await asyncio.open_connection(host, int(port)))
    functions = {stream: getattr(importlib.import_module(f"shop.{stream}"), stream) for stream in STREAMS}
    callers = Callers(origin, functions, lambda fact: sink.write({**fact, "origin": origin}), time.time)
    sink.write({"origin": origin, "pid": os.getpid()})
    await callers.run(in_flight)
    sink.write({"origin": origin, "done": callers.calls})
    await sink.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
