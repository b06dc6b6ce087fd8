# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The transport over the lane's own connections."""

from __future__ import annotations

import asyncio
import time
from math import inf
from typing import TYPE_CHECKING

from turbolift.client.lane.connect import parse_endpoint
from turbolift.client.lane.connection import JOINED
from turbolift.client.lane.giving_up import GivingUp
from turbolift.client.lane.pool import KEEPALIVE, Pool
from turbolift.client.loops import PerLoop
from turbolift.client.transport import LateError, Request, Response, Tls

if TYPE_CHECKING:
    from turbolift.client.aiohttp_transport import AiohttpTransport
    from turbolift.client.lane.connection import Connection

EXPECT_FROM = 1024 * 1024
"""Bodies from this size on are announced first: a server that will not take one says so."""

EXPECT_TIME = 1.0
"""Seconds to wait for that; a server that knows no expectations says nothing."""


class _Loop:
    """All pools of one event loop."""

    def __init__(self) -> None:
        self.pools: dict[str | tuple[str, Tls], Pool | None] = {}
        self.watched = inf
        self.giving_up = GivingUp()
        self._sweeping: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None

    def watch(self, deadline: float) -> None:
        """Look at the calls in flight at `deadline`; ``watched`` is the next time that somebody does.

        Most calls are answered long before, and have the same time to be: one timer does for many.
        """
        if self._watching is not None:
            self._watching.cancel()
        self.watched = deadline
        left = max(deadline - time.monotonic(), 0.0)
        self._watching = asyncio.get_running_loop().call_later(left, self._look)

    def _look(self) -> None:
        self._watching = None
        self.watched = inf
        now = time.monotonic() + 0.001  # a loop's clock may count in milliseconds
        first = inf
        for pool in self.pools.values():
            if pool is not None:
                first = min(first, pool.end_late(now))
        if first < inf:
            self.watch(first)

    def add(self, endpoint: str, tls: Tls | None) -> Pool | None:
        """Return the pool of an endpoint that is new here; None where aiohttp must go there."""
        parsed = parse_endpoint(endpoint)
        pool = None if parsed is None else Pool(parsed, tls)
        self.pools[endpoint if tls is None else (endpoint, tls)] = pool
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
        for timer in (self._sweeping, self._watching):
            if timer is not None:
                timer.cancel()
        self._sweeping = self._watching = None
        self.giving_up.close()
        self.watched = inf
        pools, self.pools = [pool for pool in self.pools.values() if pool is not None], {}
        for pool in pools:
            await pool.close()


class LaneTransport:
    """Implements Transport."""

    def __init__(self) -> None:
        self._loops: PerLoop[_Loop] = PerLoop(_Loop, _Loop.close)
        self._aiohttp: AiohttpTransport | None = None

    async def send(
        self,
        endpoint: str,
        request: Request,
        *,
        max_answer: int,
        deadline: float | None,
        tls: Tls | None = None,
    ) -> Response:
        """Send one request; see Transport."""
        mine = self._loops.known() or await self._loops.get()
        try:
            pool = mine.pools[endpoint if tls is None else (endpoint, tls)]
        except KeyError:
            pool = mine.add(endpoint, tls)
        if pool is None:
            return await self._other().send(
                endpoint, request, max_answer=max_answer, deadline=deadline, tls=tls
            )
        size = request.size
        if size <= JOINED and not request.alone and (shared := pool.shared()) is not None:
            if deadline is not None and deadline < mine.watched:
                mine.watch(deadline)
            answer = shared.exchange(
                _head(request, pool, size), request.body, size, max_answer, deadline, request.feed
            )
            try:
                return await answer
            except BaseException:
                # The neighbours on this connection get their answers; it is of no use after them.
                shared.retire()
                mine.giving_up.add(pool, shared, request, answer)
                raise
        connection = pool.quick() or await _taken(pool, deadline)
        if deadline is not None and deadline < mine.watched:
            mine.watch(deadline)
        try:
            if size < EXPECT_FROM:
                return await connection.exchange(
                    _head(request, pool, size), request.body, size, max_answer, deadline, request.feed
                )
            head = _head(request, pool, size, "Expect: 100-continue\r\n")
            return await (
                await connection.exchange_large(head, request.body, max_answer, deadline, EXPECT_TIME)
            )
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

    def connections(self) -> dict[str, int]:
        """Return the number of open connections by endpoint, over all loops; may be asked from any thread."""
        counted = {} if self._aiohttp is None else self._aiohttp.connections()
        for mine in self._loops:
            for where, pool in list(mine.pools.items()):
                endpoint = where if isinstance(where, str) else where[0]
                if pool is not None:
                    counted[endpoint] = counted.get(endpoint, 0) + len(pool.connections())
        return counted

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


def _head(request: Request, pool: Pool, size: int, more: str = "") -> bytes:
    return (
        f"POST {request.path} HTTP/1.1\r\nHost: {pool.name}\r\n{request.lines}{more}Content-Length: {size}\r\n\r\n"
    ).encode("ascii")


async def _taken(pool: Pool, deadline: float | None) -> Connection:
    """Take a connection that may have to be opened, or waited for, by the deadline."""
    scope = asyncio.timeout(None if deadline is None else deadline - time.monotonic())
    try:
        async with scope:
            return await pool.take()
    except TimeoutError:
        if scope.expired():
            raise LateError from None
        raise
