# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The client's lane reads answers, in whatever pieces they come, and nothing else: each request gets its own answer or an
error, and a neighbour is never harmed.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from turbolift.client.lane.connect import Endpoint
from turbolift.client.lane.connection import Connection
from turbolift.client.lane.pool import AHEAD, Pool
from turbolift.client.lane.transport import EXPECT_FROM, LaneTransport
from turbolift.client.transport import (
    AnswerTooLargeError,
    BrokenError,
    LateError,
    NotSentError,
    Request,
    Response,
)
from turbolift.wire.frames import Frames
from turbolift.wire.headers import PIPELINE
from turbolift.wire.http1 import BadAnswerError, Chunks, read_answer

LIMIT = 100_000
HEAD = b"POST /v1/functions/m:f HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
AHEAD_HEADERS = b"Connection: %b\r\n%b: 1\r\n" % (PIPELINE.encode(), PIPELINE.encode())
FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ", 200)), deadline=None, suppress_health_check=list(HealthCheck)
)


def sized(body: bytes, *, status: int = 200, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b" % (
        status,
        more,
        len(body),
        body,
    )


def chunked(body: bytes, sizes: list[int]) -> bytes:
    pieces = []
    for size in sizes:
        if body[:size]:
            pieces.append(b"%x;name=value\r\n%b\r\n" % (len(body[:size]), body[:size]))
        body = body[size:]
    if body:
        pieces.append(b"%X\r\n%b\r\n" % (len(body), body))
    return (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(pieces)
        + b"0\r\nTrailer: x\r\n\r\n"
    )


ANSWERS = st.builds(sized, st.binary(max_size=300)) | st.builds(
    chunked, st.binary(max_size=300), st.lists(st.integers(1, 80), max_size=4)
)


