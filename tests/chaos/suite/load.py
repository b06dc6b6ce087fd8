# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The load: ``python -m chaos.suite.load NAME IN_FLIGHT FILE``, in the environment of a user's program that calls.

Times are of ``time.monotonic``, which processes of one machine share and no jump of the clock moves.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from typing import Any

from chaos.suite.userland import STREAMS
from load.callers import Callers


async def main(name: str, in_flight: int, path: str) -> None:
    """Run the program."""
    functions = {
        stream.name: getattr(importlib.import_module(f"chaos_{stream.name}"), stream.name)
        for stream in STREAMS
    }
    with open(path, "a", encoding="utf-8", buffering=1) as sink:

        def write(fact: dict[str, Any]) -> None:
            sink.write(json.dumps(fact) + "\n")

        callers = Callers(name, functions, write, time.monotonic)
        await callers.run(in_flight)
        write({"done": callers.calls})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
