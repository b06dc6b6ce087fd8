# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Large arguments and results: the same as local, over both ways of HTTP, and what becomes of them when they are cut."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy
import pytest

from turbolift import DeadlineExceeded, EncodeError, MaybeExecuted, PayloadTooLarge
from turbolift.client.policy import Policy
from unit.shim.callers import WAYS, Calls
from unit.shim.conftest import http_get

KILO = 1024
MEGA = 1024 * 1024


def parts_of(sizes: list[int]) -> list[bytes]:
    rnd = random.Random(7)
    return [rnd.randbytes(size) for size in sizes]


SIZES = [
    [],
    [0],
    [100_000],
    [64 * KILO - 1, 64 * KILO, 64 * KILO + 1],
    [MEGA - 100],
    [MEGA, 0, 3],
    [5 * MEGA + 1, 17, 2 * MEGA],
    [10] * 20_000,
]


@pytest.mark.parametrize("server", WAYS)
@pytest.mark.parametrize("client", WAYS)
@pytest.mark.parametrize("name", ["threads", "inline", "asynchronous", "processes"])
def test_bytes_of_all_sizes(large: Any, shims: Any, name: str, client: str, server: str) -> None:
    async def main() -> None:
        async with Calls(getattr(large, name), shims(name, server).endpoint, client) as call:
            for sizes in SIZES:
                parts = parts_of(sizes)
                found = await call(parts)
                assert found == parts[::-1]
                assert {*map(type, found)} <= {bytes}

    asyncio.run(main())


@pytest.mark.parametrize("server", WAYS)
@pytest.mark.parametrize("client", WAYS)
def test_arrays(large: Any, shims: Any, client: str, server: str) -> None:
    flat = numpy.arange(500_000, dtype=numpy.float64)

    async def main() -> None:
        async with Calls(large.array, shims("array", server).endpoint, client) as call:
            for values in (flat, flat.reshape(1000, 500), numpy.asfortranarray(flat.reshape(500, 1000))):
                before = values.copy()
                found = await call(values)
                # The function changed its own.
                assert numpy.array_equal(values, before)
                assert numpy.array_equal(found, before + 1)
                assert found.flags.f_contiguous == values.flags.f_contiguous
                assert found.flags.writeable
                assert found.flags.aligned

    asyncio.run(main())


@pytest.mark.parametrize("server", WAYS)
@pytest.mark.parametrize("client", WAYS)
def test_long_lists_and_large_text(large: Any, shims: Any, client: str, server: str) -> None:
    rnd = random.Random(5)
    values = [rnd.random() for _ in range(200_000)]
    rows = [{"a": [i] * 500, "b": []} for i in range(2_000)]

    async def main() -> None:
        async with Calls(large.floats, shims("floats", server).endpoint, client) as call:
            for given in (values, [*values, 1, -0.0, 1e-320], [*values, math.inf], [*values, True]):
                found = await call(given, ["ab"])
                assert found == given[::-1]
                assert [*map(type, found)] == [*map(type, given[::-1])]
            task = asyncio.ensure_future(call(values))
            await asyncio.sleep(0)
            before, values[:] = [*values], [0.0]
            # The callee has what was there at the call.
            assert await task == before[::-1]
            with pytest.raises(EncodeError, match=r"values\[100000\]"):
                await call([*before[:100_000], "x"])
        async with Calls(large.rows, shims("rows", server).endpoint, client) as call:
            assert await call(rows) == rows[::-1]

    asyncio.run(main())


@pytest.mark.parametrize("server", WAYS)
@pytest.mark.parametrize("client", WAYS)
def test_an_answer_over_the_callers_limit(large: Any, shims: Any, client: str, server: str) -> None:
    async def main() -> None:
        policy = Policy(max_answer=2 * MEGA)
        async with Calls(large.small, shims("small", server).endpoint, client, policy=policy) as call:
            assert await call(b"", MEGA) == bytes(MEGA)
            with pytest.raises(PayloadTooLarge, match=f"limit of {2 * MEGA} bytes") as caught:
                await call(b"", 3 * MEGA)
            assert caught.value.limit == 2 * MEGA
            assert caught.value.size is not None
            assert caught.value.size > 3 * MEGA
            assert await call(b"x", 3) == bytes(3)

    asyncio.run(main())


