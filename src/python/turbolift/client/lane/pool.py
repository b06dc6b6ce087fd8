# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The connections of one event loop to one endpoint: the last one used is the first one used again."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from math import inf

from turbolift.client.lane.connect import CONNECT_TIME, Endpoint, connect
from turbolift.client.lane.connection import Connection
from turbolift.client.lane.secure import SecureConnection
from turbolift.client.transport import NotSentError, Tls

KEEPALIVE = 30.0
"""Seconds that an idle connection is kept. Shorter than any server's idle time, so that it is we who close
first.
"""

CONNECTIONS = 128
"""Calls in flight to one endpoint from one loop; more wait here, where waiting is cheap."""

AHEAD = 16
"""Requests in flight on one connection, where the server invites to send ahead; with more, another one is used as
well, which may lead to another replica.
"""

_FRESH = 0.001


class Pool:
    """Attributes: ``name`` (for the Host header), ``used`` (when the last call ended, ``time.monotonic`` seconds)."""

    def __init__(self, endpoint: Endpoint, tls: Tls | None = None) -> None:
        self._endpoint = endpoint
        self._tls = tls
        self.name = endpoint.name
        self._idle: list[Connection] = []
        self._taken: set[Connection] = set()
        self._shared: list[Connection] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._places = CONNECTIONS
        self.used = time.monotonic()

    @property
    def busy(self) -> int:
        """Calls in flight and waiting."""
        ahead = sum(connection.in_flight for connection in self._shared)
        return CONNECTIONS - self._places + len(self._waiting) + ahead

    def shared(self) -> Connection | None:
        """Return a connection on which a request can be sent ahead, or None; it is not given back."""
        for connection in self._shared:
            if connection.has_room(AHEAD):
                if connection.in_flight or self._is_alive(connection, time.monotonic()):
                    return connection
                connection.retire()
            elif connection.is_over:
                self._shared = [other for other in self._shared if not other.is_over]
                return self.shared()
        return None

    def quick(self) -> Connection | None:
        """Take a connection that is there, or None: then ``take`` one."""
        if not self._places:
            return None
        connection = self._reuse()
        if connection is not None:
            self._places -= 1
        return connection

    async def take(self) -> Connection:
        """Take a connection, opened if need be; ``give`` it back. Raises NotSentError."""
        await self._place()
        try:
            return self._reuse() or await self._open()
        except BaseException:
            self._leave()
            raise

    def _reuse(self) -> Connection | None:
        now = time.monotonic()
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and self._is_alive(connection, now):
                self._taken.add(connection)
                return connection
            connection.close()
        for connection in reversed(self._shared):
            if not connection.in_flight and connection.reusable and self._is_alive(connection, now):
                self._shared.remove(connection)
                self._taken.add(connection)
                return connection
        return None

    @staticmethod
    def _is_alive(connection: Connection, now: float) -> bool:
        idle = now - connection.used
        # A connection that the server has closed is told by the system before it is told by the loop.
        return idle < _FRESH or (idle < KEEPALIVE and connection.silent())

    def give(self, connection: Connection) -> None:
        """Give a connection back: to be used again, if it can be."""
        self._taken.discard(connection)
        self.used = connection.used = time.monotonic()
        if connection.reusable:
            (self._shared if connection.patience else self._idle).append(connection)
        else:
            connection.close()
        self._leave()

    def sweep(self, now: float) -> bool:
        """Close what has been idle for too long; return whether anything is left."""
        old = [c for c in self._idle if now - c.used >= KEEPALIVE or not c.reusable]
        for connection in old:
            self._idle.remove(connection)
            connection.close()
        for connection in list(self._shared):
            if not connection.in_flight and (now - connection.used >= KEEPALIVE or not connection.reusable):
                self._shared.remove(connection)
                connection.close()
        return bool(self._idle or self._shared)

    def end_late(self, now: float) -> float:
        """End the calls whose deadline has passed; return the first deadline of the others, or infinity."""
        return min((connection.end_late(now) for connection in (*self._taken, *self._shared)), default=inf)

    def connections(self) -> list[Connection]:
        """Return all connections."""
        return [*self._idle, *self._taken, *self._shared]

    async def close(self) -> None:
        """Close all connections, and wait until they are."""
        closing = [connection.close() for connection in self.connections()]
        self._idle.clear()
        self._shared.clear()
        if closing:
            await asyncio.wait(closing, timeout=1.0)

    async def _place(self) -> None:
        if self._places and not self._waiting:
            self._places -= 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled():
                self._leave()  # handed over in the very moment of the cancellation
            elif place in self._waiting:
                self._waiting.remove(place)
            raise

    def _leave(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._places += 1

    async def _open(self) -> Connection:
        try:
            sock = await connect(self._endpoint)
        except TimeoutError as error:
            raise NotSentError(error.strerror or f"no connection within {CONNECT_TIME:g} s") from None
        except OSError as error:
            raise NotSentError(error.strerror or str(error)) from None
        loop = asyncio.get_running_loop()
        connection = Connection(loop, sock) if self._tls is None else SecureConnection(loop, sock, self._tls)
        try:
            if isinstance(connection, SecureConnection):
                await connection.shake_hands()
            elif self._endpoint.path:
                await loop.create_unix_connection(lambda: connection, sock=sock)
            else:
                await loop.create_connection(lambda: connection, sock=sock)
        except OSError as error:
            sock.close()
            raise NotSentError(error.strerror or str(error)) from None
        except BaseException:  # InsecureError too
            connection.close()
            sock.close()
            raise
        self._taken.add(connection)
        return connection
