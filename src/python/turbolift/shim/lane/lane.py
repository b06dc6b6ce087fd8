# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What all connections of a lane share: the dispatcher, the clock, and the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from turbolift.shim.dispatch import Dispatcher
from turbolift.shim.lane.answers import Heads
from turbolift.shim.lane.connection import Connection
from turbolift.wire import CONTRACT, JSON, function_path

TICK = 1.0
"""Seconds between two looks at the connections: the grain of all times here."""


class Lane:
    """Makes the protocols of connections: a lane is a protocol factory.

    `app`: makes the protocol that takes over a connection whose request is no plain call. `idle`: seconds that a
    connection without a request is kept.

    Attributes: ``connections`` (those that are the lane's), ``now`` (seconds, on the loop's clock, a tick old at
    most).
    """

    def __init__(self, dispatcher: Dispatcher, app: Callable[[], asyncio.Protocol], *, idle: float) -> None:
        self.dispatcher = dispatcher
        self.identity = dispatcher.served.identity
        self.app = app
        self.idle = idle
        self.loop = asyncio.get_running_loop()
        self.heads = Heads(dispatcher.usual, pipelines=dispatcher.is_inline)
        self.first_line = f"POST {function_path(self.identity)} HTTP/1.1\r\n".encode("ascii")
        self.connections: set[Connection] = set()
        self.closing = False
        self.now = self.loop.time()
        self._ticking: asyncio.TimerHandle | None = None

    def __call__(self) -> Connection:
        return Connection(self)

    def is_ours(self, headers: Mapping[str, str]) -> bool:
        """Whether calls with these headers are JSON, and of the contract that is served here."""
        return (
            headers.get("Content-Type") == JSON
            and headers.get(CONTRACT) == self.dispatcher.served.contract.digest
        )

    def add(self, connection: Connection) -> None:
        """Note a new connection."""
        self.connections.add(connection)
        if self._ticking is None:
            self._tick()

    def _tick(self) -> None:
        self.now = now = self.loop.time()
        self.heads.tick()
        for connection in list(self.connections):
            connection.look(now)
        # A server that nobody talks to sleeps.
        self._ticking = self.loop.call_later(TICK, self._tick) if self.connections else None

    async def close(self, patience: float) -> None:
        """End: idle connections at once, the others with their answer, or after `patience` seconds."""
        self.closing = True
        for connection in list(self.connections):
            connection.finish()
        end = self.loop.time() + patience
        while self.connections and self.loop.time() < end:
            await asyncio.sleep(0.005)
        for connection in list(self.connections):
            connection.abort()
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
