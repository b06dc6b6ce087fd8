# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Functions that run on the server's loop: calls are answered at once, in order, also many of one connection; and how
long a connection may take for what.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from turbolift import DeadlineExceeded
from turbolift.shim.dispatch import Dispatcher
from turbolift.shim.gate import Gate
from turbolift.shim.lane import Lane, connection, lane
from turbolift.shim.lane.limits import IN_A_ROW
from turbolift.shim.load import load
from turbolift.shim.metrics import Metrics
from turbolift.shim.runners import LoopRunner, ThreadRunner
from turbolift.shim.servant import Servant
from turbolift.wire.headers import CONTRACT, DEADLINE, PIPELINE, TRACEPARENT

Standing = Callable[..., Any]
LINE = b"POST /v1/functions/served:inline HTTP/1.1\r\n"


def request(text: str, *, what: str = "echo", contract: str, deadline: bytes = b"60.000000") -> bytes:
    """A call as turbolift's client writes it."""
    body = json.dumps({"args": {"what": what, "text": text}}, separators=(",", ":")).encode()
    return LINE + (
        b"Host: x\r\nContent-Type: application/json\r\nTurbolift-Contract: %b\r\ntraceparent: 00-%b-%b-01\r\n"
        b"Idempotency-Key: %b\r\nTurbolift-Deadline: %b\r\nContent-Length: %d\r\n\r\n%b"
    ) % (contract.encode(), b"a" * 32, b"b" * 16, b"c" * 32, deadline, len(body), body)


def dispatcher() -> Dispatcher:
    served = load("served:inline")
    gate = Gate(4, 4)
    return Dispatcher(
        served,
        gate,
        LoopRunner(Servant(served), is_async=False),
        Metrics("served:inline", gate),
        version="f00",
    )


@asynccontextmanager
async def serving(**times: float) -> AsyncIterator[tuple[Lane, str]]:
    """A lane of ``served:inline`` in this process, and its contract's digest."""
    made = dispatcher()

    async def no_app() -> Any:
        raise AssertionError("nobody asked for the app")

    found = Lane(made, no_app, idle=times.pop("idle", 60.0))
    try:
        yield found, made.served.contract.digest
    finally:
        await found.close(1.0)


async def connect(found: Lane) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    ours, theirs = socket.socketpair()
    await asyncio.get_running_loop().create_unix_connection(found, sock=theirs)
    return await asyncio.open_unix_connection(sock=ours)


async def answers(reader: asyncio.StreamReader, count: int) -> list[tuple[bytes, bytes]]:
    found = []
    async with asyncio.timeout(20):
        for _ in range(count):
            head = await reader.readuntil(b"\r\n\r\n")
            size = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
            found.append((head, await reader.readexactly(size)))
    return found


@pytest.mark.parametrize("count", [1, IN_A_ROW, 3 * IN_A_ROW + 1])
def test_calls_that_come_together_are_answered_in_order(served: Any, count: int) -> None:
    async def main() -> None:
        async with serving() as (found, digest):
            reader, writer = await connect(found)
            for turn in range(3):
                writer.write(b"".join(request(f"{turn}.{i}", contract=digest) for i in range(count)))
                got = await answers(reader, count)
                assert [json.loads(body)["result"] for _, body in got] == [
                    f"{turn}.{i}" for i in range(count)
                ]
                assert all(b"\r\nTurbolift-Version: f00\r\n" in head for head, _ in got)
            assert PIPELINE.encode() in got[-1][0]
            writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("where", range(1, 400, 9))
def test_a_later_call_in_pieces(served: Any, where: int) -> None:
    async def main() -> None:
        async with serving() as (found, digest):
            reader, writer = await connect(found)
            sent = b"".join(request(str(i), contract=digest) for i in range(4))
            one = len(request("0", contract=digest))
            for piece in (sent[: one + where], sent[one + where : one + where + 1], sent[one + where + 1 :]):
                writer.write(piece)
                await asyncio.sleep(0.001)
            assert [json.loads(body)["result"] for _, body in await answers(reader, 4)] == [
                "0",
                "1",
                "2",
                "3",
            ]
            writer.close()

    asyncio.run(main())


