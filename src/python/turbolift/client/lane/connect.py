# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Sockets to endpoints. Whatever fails here, nothing was sent."""

from __future__ import annotations

import asyncio
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

CONNECT_TIME = 2.0
"""Seconds to get a connection. Then another one is begun, while the call's policy lets it: what was not answered at first (a
Service between two pods) is asked again by the kernel after ever longer pauses, long after somebody is there to answer.
"""


_PORTS = {"http": 80, "https": 443}


class Endpoint(NamedTuple):
    """Where to connect to: a unix socket's ``path``, or ``host`` and ``port``. ``name``: for the Host header."""

    path: str
    host: str
    port: int
    name: str


def parse_endpoint(text: str) -> Endpoint | None:
    """Return the parts of ``unix:///path`` or ``http[s]://host[:port]``, or None for what the lane cannot do."""
    if text.startswith("unix://"):
        return Endpoint(text.removeprefix("unix://"), "", 0, "localhost")
    try:
        parts = urlsplit(text)
        usual = _PORTS.get(parts.scheme, 0)
        port = parts.port or usual
    except ValueError:
        return None
    plain = not parts.path.strip("/") and not parts.query and not parts.fragment and parts.username is None
    if not usual or not parts.hostname or not plain or not parts.netloc.isascii():
        return None
    return Endpoint("", parts.hostname, port, parts.netloc.removesuffix(f":{usual}"))


async def connect(endpoint: Endpoint) -> socket.socket:
    """Return a connected socket. Raises OSError; TimeoutError after CONNECT_TIME."""
    async with asyncio.timeout(CONNECT_TIME):
        if endpoint.path:
            return await _connect_unix(endpoint.path)
        return await _connect_tcp(endpoint.host, endpoint.port)


async def _connect_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        pause = 0.001
        while True:
            try:
                sock.connect(path)
                return sock
            except BlockingIOError:
                # The server's queue is full. Unlike TCP, the kernel then does not go on by itself.
                await asyncio.sleep(pause)
                pause = min(2 * pause, 0.05)
    except BaseException:
        sock.close()
        raise


async def _connect_tcp(host: str, port: int) -> socket.socket:
    failure: OSError | None = None
    for family, kind, protocol, _, address in await _addresses(host, port):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            await asyncio.get_running_loop().sock_connect(sock, address)
            return sock
        except OSError as error:
            sock.close()
            failure = failure or error
        except BaseException:
            sock.close()
            raise
    raise failure or OSError(f"{host} has no address")


async def _addresses(host: str, port: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    """Look `host` up, each time anew: endpoints move. Numbers are not looked up."""
    kind = socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=kind)
    return found  # type: ignore[return-value]
