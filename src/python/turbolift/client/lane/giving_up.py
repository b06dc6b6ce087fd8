# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Calls that are given up while others wait on the same connection: closing that would cost them their answers, so the server is told by
another one.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from turbolift.client.transport import Request, Response
from turbolift.wire.headers import CALLS, IDEMPOTENCY_KEY

if TYPE_CHECKING:
    from turbolift.client.lane.connection import Connection
    from turbolift.client.lane.pool import Pool

LOOK = 0.02
"""Seconds after which the answer to a quick call would have come all the same."""

_TIME = 2.0
_ANSWER = 64 * 1024


class GivingUp:
    """Tells servers of calls that nobody waits for. For one event loop."""

    def __init__(self) -> None:
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def add(
        self, pool: Pool, connection: Connection, request: Request, answer: asyncio.Future[Response]
    ) -> None:
        """Nobody wants this answer to `request` any more: where it holds up others, the server is told, soon."""
        if not connection.holds_up(answer):
            return

        def look() -> None:
            self._timers.discard(timer)
            if connection.holds_up(answer):
                task = loop.create_task(_tell(pool, request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        loop = asyncio.get_running_loop()
        timer = loop.call_later(LOOK, look)
        self._timers.add(timer)

    def close(self) -> None:
        """Tell nothing more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for task in self._tasks:
            task.cancel()


async def _tell(pool: Pool, request: Request) -> None:
    key = request.lines.partition(f"{IDEMPOTENCY_KEY}: ")[2].partition("\r\n")[0]
    head = f"DELETE {CALLS}{key} HTTP/1.1\r\nHost: {pool.name}\r\n\r\n".encode("ascii")
    # Whatever goes wrong, the call's own deadline ends it.
    with suppress(Exception):
        async with asyncio.timeout(_TIME):
            connection = await pool.take()
            try:
                await connection.exchange(head, [b""], 0, _ANSWER, time.monotonic() + _TIME)
            except BaseException:
                connection.close()
                raise
            finally:
                pool.give(connection)