def test_among_calls_of_one_form_others_are_what_they_are(served: Any) -> None:
    async def main() -> None:
        async with serving() as (found, digest):
            reader, writer = await connect(found)
            good = request("good", contract=digest)
            others = [
                request("x", what="value", contract=digest),
                request("x", contract="sha256:" + "0" * 64),
                good.replace(b'"good"', b"12345678"[:6]),
                good.replace(b'{"args"', b'{"argz"'),
                good.replace(b"60.000000", b"soonsoons"),
                good.replace(b"application/json", b"application/jsox"),
                good.replace(b"Idempotency-Key: ", b"Idempotency-Kez: "),
                good.replace(b"Host: x", b"Host: y"),
                request('{"a":1,"a":2}', contract=digest),
                good.replace(b'"what":"echo"', b'"what":"echo","what":"echo"').replace(
                    b"Content-Length: 38", b"Content-Length: 52"
                ),
            ]
            for other in others:
                writer.write(good + other + good)
            got = await answers(reader, 3 * len(others))
            statuses = [int(head.split()[1]) for head, _ in got]
            assert statuses[0::3] == statuses[2::3] == [200] * len(others)
            assert statuses[1::3] == [500, 409, 422, 400, 400, 400, 200, 200, 200, 400]
            assert json.loads(got[3 * 8 + 1][1])["result"] == '{"a":1,"a":2}'
            writer.close()

    asyncio.run(main())


def test_a_draining_server_says_so_to_the_first_and_reads_no_further(served: Any) -> None:
    async def main() -> None:
        async with serving() as (found, digest):
            reader, writer = await connect(found)
            writer.write(request("a", contract=digest) * 2)
            await answers(reader, 2)
            found.dispatcher.gate.drain()
            writer.write(request("b", contract=digest) * 5)
            ((head, body),) = await answers(reader, 1)
            assert b" 503 " in head
            assert b"\r\nConnection: close" in head
            assert json.loads(body)["type"].endswith(":draining")
            assert await reader.read() == b""
            writer.close()

    asyncio.run(main())


def test_at_once_does_what_dispatch_does(served: Any) -> None:
    async def main() -> None:
        made = dispatcher()
        digest = made.served.contract.digest
        body = b'{"args":{"what":"echo","text":"x"}}'
        usual = {"Content-Type": "application/json", CONTRACT: digest, DEADLINE: "5", TRACEPARENT: "00-x"}
        for headers, sent in (
            (usual, body),
            ({"Content-Type": "application/json"}, body),
            ({**usual, DEADLINE: "none"}, body),
            (usual, b'{"args":{"what":"value","text":"x"}}'),
            (usual, b'{"args":{"what":"exit"}}'),
            (usual, b'{"args":{"what":"wrong"}}'),
            (usual, b'{"args":{"what":3}}'),
            (usual, b"{"),
            ({**usual, "Content-Type": "text/plain"}, body),
        ):
            at_once = made.at_once(headers, sent)
            assert at_once is not None
            dispatched = await made.dispatch("served:inline", headers, sent)
            assert (at_once.status, dict(at_once.headers), at_once.outcome) == (
                dispatched.status,
                dict(dispatched.headers),
                dispatched.outcome,
            )
            if at_once.outcome != "raised":  # a traceback says how it came there
                assert [*map(bytes, at_once.body)] == [*map(bytes, dispatched.body)]
        # What must wait, or be refused, is left to dispatch.
        assert made.at_once({**usual, CONTRACT: "sha256:" + "0" * 64}, body) is None
        assert made.at_once({**usual, DEADLINE: "soon"}, body) is None
        for _ in range(made.gate.concurrency):
            made.gate.take()
        assert made.at_once(usual, body) is None
        for _ in range(made.gate.concurrency):
            made.gate.exit()
            made.gate.leave()
        assert made.at_once(usual, body) is not None
        made.gate.drain()
        assert made.at_once(usual, body) is None

    asyncio.run(main())


def test_only_what_runs_on_the_loop_is_answered_at_once(served: Any) -> None:
    async def main() -> None:
        threaded = load("served:quick")
        gate = Gate(1, 1)
        runner = ThreadRunner(Servant(threaded), 1)
        made = Dispatcher(threaded, gate, runner, Metrics("served:quick", gate))
        assert not made.is_inline
        assert made.at_once({"Content-Type": "application/json"}, b'{"args":{"what":"echo"}}') is None
        await runner.close()

    asyncio.run(main())


