# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The transport over the lane's own connections."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from turbolift.client.lane.connect import parse_endpoint
from turbolift.client.lane.pool import KEEPALIVE, Pool
from turbolift.client.loops import PerLoop
from turbolift.client.transport import Request, Response

if TYPE_CHECKING:
    from turbolift.client.aiohttp_transport import AiohttpTransport

EXPECT_FROM = 1024 * 1024
"""Bodies from this size on are announced first: a server that will not take one says so."""

EXPECT_TIME = 1.0
"""Seconds to wait for that; a server that knows no expectations says nothing."""


class _Loop:
    """All pools of one event loop."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool | None] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def add(self, endpoint: str) -> Pool | None:
        """Return the pool of an endpoint that is new here; None where aiohttp must go there."""
        parsed = parse_endpoint(endpoint)
        pool = self.pools[endpoint] = None if parsed is None else Pool(parsed)
        self.keep_swept()
        return pool

    def keep_swept(self) -> None:
        """Close idle connections in time, from now on, while there are any."""
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(KEEPALIVE / 4, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        now = time.monotonic()
        # Endpoints come and go with each rollout.
        for endpoint, pool in list(self.pools.items()):
            if pool is not None and not pool.sweep(now) and not pool.busy and now - pool.used > 2 * KEEPALIVE:
                del self.pools[endpoint]
        if any(pool is not None for pool in self.pools.values()):
            self.keep_swept()

    async def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        pools, self.pools = [pool for pool in self.pools.values() if pool is not None], {}
        for pool in pools:
            await pool.close()


class LaneTransport:
    """Implements Transport."""

    def __init__(self) -> None:
        self._loops: PerLoop[_Loop] = PerLoop(_Loop, _Loop.close)
        self._aiohttp: AiohttpTransport | None = None

    async def send(self, endpoint: str, request: Request, *, max_answer: int) -> Response:
        """Send one request; see Transport."""
        mine = self._loops.known() or await self._loops.get()
        try:
            pool = mine.pools[endpoint]
        except KeyError:
            pool = mine.add(endpoint)
        if pool is None:
            return await self._other().send(endpoint, request, max_answer=max_answer)
        body = request.body
        size = len(body[0]) if len(body) == 1 and type(body[0]) is bytes else sum(map(_size, body))
        lines = [f"POST {request.path} HTTP/1.1\r\nHost: {pool.name}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        lines.append(f"Content-Length: {size}\r\n\r\n")
        if size >= EXPECT_FROM:
            lines.insert(1, "Expect: 100-continue")
        head = "\r\n".join(lines).encode("ascii")
        connection = pool.quick() or await pool.take()
        try:
            if size < EXPECT_FROM:
                return await connection.exchange(head, body, size, max_answer)
            return await (await connection.exchange_large(head, body, max_answer, EXPECT_TIME))
        except BaseException:
            # The answer may be on its way, or never come: this connection is of no use any more.
            connection.close()
            raise
        finally:
            pool.give(connection)

    def _other(self) -> AiohttpTransport:
        if self._aiohttp is None:
            from turbolift.client.aiohttp_transport import AiohttpTransport

            self._aiohttp = AiohttpTransport()
        return self._aiohttp

    def abandon(self) -> None:
        """In a forked child: let go of the parent's connections.

        Its sockets and its epoll are shared with it, so nothing may be shut down or unregistered here.
        """
        for mine in self._loops:
            for pool in mine.pools.values():
                for connection in pool.connections() if pool is not None else ():
                    connection.leave()
        if self._aiohttp is not None:
            self._aiohttp.abandon()

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._loops.aclose()
        if self._aiohttp is not None:
            await self._aiohttp.aclose()


def _size(piece: bytes | bytearray | memoryview) -> int:
    return memoryview(piece).nbytes