def cut(data: bytes, seed: int, most: int = 8) -> list[bytes]:
    rnd = random.Random(seed)
    cuts = sorted(rnd.randrange(len(data) + 1) for _ in range(rnd.randrange(most)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]


class Peer:
    """A connection of the client's, and the socket at its other end. Attributes: ``trouble`` (what the loop was told)."""

    def __init__(self) -> None:
        self.trouble: list[dict[str, Any]] = []

    async def __aenter__(self) -> Peer:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.trouble.append(context))
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.theirs.setblocking(False)
        self.connection = Connection(loop, ours)
        await loop.create_unix_connection(lambda: self.connection, sock=ours)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.theirs.close()
        await self.connection.close()
        assert self.trouble == []

    def ask(self, count: int = 1, deadline: float | None = None) -> list[asyncio.Future[Response]]:
        return [self.connection.exchange(HEAD, [b"{}"], 2, LIMIT, deadline) for _ in range(count)]

    async def say(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            try:
                await asyncio.get_running_loop().sock_sendall(self.theirs, piece)
            except (BrokenPipeError, ConnectionResetError):
                return  # the client has closed it
            await asyncio.sleep(0)

    def end(self) -> None:
        self.theirs.shutdown(socket.SHUT_WR)


async def outcomes(answers: list[asyncio.Future[Response]]) -> list[Any]:
    """What became of each: the body, or the class of the error."""
    async with asyncio.timeout(20):
        found = await asyncio.gather(*answers, return_exceptions=True)
    return [
        bytes(item.body) if isinstance(item, Response) and not isinstance(item.body, Frames) else type(item)
        for item in found
    ]


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


@FUZZ
@given(bodies=st.lists(ANSWERS, min_size=1, max_size=6), interim=st.booleans(), seed=st.integers(0, 2**32))
def test_answers_to_requests_that_were_sent_ahead(bodies: list[bytes], interim: bool, seed: int) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" if interim else b""
    data = b"".join(early + answer for answer in bodies)
    note(repr(data))

    async def main() -> None:
        async with Peer() as peer:
            asked = peer.ask(len(bodies))
            await peer.say(cut(data, seed))
            assert await outcomes(asked) == [content(answer) for answer in bodies]
            assert peer.connection.reusable

    run(main)


def content(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return body
    found = Chunks()
    assert found.put(body) == b""
    assert found.done
    return bytes(found.data)


TWO = sized(b'{"result":1}', more=AHEAD_HEADERS) + chunked(b'{"result":2}', [3, 4]) + sized(b"", status=204)


@pytest.mark.parametrize("at", range(0, len(TWO), 3))
def test_answers_split_at_any_byte(at: int) -> None:
    async def main() -> None:
        async with Peer() as peer:
            asked = peer.ask(3)
            await peer.say([TWO[:at], TWO[at : at + 1], TWO[at + 1 :]])
            assert await outcomes(asked) == [b'{"result":1}', b'{"result":2}', b""]

    run(main)


@pytest.mark.parametrize("at", range(0, len(TWO), 3))
def test_answers_that_end_at_any_byte(at: int) -> None:
    """What is whole is an answer; what is not is none, and the call may have run."""

    async def main() -> None:
        async with Peer() as peer:
            asked = peer.ask(4)
            await peer.say([TWO[:at]])
            peer.end()
            found = await outcomes(asked)
            whole = [b'{"result":1}', b'{"result":2}', b""]
            got = [item for item in found if isinstance(item, bytes)]
            assert got == whole[: len(got)]
            assert set(found[len(got) :]) == {BrokenError}

    run(main)


MUTATIONS = st.tuples(
    st.sampled_from(["delete", "insert", "change", "cut"]),
    st.floats(0, 1, exclude_max=True),
    st.binary(min_size=1, max_size=4)
    | st.sampled_from(
        [b"\r", b"\n", b"\r\n", b" ", b":", b"\0", b"\r\n\r\n", b"-", b"0", b"Content-Length: 5\r\n"]
    )
    | st.just(b"Transfer-Encoding: chunked\r\n"),
)


@FUZZ
@given(
    bodies=st.lists(ANSWERS, min_size=1, max_size=4),
    mutations=st.lists(MUTATIONS, max_size=3),
    garbage=st.binary(max_size=200),
    seed=st.integers(0, 2**32),
)
def test_whatever_is_answered(
    bodies: list[bytes], mutations: list[tuple[str, float, bytes]], garbage: bytes, seed: int
) -> None:
    data = b"".join(bodies)
    first = len(data)
    for kind, where, text in mutations:
        at = int(where * len(data))
        first = min(first, at)
        keep = at if kind == "insert" else at + len(text)
        data = (
            data[: at + 1] if kind == "cut" else data[:at] + (b"" if kind == "delete" else text) + data[keep:]
        )
    data += garbage
    note(repr(data))

    async def main() -> None:
        async with Peer() as peer, Peer() as neighbour:
            asked, other = peer.ask(len(bodies)), neighbour.ask()
            await peer.say(cut(data, seed))
            peer.end()
            await neighbour.say([sized(b"fine")])
            found = await outcomes(asked)
            assert await outcomes(other) == [b"fine"]
            for item in found:
                assert isinstance(item, bytes) or item in (BrokenError, NotSentError, AnswerTooLargeError)
            # What was whole before anything was wrong is what was said.
            end = 0
            for answer, item in zip(bodies, found, strict=True):
                end += len(answer)
                if end <= first:
                    assert item == content(answer)

    run(main)


@FUZZ
@given(
    st.binary(max_size=200)
    | st.builds(lambda a, b: a.partition(b"\r\n\r\n")[0] + b, ANSWERS, st.binary(max_size=20))
)
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked")
def test_any_head_is_read_or_refused(head: bytes) -> None:
    try:
        found = read_answer(head)
    except BadAnswerError:
        return
    assert 100 <= found.status <= 999
    assert found.size is None or found.size >= 0


@FUZZ
@given(
    st.binary(max_size=300) | st.text(alphabet="0123456789abcdefgx;\r\n ", max_size=60).map(str.encode),
    st.integers(0, 99),
)
def test_any_chunks_are_read_or_refused(data: bytes, seed: int) -> None:
    whole, pieces = Chunks(), Chunks()
    left: list[Any] = []
    for reader, parts in ((whole, [data]), (pieces, cut(data, seed))):
        rest = b""
        try:
            for part in parts:
                rest = rest + part if reader.done else reader.put(part)
        except BadAnswerError:
            left.append("refused")
        else:
            left.append((bytes(reader.data), reader.done, rest))
    # However it comes, it is the same.
    assert left[0] == left[1] or "refused" in left


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: +5",
        b"Content-Length: 5, 6",
        b"Content-Length: 0x5",
        b"Content-Length : 5",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"X: a\r\n folded",
        b"X: a\nContent-Length: 1",
        b"X\0: a",
        b": a",
        b"no colon",
    ],
)
def test_smuggled_answers_are_refused(lines: bytes) -> None:
    with pytest.raises(BadAnswerError):
        read_answer(b"HTTP/1.1 200 OK\r\n" + lines)

    async def main() -> None:
        async with Peer() as peer:
            asked = peer.ask(2)
            await peer.say([b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n\r\nhello" + sized(b"smuggled")])
            assert await outcomes(asked) == [BrokenError, BrokenError]

    run(main)


def test_a_head_without_end_is_refused() -> None:
    async def main() -> None:
        async with Peer() as peer:
            asked = peer.ask()
            await peer.say([b"HTTP/1.1 200 OK\r\n"] + [b"X: " + b"y" * 5000 + b"\r\n"] * 20)
            assert await outcomes(asked) == [BrokenError]

    run(main)


def test_an_answer_over_the_limit_is_its_own_callers_trouble() -> None:
    async def main() -> None:
        for answer in (sized(b"x" * (LIMIT + 1)), chunked(b"x" * (LIMIT + 1), [60_000])):
            async with Peer() as peer:
                asked = peer.ask(3)
                await peer.say([sized(b"one") + answer])
                assert await outcomes(asked) == [b"one", AnswerTooLargeError, BrokenError]
                assert not peer.connection.reusable

    run(main)


def test_what_nobody_asked_for_ends_the_connection() -> None:
    async def main() -> None:
        for sent in (sized(b"one") + sized(b"more"), sized(b"one") + b"x"):
            async with Peer() as peer:
                asked = peer.ask()
                await peer.say([sent])
                assert await outcomes(asked) == [b"one"]
                assert not peer.connection.has_room(AHEAD)

    run(main)


def test_after_the_last_answer_the_rest_has_not_run() -> None:
    async def main() -> None:
        async with Peer() as peer:
            asked = peer.ask(3)
            await peer.say([sized(b"one") + sized(b"last", more=b"Connection: close\r\n")])
            assert await outcomes(asked) == [b"one", b"last", NotSentError]
            assert not peer.connection.has_room(AHEAD)

    run(main)


def test_a_late_or_cancelled_request_leaves_its_neighbours() -> None:
    async def main() -> None:
        async with Peer() as peer:
            first, late, gone, last = (
                *peer.ask(),
                *peer.ask(deadline=time.monotonic() - 1),
                *peer.ask(),
                *peer.ask(deadline=time.monotonic() + 1000),
            )
            assert peer.connection.end_late(time.monotonic()) > time.monotonic() + 500
            gone.cancel()
            peer.connection.retire()
            await peer.say([sized(b"1") + sized(b"2") + sized(b"3") + sized(b"4")])
            assert await outcomes([first, late, gone, last]) == [
                b"1",
                LateError,
                asyncio.CancelledError,
                b"4",
            ]
            assert not peer.connection.has_room(AHEAD)

    run(main)


@FUZZ
@given(
    said=st.sampled_from(
        [
            b"HTTP/1.1 100 Continue\r\n\r\n",
            sized(b"no", status=413, more=b"Connection: close\r\n"),
            sized(b"no", status=417),
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\nContent-Length: 5, 6\r\n\r\n",
            b"\0\0\0\0\r\n\r\n",
            b"",
        ]
    ),
    mutations=st.lists(MUTATIONS, max_size=1),
    seed=st.integers(0, 99),
)
def test_whatever_is_answered_to_a_large_request(
    said: bytes, mutations: list[tuple[str, float, bytes]], seed: int
) -> None:
    for _, where, text in mutations:
        at = int(where * len(said))
        said = said[:at] + text + said[at:]
    body = b"x" * EXPECT_FROM

    async def main() -> None:
        async with Peer() as peer:
            sending = asyncio.create_task(
                peer.connection.exchange_large(HEAD, [body], LIMIT, None, patience=0.01)
            )
            await peer.say(cut(said, seed, 3))
            if not said.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
                peer.end()
            answer = await asyncio.wait_for(sending, 20)
            if not answer.done():
                await peer.say([sized(b"done")])
                peer.end()
            (found,) = await outcomes([answer])
            assert isinstance(found, bytes) or found in (BrokenError, NotSentError)
            if found is NotSentError:
                assert received(peer.theirs) < len(HEAD) + len(body)

    run(main)


def received(sock: socket.socket) -> int:
    """Count the bytes that are there to be read."""
    count = 0
    with suppress(BlockingIOError):
        while more := sock.recv(1 << 20):
            count += len(more)
    return count


class Replica:
    """A server that answers each request at once, and invites to send ahead; it counts its connections."""

    def __init__(self) -> None:
        self.connections = 0
        self.most = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                received = await reader.read(1 << 20)
                if not received:
                    return
                count = received.count(b"\r\n\r\n")
                self.most = max(self.most, count)
                for body in received.split(b"\r\n\r\n")[1:]:
                    writer.write(sized(body.partition(b"POST")[0], more=AHEAD_HEADERS))
        finally:
            writer.close()


def test_many_calls_share_few_connections() -> None:
    async def main() -> None:
        replica = Replica()
        server = await asyncio.start_server(replica.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport = LaneTransport()

        async def call(number: int) -> bytes:
            body = b"%05d" % number
            request = Request("/v1/functions/m:f", "", [body], len(body))
            answer = await transport.send(
                f"http://127.0.0.1:{port}", request, max_answer=LIMIT, deadline=time.monotonic() + 60
            )
            assert answer.body == body
            return body

        async with server:
            await call(0)
            for _ in range(3):
                await asyncio.gather(*map(call, range(AHEAD)))
            assert replica.connections == 1
            assert replica.most > 1
            # More than a connection takes: others are opened, and used from then on.
            for _ in range(3):
                await asyncio.gather(*map(call, range(5 * AHEAD)))
            assert 5 <= replica.connections <= 4 * AHEAD + 1
            await transport.aclose()

    run(main)


def test_a_pool_forgets_connections_that_ended() -> None:
    async def main() -> None:
        pool = Pool(Endpoint("", "127.0.0.1", 1, "x"))
        async with Peer() as peer:
            asked = peer.ask()
            await peer.say([sized(b"one", more=AHEAD_HEADERS)])
            assert await outcomes(asked) == [b"one"]
            pool._taken.add(peer.connection)
            pool._places -= 1
            pool.give(peer.connection)
            assert pool.shared() is peer.connection
            assert pool.quick() is peer.connection
            pool.give(peer.connection)
            peer.end()
            peer.theirs.close()
            while not peer.connection.is_over:
                await asyncio.sleep(0)
            assert pool.shared() is None
            assert pool.connections() == []
            await pool.close()

    run(main)