def test_many_calls_at_once_keep_their_own_ends(standing: Standing, served: Any) -> None:
    standing("served:inline")

    async def one(number: int) -> Any:
        if number % 7 == 3:
            with pytest.raises(ValueError, match=f"^{number}$"):
                await served.inline("value", str(number))
            return number
        if number % 7 == 5:
            with pytest.raises(DeadlineExceeded):
                await served.inline.with_options(timeout=1e-6)("echo", str(number))
            return number
        return int(await served.inline("echo", str(number)))

    async def main() -> None:
        for _ in range(4):
            assert await asyncio.gather(*map(one, range(200))) == [*range(200)]
        # A cancelled one leaves the others alone.
        tasks = [asyncio.create_task(one(number)) for number in range(60)]
        await asyncio.sleep(0)
        cancelled = [number for number in range(0, 60, 6) if tasks[number].cancel()]
        assert len(cancelled) > 5
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [n for n in range(60) if isinstance(found[n], BaseException)] == cancelled
        assert await served.inline("echo", "fine") == "fine"

    asyncio.run(main())


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the server ends the connection."""
    async with asyncio.timeout(30):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b"reset"


@pytest.fixture
def quick_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "TICK", 0.01)
    monkeypatch.setattr(connection, "HEAD_TIME", 0.05)
    monkeypatch.setattr(connection, "BODY_TIME", 0.05)
    monkeypatch.setattr(connection, "BODY_RATE", 1 << 40)
    monkeypatch.setattr(connection, "STUCK_TIME", 0.05)


@pytest.mark.usefixtures("quick_times")
@pytest.mark.parametrize("before", [0, 3])
def test_a_slow_head_and_a_slow_body_are_refused(served: Any, before: int) -> None:
    async def main() -> None:
        async with serving() as (found, digest):
            whole = request("x", contract=digest)
            for part in (whole[:1], whole[:200], whole[:-1], whole[: whole.index(b"\r\n\r\n") + 4]):
                reader, writer = await connect(found)
                writer.write(whole * before + part)
                said = await ended(reader)
                assert said.count(b"HTTP/1.1 200 OK") == before
                assert said.endswith(
                    b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                writer.close()

    asyncio.run(main())


@pytest.mark.usefixtures("quick_times")
def test_an_idle_connection_is_closed_and_a_slow_one_that_goes_on_is_not(served: Any) -> None:
    async def main() -> None:
        async with serving(idle=0.05) as (found, digest):
            reader, writer = await connect(found)
            assert await ended(reader) == b""
            writer.close()
            reader, writer = await connect(found)
            writer.write(request("x", contract=digest))
            said = await ended(reader)
            assert said.endswith(b'{"result":"x"}')
            writer.close()
            assert not found.connections

    asyncio.run(main())


@pytest.mark.usefixtures("quick_times")
def test_the_first_connection_after_a_long_silence_has_all_its_time(served: Any) -> None:
    async def main() -> None:
        async with serving(idle=1.0) as (found, digest):
            reader, writer = await connect(found)
            writer.close()
            while found.connections or found._ticking is not None:
                await asyncio.sleep(0.01)
            await asyncio.sleep(1.1)
            reader, writer = await connect(found)
            writer.write(request("x", contract=digest))
            assert [body for _, body in await answers(reader, 1)] == [b'{"result":"x"}']
            writer.close()

    asyncio.run(main())


@pytest.mark.usefixtures("quick_times")
def test_a_peer_that_takes_nothing_is_let_go(served: Any) -> None:
    async def main() -> None:
        async with serving() as (found, digest):
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            await asyncio.get_running_loop().create_unix_connection(found, sock=theirs)
            large = request("x" * 60_000, contract=digest)
            end = time.monotonic() + 30
            sent = 0
            while found.connections and time.monotonic() < end:
                try:
                    sent += ours.send(large[sent % len(large) :])
                except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                    await asyncio.sleep(0.01)
            assert not found.connections
            ours.close()

    asyncio.run(main())
