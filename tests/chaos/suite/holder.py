# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A program that calls, and gives up calls, as it is told on standard input: ``call NAME SECONDS``, ``cancel NAME``."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from typing import Any

from chaos.suite.said import say


async def main(identity: str) -> None:
    """Do what is told until standard input ends."""
    module, _, name = identity.partition(":")
    function = getattr(import_module(module), name)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    tasks: dict[str, asyncio.Task[None]] = {}
    while line := await reader.readline():
        verb, call, *more = line.decode().split()
        if verb == "call":
            tasks[call] = asyncio.create_task(_hold(function, call, float(more[0])))
        else:
            say(call, "given-up")
            tasks[call].cancel()


async def _hold(function: Any, call: str, seconds: float) -> None:
    try:
        await function(call, seconds)
    except BaseException as error:
        say(call, "ended", type(error).__name__)
        return
    say(call, "ended", "result")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
