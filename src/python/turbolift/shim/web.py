# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The aiohttp app: metrics, schema and calls of other clients, and all that the lane does not read itself.

Importing it is dear: where the lane is on, that waits until somebody asks for it.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import prometheus_client  # noqa: F401 - the metrics need it: its import must not stop the loop then
from aiohttp import hdrs, web

from turbolift.shim.lane.limits import BODY_RATE, BODY_TIME
from turbolift.shim.listen import BACKLOG
from turbolift.shim.openapi import openapi
from turbolift.wire.codings import kind_of
from turbolift.wire.headers import PREFIX
from turbolift.wire.receive import body_of
from turbolift.wire.send import merged

if TYPE_CHECKING:
    from turbolift.shim.dispatch import Dispatcher
    from turbolift.shim.listen import Listener
    from turbolift.shim.servant import Answer, More
    from turbolift.wire.frames import Buffer, Frames

AT_ONCE = 0.001
"""Seconds: to aiohttp, 0 is for ever."""


class App:
    """The app of one dispatcher. Call ``start``, then use ``server`` as a protocol factory, and ``close`` at the end."""

    def __init__(self, dispatcher: Dispatcher, *, version: str, idle: float, patience: float) -> None:
        """`idle`: seconds that a connection without a request is kept; `patience`: that ``close`` leaves to others."""
        self._dispatcher = dispatcher
        self._version = version
        self._patience = patience
        self._runner = web.AppRunner(
            self._app(),
            access_log=None,
            keepalive_timeout=idle,
            handler_cancellation=True,
            # What is compressed is unpacked by the dispatcher, within the function's limit.
            auto_decompress=False,
            shutdown_timeout=patience,
        )
        self._probing: web.AppRunner | None = None

    async def start(self) -> None:
        """Get ready, within the running loop."""
        await self._runner.setup()

    @property
    def server(self) -> web.Server:
        """The protocol factory. Raises RuntimeError before ``start``."""
        server = self._runner.server
        if server is None:
            raise RuntimeError("the app is not started")
        return server

    async def probe(self, listener: Listener) -> None:
        """Answer probes on a socket of their own, to the end: whoever asks then is told that we drain."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        probing = self._probing = web.AppRunner(app, access_log=None, shutdown_timeout=self._patience)
        await probing.setup()
        await web.SockSite(probing, listener.socket, backlog=BACKLOG).start()

    async def cut(self) -> None:
        """Cut off all connections, and the calls that run on them."""
        await self.server.shutdown(AT_ONCE)

    async def close(self) -> None:
        """End all connections."""
        await self._runner.cleanup()
        if self._probing is not None:
            await self._probing.cleanup()

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


async def _read(request: web.Request, limit: int) -> bytes | bytearray | Frames | None:
    """Return the body; None where it is over `limit` bytes. Raises TimeoutError where it comes more slowly than
    the lane would wait for it.
    """
    started = asyncio.get_running_loop().time()
    size = request.content_length
    kind = kind_of(request.headers)
    # What no size is said of (chunked) is taken as it comes, up to the limit.
    body = body_of(kind, limit, known=False) if size is None else body_of(kind, size)
    got = 0
    async with asyncio.timeout_at(started + BODY_TIME) as patience:
        async for chunk in request.content.iter_any():
            got += len(chunk)
            if got > limit:
                return None
            body.put(chunk)
            patience.reschedule(started + BODY_TIME + got / BODY_RATE)
    return body.whole()


def _json(document: Any) -> web.Response:
    return web.Response(
        text=json.dumps(document, indent=2, ensure_ascii=False), content_type="application/json"
    )


async def _respond(request: web.Request, answer: Answer, *, last: bool) -> web.StreamResponse:
    pieces = answer.body
    if answer.more is not None:
        return await _stream(request, answer, answer.more, last=last)
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
    for piece in merged(pieces):
        view = memoryview(piece).cast("B")
        for start in range(0, len(view), 1 << 18):
            await response.write(view[start : start + (1 << 18)])
    await response.write_eof()
    return response


async def _stream(request: web.Request, answer: Answer, more: More, *, last: bool) -> web.StreamResponse:
    """Answer with pieces that come in time."""
    try:
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        response.enable_chunked_encoding()
        if last:
            response.force_close()
        await response.prepare(request)
        for piece in answer.body:
            await response.write(piece)
        async for piece in more:
            await response.write(piece)
        await response.write_eof()
        return response
    finally:
        more.cancel()


def _size(piece: Buffer) -> int:
    return memoryview(piece).nbytes
