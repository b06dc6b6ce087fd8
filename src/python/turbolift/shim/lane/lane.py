# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What all connections of a lane share: the dispatcher, the clock, and the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from turbolift.shim.dispatch import Dispatcher
from turbolift.shim.lane.answers import Heads
from turbolift.shim.lane.connection import Connection
from turbolift.shim.log import log
from turbolift.wire import CONTRACT, JSON, function_path

TICK = 1.0
"""Seconds between two looks at the connections: the grain of all times here."""


class App(Protocol):
    """What takes over."""

    @property
    def server(self) -> Any:
        """The factory of its protocols."""
        ...


class Lane:
    """Makes the protocols of connections: a lane is a protocol factory.

    `app`: loads the app that takes over connections whose request is no plain call. `idle`: seconds that a
    connection without a request is kept.

    Attributes: ``connections`` (those that are the lane's), ``now`` (seconds, on the loop's clock, a tick old at
    most).
    """

    def __init__(self, dispatcher: Dispatcher, app: Callable[[], Awaitable[App]], *, idle: float) -> None:
        self.dispatcher = dispatcher
        self.identity = dispatcher.served.identity
        self.app: Callable[[], asyncio.Protocol] | None = None
        self._load_app = app
        self._leaving: list[Connection] = []
        self._loading: asyncio.Task[None] | None = None
        self.idle = idle
        self.loop = asyncio.get_running_loop()
        self.heads = Heads(dispatcher.usual, dispatcher.gate, pipelines=dispatcher.is_inline)
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

    def is_ending(self) -> bool:
        """Whether connections end with their next answer."""
        return self.closing or self.dispatcher.gate.draining

    def add(self, connection: Connection) -> None:
        """Note a new connection. Its time begins now: while there was none, nobody has looked at the clock."""
        if self._ticking is None:
            self._see_time()
            self._ticking = self.loop.call_later(TICK, self._tick)
        self.connections.add(connection)

    def leave(self, connection: Connection) -> None:
        """Have `connection` handed over as soon as the app is there."""
        self._leaving.append(connection)
        if self._loading is None:
            self._loading = self.loop.create_task(self._load())

    async def _load(self) -> None:
        try:
            self.app = (await self._load_app()).server
        except Exception as error:
            log(logging.ERROR, "cannot load the app", function=self.identity, error=repr(error))
            for connection in self._leaving:
                connection.abort()
        else:
            for connection in self._leaving:
                connection.hand_over()
        finally:
            self._leaving.clear()
            self._loading = None

    def _see_time(self) -> None:
        self.now = self.loop.time()
        self.heads.tick()

    def _tick(self) -> None:
        self._see_time()
        for connection in list(self.connections):
            connection.look(self.now)
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
