# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The transport over aiohttp's client: a session for each event loop and endpoint, kept alive."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import aiohttp
from yarl import URL

from turbolift.client import tls as secured
from turbolift.client.lane.connect import CONNECT_TIME
from turbolift.client.loops import PerLoop
from turbolift.client.transport import (
    AnswerTooLargeError,
    BrokenError,
    LateError,
    NotSentError,
    Received,
    Request,
    Response,
    Tls,
)
from turbolift.wire.codings import kind_of
from turbolift.wire.frames import Buffer
from turbolift.wire.receive import body_of
from turbolift.wire.send import merged

KEEPALIVE = 30.0
"""Seconds that an idle connection is kept. Shorter than any server's idle time, so that it is we who close
first.
"""

CONNECTIONS = 128
"""Calls in flight to one endpoint from one loop; more wait here, where waiting is cheap."""

_CHUNK = 256 * 1024
_EXPECT_FROM = 1024 * 1024


class _Pool:
    """The connections of one loop to one endpoint."""

    def __init__(self, endpoint: str) -> None:
        connector: aiohttp.BaseConnector
        if endpoint.startswith("unix://"):
            connector = aiohttp.UnixConnector(
                endpoint.removeprefix("unix://"), limit=CONNECTIONS, keepalive_timeout=KEEPALIVE
            )
            self.base = URL("http://localhost")
        else:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEPALIVE, ttl_dns_cache=10)
            self.base = URL(endpoint)
        self.session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIME),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )
        self.in_flight = 0
        self.used = time.monotonic()

    @contextmanager
    def use(self) -> Iterator[None]:
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self.used = time.monotonic()


class _Loop:
    """All pools of one event loop."""

    def __init__(self) -> None:
        self.pools: dict[str, _Pool] = {}

    async def close(self) -> None:
        pools, self.pools = list(self.pools.values()), {}
        for pool in pools:
            await pool.session.close()

    async def pool(self, endpoint: str) -> _Pool:
        pool = self.pools.get(endpoint)
        if pool is None:
            # Endpoints come and go with each rollout: a new one is the occasion to close those that nobody
            # uses any more.
            now = time.monotonic()
            idle = [e for e, p in self.pools.items() if not p.in_flight and now - p.used > 2 * KEEPALIVE]
            closing = [self.pools.pop(e) for e in idle]
            pool = self.pools[endpoint] = _Pool(endpoint)
            for old in closing:
                await old.session.close()
        return pool


class AiohttpTransport:
    """Implements Transport."""

    def __init__(self) -> None:
        self._loops: PerLoop[_Loop] = PerLoop(_Loop, _Loop.close)

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
        scope = asyncio.timeout(None if deadline is None else deadline - time.monotonic())
        try:
            # Cancelling what is below closes the connection, which tells the server to stop.
            async with scope:
                return await self._send(endpoint, request, max_answer, tls)
        except TimeoutError:
            if scope.expired():
                raise LateError from None
            raise

    async def _send(self, endpoint: str, request: Request, max_answer: int, tls: Tls | None) -> Response:
        pool = await (await self._loops.get()).pool(endpoint)
        with pool.use(), secured.noting() as noted:
            size = request.size
            # In one piece where that is cheap to copy; aiohttp warns of large ones, with good reason.
            sending = None if size < _CHUNK else _Sending(request.body, size)
            data: Any = b"".join(request.body) if sending is None else sending.pieces()
            headers = dict(line.split(": ", 1) for line in request.lines.split("\r\n") if line)
            headers["Content-Length"] = str(size)
            # aiohttp uses a connection again only for the very context that it was made by.
            options: dict[str, Any] = {}
            if tls is not None:
                options = {"ssl": secured.context(tls), "server_hostname": tls.server_name}
            try:
                async with pool.session.post(
                    pool.base.join(URL(request.path, encoded=True)),
                    data=data,
                    headers=headers,
                    allow_redirects=False,
                    expect100=size >= _EXPECT_FROM,
                    **options,
                ) as response:
                    body = await _read(response, max_answer, request.feed)
                    return Response(response.status, response.headers, body)
            except aiohttp.ClientConnectorError as error:
                if tls is not None and isinstance(error, aiohttp.ClientSSLError):
                    raise secured.failed(error, tls) from None
                raise NotSentError(_reason(error)) from None
            except aiohttp.ConnectionTimeoutError:
                raise NotSentError(f"no connection within {CONNECT_TIME:g} s") from None
            except (aiohttp.ClientError, OSError) as error:
                # What was written after the server's refusal came fails for another reason than that.
                refusal = noted[0] if noted else error
                if tls is not None and (told := secured.refused(refusal, tls)) is not None:
                    raise told from None
                if sending is not None and sending.unsent:
                    # The server cannot have the whole: nobody runs half a call.
                    raise NotSentError(
                        f"{_reason(error)}, with {sending.unsent} of {size} bytes of the call unsent",
                        connected=True,
                    ) from None
                raise BrokenError(_reason(error)) from None

    def connections(self) -> dict[str, int]:
        """Return the number of open connections by endpoint, over all loops; may be asked from any thread."""
        counted: dict[str, int] = {}
        for mine in self._loops:
            for endpoint, pool in list(mine.pools.items()):
                connector: Any = pool.session.connector
                idle = sum(map(len, list(connector._conns.values())))
                counted[endpoint] = counted.get(endpoint, 0) + idle + len(connector._acquired)
        return counted

    def abandon(self) -> None:
        """In a forked child: let go of the parent's connections.

        Its sockets and its epoll are shared with it, so nothing may be shut down or unregistered here; the
        descriptors are closed as the transports are collected, which would be told as a leak.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            for mine in self._loops:
                for pool in mine.pools.values():
                    connector: Any = pool.session.connector
                    pool.session.detach()
                    connector._conns.clear()
                mine.pools.clear()

    async def aclose(self) -> None:
        """Close the sessions of the running loop."""
        await self._loops.aclose()


def _reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or error
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__


class _Sending:
    """A body on its way. Attribute ``unsent``: bytes that were not asked for yet."""

    def __init__(self, body: Sequence[Buffer], size: int) -> None:
        self._body = body
        self.unsent = size

    async def pieces(self) -> AsyncIterator[memoryview]:
        """Yield the body as the connection takes it."""
        for piece in merged(self._body):
            view = memoryview(piece).cast("B")
            for start in range(0, len(view), _CHUNK):
                part = view[start : start + _CHUNK]
                self.unsent -= len(part)
                yield part


async def _read(
    response: aiohttp.ClientResponse, limit: int, feed: Callable[[bytes], None] | None
) -> Received:
    size = response.content_length
    if size is not None and size > limit:
        response.close()
        raise AnswerTooLargeError(limit, size)
    if size is not None and size > _CHUNK:
        body = body_of(kind_of(response.headers), size)
        async for chunk in response.content.iter_any():
            body.put(chunk)
        return body.whole()
    chunks = []
    got = 0
    async for chunk in response.content.iter_any():
        got += len(chunk)
        if got > limit:
            response.close()
            raise AnswerTooLargeError(limit, None)
        chunks.append(chunk)
        if feed is not None and size is None and response.status == 200:
            feed(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
