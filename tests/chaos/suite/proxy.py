# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that cuts connections with a reset: ``python -m chaos.suite.proxy MODE FROM TO [FROM TO ...]`` (ports on
127.0.0.1).

``cut``: all connections, every 50 ms. ``lose``: the one on which an answer comes, with a chance of one in ten, before
or amid the answer: what it answers has run.
"""

from __future__ import annotations

import asyncio
import functools
import random
import socket
import struct
import sys

EVERY = 0.05
CHANCE = 0.1

_open: set[asyncio.StreamWriter] = set()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loses: bool) -> None:
    while data := await reader.read(65536):
        if loses and random.random() < CHANCE:
            writer.write(data[: random.randrange(len(data))])
            raise ConnectionResetError
        writer.write(data)
        await writer.drain()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: int, loses: bool) -> None:
    writers = [writer]
    _open.add(writer)
    try:
        back, forth = await asyncio.open_connection("127.0.0.1", to)
        writers.append(forth)
        _open.add(forth)
        pumps = [
            asyncio.create_task(_pump(reader, forth, False)),
            asyncio.create_task(_pump(back, writer, loses)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
    except OSError:
        pass
    finally:
        for one in writers:
            _open.discard(one)
            _reset(one)


async def main(mode: str, ports: list[int]) -> None:
    """Run until the process is ended."""
    loses = mode == "lose"
    servers = []
    for at, to in zip(ports[::2], ports[1::2], strict=True):
        serve = functools.partial(_serve, to=to, loses=loses)
        servers.append(await asyncio.start_server(serve, "127.0.0.1", at))
    print("ready", flush=True)
    while servers:
        await asyncio.sleep(EVERY)
        if mode == "cut":
            for writer in list(_open):
                _reset(writer)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], [int(port) for port in sys.argv[2:]]))
