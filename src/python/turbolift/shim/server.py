# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The HTTP server: the lane for calls, aiohttp for probes, metrics, schema and other clients' calls; drains on
SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from aiohttp import hdrs, web

from turbolift.shim import early
from turbolift.shim.dispatch import Dispatcher
from turbolift.shim.lane import Lane
from turbolift.shim.lane.connection import BODY_RATE, BODY_TIME
from turbolift.shim.listen import BACKLOG, Listener
from turbolift.shim.log import log
from turbolift.shim.openapi import openapi
from turbolift.shim.runners import Buffer
from turbolift.shim.servant import Answer
from turbolift.wire.choice import lane_is_on
from turbolift.wire.headers import PREFIX
from turbolift.wire.tls import HANDSHAKE_TIME, SHUTDOWN_TIME

if TYPE_CHECKING:
    from turbolift.shim.tls import ServerTls

IDLE = 120.0
"""Seconds that an idle connection is kept: longer than turbolift's clients (30) and common proxies (60) keep
theirs, so that they close first and never send into a closing connection."""

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
        runner = web.AppRunner(
            self._app(),
            access_log=None,
            keepalive_timeout=IDLE,
            handler_cancellation=True,
            shutdown_timeout=LAST_ANSWERS,
        )
        await runner.setup()
        assert runner.server is not None
        lane = Lane(self._dispatcher, runner.server, idle=IDLE) if lane_is_on() else None
        listening = await loop.create_server(
            lane or runner.server, sock=self._listener.socket, backlog=BACKLOG, **self._secure()
        )
        probing = await self._probe()
        where = {} if self._probes is None else {"probes": self._probes.endpoint}
        log(
            logging.INFO,
            "ready",
            function=identity,
            endpoint=self._listener.endpoint,
            version=self._version,
            **where,
        )
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
        await self._linger(runner, lane, stopped)
        if lane is not None:
            await lane.close(LAST_ANSWERS)
        await runner.cleanup()
        if probing is not None:
            await probing.cleanup()
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
        times = {"ssl_handshake_timeout": HANDSHAKE_TIME, "ssl_shutdown_timeout": SHUTDOWN_TIME}
        return {"ssl": self._secured.context, **times}

    async def _probe(self) -> web.AppRunner | None:
        """Answer probes on a socket of their own, to the end: whoever asks then is told that we drain."""
        if self._probes is None:
            return None
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=LAST_ANSWERS)
        await runner.setup()
        await web.SockSite(runner, self._probes.socket, backlog=BACKLOG).start()
        return runner

    async def _linger(self, runner: web.AppRunner, lane: Lane | None, stopped: float) -> None:
        """Leave callers with open connections a moment to be told to go elsewhere, not to find them cut."""
        loop = asyncio.get_running_loop()
        server = runner.server
        while (server and server.connections) or (lane and lane.connections):
            if loop.time() >= stopped + LINGER:
                return
            await asyncio.sleep(0.05)

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=self._dispatcher.max_payload)
        app.router.add_post(PREFIX + "{identity}", self._call, expect_handler=self._expect)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/v1/schema", self._schema)
        app.router.add_get("/v1/openapi.json", self._openapi)
        return app

    async def _call(self, request: web.Request) -> web.StreamResponse:
        dispatcher = self._dispatcher
        if (request.content_length or 0) > dispatcher.max_payload:
            return await self._too_large(request)
        try:
            body = await _read(request, dispatcher.max_payload)
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="the body comes too slowly\n") from None
        if body is None:
            return await self._too_large(request)
        answer = await dispatcher.dispatch(request.match_info["identity"], request.headers, body)
        return await _respond(request, answer, last=dispatcher.gate.draining)

    async def _expect(self, request: web.Request) -> web.StreamResponse | None:
        """Answer ``Expect: 100-continue``: a caller that asks first does not send what will not be taken."""
        if request.headers[hdrs.EXPECT].lower() != "100-continue":
            raise web.HTTPExpectationFailed(text="the only expectation known here is 100-continue\n")
        if (request.content_length or 0) > self._dispatcher.max_payload:
            return await self._too_large(request)
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What was written is no part of the answer's size.
        request.writer.output_size = 0
        return None

    async def _too_large(self, request: web.Request) -> web.StreamResponse:
        return await _respond(request, self._dispatcher.too_large(request.content_length), last=True)

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        if self._dispatcher.gate.draining:
            return web.Response(status=503, text="draining\n")
        return web.Response(text="ready\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        text = self._dispatcher.metrics.render()
        return web.Response(
            body=text, headers={hdrs.CONTENT_TYPE: "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def _schema(self, request: web.Request) -> web.Response:
        served = self._dispatcher.served
        contract = served.contract
        return _json(
            {
                "function": served.identity,
                "version": self._version,
                "contract": {
                    "digest": contract.digest,
                    "parameters": contract.parameters,
                    "result": contract.result,
                },
                "openapi": openapi(served, self._version),
            }
        )

    async def _openapi(self, request: web.Request) -> web.Response:
        return _json(openapi(self._dispatcher.served, self._version))


async def _read(request: web.Request, limit: int) -> bytes | None:
    """Return the body; None where it is over `limit` bytes. Raises TimeoutError where it comes more slowly than
    the lane would wait for it.
    """
    started = asyncio.get_running_loop().time()
    chunks: list[bytes] = []
    got = 0
    async with asyncio.timeout_at(started + BODY_TIME) as patience:
        async for chunk in request.content.iter_any():
            got += len(chunk)
            if got > limit:
                return None
            chunks.append(chunk)
            patience.reschedule(started + BODY_TIME + got / BODY_RATE)
    return b"".join(chunks)


def _json(document: Any) -> web.Response:
    return web.Response(
        text=json.dumps(document, indent=2, ensure_ascii=False), content_type="application/json"
    )


async def _respond(request: web.Request, answer: Answer, *, last: bool) -> web.StreamResponse:
    pieces = answer.body
    if len(pieces) == 1 and len(pieces[0]) < 1 << 20:
        response: web.StreamResponse = web.Response(
            status=answer.status, headers=answer.headers, body=bytes(pieces[0])
        )
        if last:
            response.force_close()
        return response
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = sum(_size(piece) for piece in pieces)
    if last:
        response.force_close()
    await response.prepare(request)
    for piece in pieces:
        view = memoryview(piece).cast("B")
        for start in range(0, len(view), 1 << 18):
            await response.write(view[start : start + (1 << 18)])
    await response.write_eof()
    return response


def _size(piece: Buffer) -> int:
    return memoryview(piece).nbytes
