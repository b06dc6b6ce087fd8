# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Open-loop load of one function: ``python -m chaos.suite.offer IDENTITY RATE SECONDS``, one JSON object on standard output.

RATE 0: closed loop, to find the capacity: so many in flight that no slot is ever idle.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import sys
import time
from typing import Any

IN_FLIGHT = 8

WARM = 0.5
"""Seconds that do not count, at the start of a closed loop."""


class Offer:
    """Calls `function`, and keeps what became of each."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self.offered = 0
        self.behind = 0.0
        self.times: list[float] = []
        self.errors: dict[str, int] = {}
        self.untold = 0

    async def _one(self) -> None:
        self.offered += 1
        began = time.monotonic()
        try:
            await self._function(self.offered)
        except Exception as error:
            name = type(error).__name__
            self.errors[name] = self.errors.get(name, 0) + 1
            for one in (error, error.__cause__):
                if type(one).__name__ == "Overloaded" and not getattr(one, "retry_after", None):
                    self.untold += 1
        else:
            self.times.append(time.monotonic() - began)

    async def open_loop(self, rate: float, seconds: float) -> None:
        """Begin each call when it is due."""
        calls: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        for number in range(int(rate * seconds)):
            due = began + number / rate
            while (now := time.monotonic()) < due:
                await asyncio.sleep(due - now)
            self.behind = max(self.behind, now - due)
            task = asyncio.create_task(self._one())
            calls.add(task)
            task.add_done_callback(calls.discard)
        if calls:
            await asyncio.wait(calls)

    async def closed_loop(self, seconds: float) -> None:
        """Keep so many in flight."""
        end = time.monotonic() + WARM + seconds

        async def caller() -> None:
            while time.monotonic() < end:
                await self._one()

        asyncio.get_running_loop().call_later(WARM, self.times.clear)
        await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))


async def main(identity: str, rate: float, seconds: float) -> None:
    """Run the program."""
    module, _, name = identity.partition(":")
    function = getattr(importlib.import_module(module), name)
    offer = Offer(function)
    await function.with_options(timeout=60)(0)  # what a first call loads and connects is no load
    gc.freeze()
    if rate:
        await offer.open_loop(rate, seconds)
    else:
        await offer.closed_loop(seconds)
    facts = ("offered", "behind", "times", "errors", "untold")
    json.dump({fact: getattr(offer, fact) for fact in facts}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