@pytest.mark.parametrize("server", WAYS)
@pytest.mark.parametrize("client", WAYS)
def test_an_argument_over_the_servers_limit_is_not_sent(
    large: Any, shims: Any, client: str, server: str
) -> None:
    async def main() -> None:
        async with Calls(large.small, shims("small", server).endpoint, client) as call:
            with pytest.raises(PayloadTooLarge, match="option max_payload") as caught:
                await call(bytes(200 * MEGA))
            assert caught.value.limit == MEGA
            assert await call(b"x", 3) == bytes(3)

    asyncio.run(main())


@pytest.mark.parametrize("server", WAYS)
def test_neighbours_and_probes_are_served_while_a_body_is_on_its_way(
    large: Any, shims: Any, server: str
) -> None:
    shim = shims("run", server)
    head = (
        "POST /v1/functions/served_large:run HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Content-Type: application/vnd.turbolift.frames\r\nContent-Length: {50 * MEGA}\r\n\r\n"
    )

    async def main() -> None:
        async with Calls(large.run, shim.endpoint, "lane") as call:
            with socket.socket(socket.AF_UNIX) as slow:
                slow.connect(shim.endpoint.removeprefix("unix://"))
                slow.sendall(head.encode() + bytes(MEGA))
                before = await call(b"a")
                assert await call(b"b") == before + 1
                assert http_get(shim.endpoint, "/healthz")[0] == 200
            # The body was cut: nothing ran.
            assert await call(b"c") == before + 2

    asyncio.run(main())


class Half:
    """A server that takes so much of each request, and then ends the connection. Attribute ``ended``: how often it saw
    the peer's end before its own.
    """

    def __init__(self, endpoint: str, takes: int | None, real: str = "") -> None:
        """`takes`: bytes (None: all). `real`: where connections are passed on to, after the first one."""
        self._takes = takes
        self._real = real
        self._path = endpoint.removeprefix("unix://")
        self.connections = 0
        self.ended = asyncio.Event()

    async def __aenter__(self) -> Half:
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._real and self.connections > 1:
            await self._pass_on(reader, writer)
            return
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"100-continue" in head:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if self._takes == 0:
                # So slowly that it takes for ever.
                with suppress(OSError):
                    while await reader.read(10 * KILO):
                        await asyncio.sleep(0.05)
                self.ended.set()
            else:
                await reader.readexactly(size if self._takes is None else self._takes)
        writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self._real.removeprefix("unix://"))

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(1 << 18):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, back), pump(there, writer))


@pytest.mark.parametrize("client", WAYS)
def test_a_body_that_was_cut_is_sent_again_since_nothing_ran(
    large: Any, shims: Any, client: str, short: str
) -> None:
    real = shims("run", "lane").endpoint

    async def main() -> None:
        async with Calls(large.run, real, client) as direct:
            before = await direct(b"")
        async with Half(short, 3 * MEGA, real) as half, Calls(large.run, short, client) as call:
            # Not idempotent: it runs once all the same.
            assert await call(bytes(30 * MEGA)) == before + 1
            assert half.connections == 2
        async with Calls(large.run, real, client) as direct:
            assert await direct(b"") == before + 2

    asyncio.run(main())


@pytest.mark.parametrize("client", WAYS)
def test_a_body_that_was_taken_whole_may_have_run(large: Any, shims: Any, client: str, short: str) -> None:
    async def main() -> None:
        async with Half(short, None) as half, Calls(large.run, short, client) as call:
            with pytest.raises(MaybeExecuted):
                await call(bytes(30 * MEGA))
            assert half.connections == 1

    asyncio.run(main())


@pytest.mark.parametrize("ends", ["deadline", "cancelled"])
@pytest.mark.parametrize("client", WAYS)
def test_a_call_that_ends_in_mid_body_frees_both_sides(
    large: Any, client: str, short: str, ends: str
) -> None:
    async def main() -> None:
        async with Half(short, 0) as half, Calls(large.run, short, client) as call:
            task = asyncio.create_task(call(bytes(100 * MEGA), timeout=0.5 if ends == "deadline" else None))
            if ends == "deadline":
                with pytest.raises(DeadlineExceeded):
                    await task
            else:
                while not half.connections:
                    await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await asyncio.wait_for(half.ended.wait(), 30)

    asyncio.run(main())


@pytest.fixture
def short() -> Iterator[str]:
    """An endpoint that nobody listens on yet."""
    with tempfile.TemporaryDirectory(prefix="tl-") as folder:
        yield f"unix://{folder}/half"
