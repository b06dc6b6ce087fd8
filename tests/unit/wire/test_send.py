# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Large bodies wait for whoever takes them, beside the transport and not in it."""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import suppress
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift.wire.send import SLICE, SMALL, Stream, merged

MEGA = 1024 * 1024


class Sender(asyncio.Protocol):
    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.most = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.stream is not None:
            self.stream.stop()

    def pause_writing(self) -> None:
        assert self.stream is not None
        self.stream.pause()

    def resume_writing(self) -> None:
        assert self.stream is not None
        self.stream.resume()


async def pair() -> tuple[Sender, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    _, protocol = await asyncio.get_running_loop().create_unix_connection(Sender, sock=ours)
    return protocol, theirs


@pytest.mark.parametrize("sizes", [[], [0], [1], [SLICE, 0, SLICE + 1, 3], [10 * MEGA], [7] * 1000])
def test_all_arrives_and_the_end_is_told_once(sizes: list[int]) -> None:
    pieces = [random.Random(size).randbytes(size) for size in sizes]
    told: list[int] = []

    async def main() -> None:
        sender, theirs = await pair()
        transport = sender.transport
        assert transport is not None
        sender.stream = stream = Stream(transport, pieces, lambda: told.append(1))
        assert stream.unsent == sum(sizes)
        stream.resume()
        received = bytearray()
        while len(received) < sum(sizes):
            # What waits in the transport is a slice, and what its limits let it hold.
            assert transport.get_write_buffer_size() <= SLICE + 64 * 1024
            received += await asyncio.get_running_loop().sock_recv(theirs, 100_000)
        assert received == b"".join(pieces)
        assert (stream.unsent, told) == (0, [1])
        stream.resume()
        assert told == [1]
        transport.close()
        theirs.close()

    asyncio.run(main())


def test_who_reads_nothing_gets_nothing_more() -> None:
    async def main() -> None:
        sender, theirs = await pair()
        transport = sender.transport
        assert transport is not None
        sender.stream = stream = Stream(transport, [bytes(50 * MEGA)], None)
        stream.resume()
        for _ in range(20):
            await asyncio.sleep(0)
        assert transport.get_write_buffer_size() <= SLICE + 64 * 1024
        assert stream.unsent > 45 * MEGA
        transport.abort()
        await asyncio.sleep(0)
        unsent = stream.unsent
        stream.resume()
        # It is known how much was never sent.
        assert stream.unsent == unsent
        theirs.close()

    asyncio.run(main())


def test_a_closed_connection_is_given_nothing() -> None:
    async def main() -> None:
        sender, theirs = await pair()
        transport: Any = sender.transport
        transport.abort()
        stream = Stream(transport, [bytes(MEGA)], None)
        stream.resume()
        assert stream.unsent == MEGA
        with suppress(OSError):
            theirs.close()

    asyncio.run(main())


@given(st.lists(st.sampled_from([0, 1, 7, SMALL - 1, SMALL, SMALL + 1, SLICE, SLICE + 1]), max_size=40))
def test_small_pieces_are_joined_and_large_ones_are_not_copied(sizes: list[int]) -> None:
    given_pieces = [bytes([i % 251]) * size for i, size in enumerate(sizes)]
    found = list(merged(given_pieces))
    assert b"".join(found) == b"".join(given_pieces)
    assert all(len(piece) for piece in found)
    # Of two neighbours, one at least is worth a write of its own.
    assert all(len(a) >= SMALL or len(b) >= SMALL for a, b in pairwise(found))
    large = [piece for piece in given_pieces if len(piece) >= SMALL]
    kept = [piece.obj for piece in found if isinstance(piece, memoryview)]
    assert [*map(id, kept)] == [*map(id, large)]


def test_many_small_pieces_take_few_writes() -> None:
    assert len(list(merged([b"0123456789"] * 200_000))) <= 2_000_000 // SLICE + 1
