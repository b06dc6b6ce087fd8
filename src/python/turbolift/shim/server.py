# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The HTTP server: the lane for calls and probes, aiohttp for metrics, schema and other clients' calls; drains on
SIGTERM.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from turbolift.shim import early
from turbolift.shim.dispatch import Dispatcher
from turbolift.shim.lane import Lane
from turbolift.shim.listen import BACKLOG, Listener
from turbolift.shim.log import log
from turbolift.wire.choice import lane_is_on

if TYPE_CHECKING:
    from turbolift.shim.tls import ServerTls
    from turbolift.shim.web import App

IDLE = 120.0
"""Seconds that an idle connection is kept: longer than turbolift's clients (30) and common proxies (60) keep
theirs, so that they close first and never send into a closing connection."""

SETTLED = 0.5
"""Seconds after which a start is over, and what few calls need is loaded."""

LINGER = 0.5
"""Seconds after a stop signal during which open connections get an answer: 503 and ``Connection: close``."""

LAST_ANSWERS = 1.0
"""Seconds after the last call that its answer has to be taken in."""


class Server:
    """Serves one dispatcher on one listening socket, until it is told to stop."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        listener: Listener,
        *,
        version: str,
        grace: float,
        probes: Listener | None = None,
        secured: ServerTls | None = None,
    ) -> None:
        """`secured`: calls come over TLS. `probes`: where health and metrics are asked by plain HTTP."""
        self._dispatcher = dispatcher
        self._listener = listener
        self._probes = probes
        self._secured = secured
        self._version = version
        self._grace = grace
        self._app: App | None = None
        self._loading = asyncio.Lock()
        self._stop = asyncio.Event()
        self._status = 0

    def fail(self) -> None:
        """Stop, and have the process end with an error: it cannot serve any more."""
        self._status = 1
        self._stop.set()

    async def run(self) -> int:
        """Serve; return the exit status. SIGTERM and SIGINT drain: no new call, the running ones have `grace`
        seconds.
        """
        loop = asyncio.get_running_loop()
        for number in early.SIGNALS:
            loop.add_signal_handler(number, self._stop.set)
        identity = self._dispatcher.served.identity
        await self._dispatcher.runner.start()
        lane = Lane(self._dispatcher, self._load_app, idle=IDLE) if lane_is_on() else None
        factory: Callable[[], asyncio.Protocol] = lane or (await self._load_app()).server
        listening = await loop.create_server(
            factory, sock=self._listener.socket, backlog=BACKLOG, **self._secure()
        )
        if self._probes is not None:
            await (await self._load_app()).probe(self._probes)
        where = {} if self._probes is None else {"probes": self._probes.endpoint}
        log(
            logging.INFO,
            "ready",
            function=identity,
            endpoint=self._listener.endpoint,
            version=self._version,
            **where,
        )
        # Calls that fail need it: loaded now, it costs neither the start nor one of these.
        loop.call_later(SETTLED, import_module, "turbolift.wire.failure")
        await self._stop.wait()
        gate = self._dispatcher.gate
        log(logging.INFO, "draining", function=identity, running=gate.running, queued=gate.queued)
        stopped = loop.time()
        gate.drain()
        # New connections are refused at once, which is what callers retry by another route.
        self._listener.remove()
        listening.close()
        done = True
        try:
            async with asyncio.timeout(self._grace):
                await gate.empty()
        except TimeoutError:
            done = False
            log(logging.WARNING, "calls cut off", function=identity, running=gate.running, queued=gate.queued)
        if done:
            await self._linger(lane, stopped)
        elif self._app is not None:
            # The grace time is over: callers learn at once that their calls are cut off.
            await self._app.cut()
        if lane is not None:
            await lane.close(LAST_ANSWERS if done else 0.0)
        if self._app is not None:
            await self._app.close()
        ended = await self._dispatcher.runner.close()
        log(logging.INFO, "stopped", function=identity)
        if not done or not ended:
            # A thread that cannot be stopped would hold the exit up for ever.
            return self._status or 70
        return self._status

    def _secure(self) -> dict[str, Any]:
        """Return what makes a listening socket speak TLS."""
        if self._secured is None:
            return {}
        from turbolift.wire.tls import HANDSHAKE_TIME, SHUTDOWN_TIME

        times = {"ssl_handshake_timeout": HANDSHAKE_TIME, "ssl_shutdown_timeout": SHUTDOWN_TIME}
        return {"ssl": self._secured.context, **times}

    async def _load_app(self) -> App:
        """Return the aiohttp app, loaded when it is first asked for. Its import is left to a thread: calls go on."""
        async with self._loading:
            if self._app is None:
                if lane_is_on():
                    await asyncio.get_running_loop().run_in_executor(
                        None, import_module, "turbolift.shim.web"
                    )
                from turbolift.shim.web import App

                app = App(self._dispatcher, version=self._version, idle=IDLE, patience=LAST_ANSWERS)
                await app.start()
                self._app = app
            return self._app

    async def _linger(self, lane: Lane | None, stopped: float) -> None:
        """Leave callers with open connections a moment to be told to go elsewhere, not to find them cut."""
        loop = asyncio.get_running_loop()
        while (self._app and self._app.server.connections) or (lane and lane.connections):
            if loop.time() >= stopped + LINGER:
                return
            await asyncio.sleep(0.05)
