# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Calls that are sent ahead to worker processes: each runs once, whatever becomes of the others on its worker and its connection."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from turbolift.errors import DeadlineExceeded, WorkerDied
from turbolift.shim.board import RING, SURE, Board
from turbolift.shim.dispatch import Dispatcher
from turbolift.shim.gate import Gate
from turbolift.shim.lane.answers import PATIENCE
from turbolift.shim.load import load
from turbolift.shim.metrics import Metrics
from turbolift.shim.processes import DEPTH
from turbolift.shim.servant import USUAL, Answer
from turbolift.shim.worker import Ticket
from unit.shim.callers import WAYS, Calls

WORKERS = 2
WARM = 200
"""Quick calls after which others are sent ahead."""


@pytest.fixture
def act(served: Any) -> Any:
    return importlib.import_module("served_ahead").act


@pytest.fixture(params=["posted", "dispatched"])
def shim(deployment: Any, request: pytest.FixtureRequest) -> Any:
    """A server whose calls have a task of their own or, as most have where nothing is written down about each, do not."""
    options = ["--log-level", "debug"] if request.param == "dispatched" else []
    return deployment.start("served_ahead:act", *options)


def ran(path: Path) -> list[int]:
    """Return the numbers of the calls that have begun, in order."""
    return [int(line) for line in path.read_text().split()] if path.exists() else []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(50):
        while not condition():
            await asyncio.sleep(0.005)


async def warm(calls: Calls) -> None:
    for _ in range(WARM // 8):
        await asyncio.gather(*(calls("warm") for _ in range(8)))


@pytest.mark.parametrize("way", WAYS)
def test_a_dying_worker_takes_its_own_call_alone(shim: Any, act: Any, tmp_path: Path, way: str) -> None:
    path = tmp_path / "ran"

    async def main() -> list[Any]:
        async with Calls(act, shim.endpoint, way) as calls:
            await warm(calls)
            return await asyncio.gather(
                *(calls("exit" if at % 20 == 7 else "say", str(path), at) for at in range(100)),
                return_exceptions=True,
            )

    for at, got in enumerate(asyncio.run(main())):
        if at % 20 == 7:
            assert isinstance(got, WorkerDied), got
            assert got.status == 3
        else:
            assert got == str(at)
    assert sorted(ran(path)) == [*range(100)]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_behind_a_slow_call_runs_elsewhere(shim: Any, act: Any, tmp_path: Path, way: str) -> None:
    path = tmp_path / "ran"

    async def main() -> None:
        async with Calls(act, shim.endpoint, way) as ours, Calls(act, shim.endpoint, way) as others:
            await warm(ours)
            await warm(others)
            held = [
                asyncio.ensure_future(ours("hold" if at == 3 else "say", str(path), at)) for at in range(16)
            ]
            await until(lambda: 3 in ran(path))
            # Those of another caller do not wait for it at all, and those of the same one run.
            answers = [others("say", str(path), at) for at in range(16, 48)]
            assert await asyncio.gather(*answers) == [str(at) for at in range(16, 48)]
            await until(lambda: len(ran(path)) == 48)
            assert not held[3].done()
            path.with_name("ran.go").touch()
            assert await asyncio.gather(*held) == [str(at) for at in range(16)]

    asyncio.run(main())
    assert sorted(ran(path)) == [*range(48)]


@pytest.mark.parametrize("way", WAYS)
def test_a_deadline_ends_one_call_alone(shim: Any, act: Any, tmp_path: Path, way: str) -> None:
    path = tmp_path / "ran"

    async def main() -> list[Any]:
        async with Calls(act, shim.endpoint, way) as calls:
            await warm(calls)
            return await asyncio.gather(
                *(
                    calls("hold" if at == 5 else "say", str(path), at, timeout=1.0 if at == 5 else 50.0)
                    for at in range(16)
                ),
                return_exceptions=True,
            )

    for at, got in enumerate(asyncio.run(main())):
        if at == 5:
            assert isinstance(got, DeadlineExceeded)
        else:
            assert got == str(at)
    assert sorted(ran(path)) == [*range(16)]


@pytest.mark.parametrize("way", WAYS)
def test_what_nobody_waits_for_is_not_begun(shim: Any, act: Any, tmp_path: Path, way: str) -> None:
    path = tmp_path / "ran"

    async def main() -> None:
        async with Calls(act, shim.endpoint, way) as gone, Calls(act, shim.endpoint, way) as calls:
            await warm(gone)
            await warm(calls)
            tasks = [asyncio.ensure_future(gone("hold", str(path), at)) for at in range(16)]
            await until(lambda: len(ran(path)) == WORKERS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # Both workers were killed for them, and the next ones serve.
            assert await asyncio.gather(*(calls("say", str(path), at) for at in range(16, 48))) == [
                str(at) for at in range(16, 48)
            ]

    asyncio.run(main())
    # The cancellations come one by one: a worker may have begun with another one before its own was known.
    assert sorted(ran(path))[-32:] == [*range(16, 48)]
    assert len(ran(path)) < 32 + 16
    assert len({*ran(path)}) == len(ran(path))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_given_up_holds_up_nobody(shim: Any, act: Any, tmp_path: Path, way: str) -> None:
    path = tmp_path / "ran"

    async def main() -> None:
        async with Calls(act, shim.endpoint, way) as calls:
            await warm(calls)
            tasks = [
                asyncio.ensure_future(calls("hold" if at == 2 else "say", str(path), at)) for at in range(16)
            ]
            await until(lambda: len(ran(path)) == 16)
            tasks[2].cancel()
            others = [*tasks[:2], *tasks[3:]]
            assert await asyncio.gather(*others) == [str(at) for at in range(16) if at != 2]
            # Its slot is free, and its worker ended: both that are there now can be had.
            await until(lambda: len(shim.logged("worker replaced")) == 1)
            held = [asyncio.ensure_future(calls("hold", str(path), at)) for at in (16, 17)]
            await until(lambda: len(ran(path)) == 18)
            path.with_name("ran.go").touch()
            assert await asyncio.gather(*held) == ["16", "17"]

    asyncio.run(main())
    assert sorted(ran(path)) == [*range(18)]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_sent_behind_a_slow_call(shim: Any, act: Any, tmp_path: Path, way: str) -> None:
    path = tmp_path / "ran"

    async def main() -> None:
        async with Calls(act, shim.endpoint, way) as calls:
            await warm(calls)
            held = asyncio.ensure_future(calls("hold", str(path), 0))
            await until(lambda: ran(path) == [0])
            await asyncio.sleep(2 * float(PATIENCE))
            assert await asyncio.gather(*(calls("say", str(path), at) for at in range(1, 20))) == [
                str(at) for at in range(1, 20)
            ]
            assert not held.done()
            path.with_name("ran.go").touch()
            assert await held == "0"

    asyncio.run(main())
    assert sorted(ran(path)) == [*range(20)]


def test_who_does_not_know_the_key_cancels_nothing(shim: Any, act: Any, tmp_path: Path) -> None:
    path = tmp_path / "ran"

    async def main() -> None:
        async with Calls(act, shim.endpoint, "lane") as calls:
            await warm(calls)
            held = asyncio.ensure_future(calls("hold", str(path), 0))
            await until(lambda: ran(path) == [0])
            for key in ("0" * 32, "", "0" * 31, "*" * 32):
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(shim.endpoint.removeprefix("unix://"))
                    sock.sendall(
                        f"DELETE /v1/calls/{key} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
                    )
                    assert sock.recv(1 << 16).startswith(b"HTTP/1.1 404")
            path.with_name("ran.go").touch()
            assert await held == "0"

    asyncio.run(main())


@pytest.mark.parametrize("way", WAYS)
def test_answers_of_all_kinds_keep_their_order(shim: Any, act: Any, tmp_path: Path, way: str) -> None:
    path = tmp_path / "ran"
    kinds = ["0", "say", "70000", "fail", "3000000", "say", "1000", "say"]

    async def main() -> list[Any]:
        async with Calls(act, shim.endpoint, way) as calls:
            await warm(calls)
            return await asyncio.gather(
                *(calls(kinds[at % len(kinds)], str(path), at) for at in range(64)), return_exceptions=True
            )

    for at, got in enumerate(asyncio.run(main())):
        kind = kinds[at % len(kinds)]
        if kind == "fail":
            assert type(got) is KeyError
            assert got.args == (at,)
        else:
            assert got == ("x" * int(kind) if kind.isdigit() else str(at))
    assert sorted(ran(path)) == [*range(64)]


@pytest.mark.parametrize("way", WAYS)
def test_a_drain_answers_all_that_were_sent_ahead(shim: Any, act: Any, tmp_path: Path, way: str) -> None:
    path = tmp_path / "ran"

    async def main() -> None:
        async with Calls(act, shim.endpoint, way) as calls:
            await warm(calls)
            tasks = [
                asyncio.ensure_future(calls("hold" if at == 0 else "say", str(path), at)) for at in range(16)
            ]
            await until(lambda: len(ran(path)) == 16)
            os.kill(shim.process.pid, signal.SIGTERM)
            await until(lambda: bool(shim.logged("draining")))
            path.with_name("ran.go").touch()
            assert await asyncio.gather(*tasks) == [str(at) for at in range(16)]

    asyncio.run(main())
    assert shim.process.wait(60) == 0
    assert sorted(ran(path)) == [*range(16)]


def test_a_board_tells_what_has_begun_and_what_was_taken_back() -> None:
    assert DEPTH < RING
    assert SURE > 0
    board = Board(2)
    assert board.begin(0, 1)
    board.take_back(0, 3)
    assert board.begin(0, 2)
    assert not board.begin(0, 3)
    assert (board.begun(0), board.begun(1)) == (3, 0)
    assert board.begin(0, 3 + RING)  # what was skipped is no more
    board.take_back(1, 1)
    board.clear(1)
    assert board.begin(1, 1)


def test_a_board_is_shared_with_who_is_forked() -> None:
    board = Board(1)
    board.take_back(0, 2)
    pid = os.fork()
    if pid == 0:
        os._exit(10 * board.begin(0, 1) + board.begin(0, 2))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 10
    assert board.begun(0) == 2


class Kept:
    """A runner that keeps what is posted. ``over``: a worker has died, of whose call it says so only later."""

    stops = True

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.over = False

    async def start(self) -> None:
        pass

    async def run(self, content_type: str, body: Any, release: Callable[[float], None]) -> Answer:
        raise NotImplementedError

    async def close(self) -> bool:
        return True

    def post(self, ticket: Ticket) -> None:
        self.tickets.append(ticket)

    def flush(self) -> None:
        pass

    def withdraw(self, ticket: Ticket) -> float | None:
        return None if self.over else time.monotonic()


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("how", ["settle", "abandon", "give_up", "cancel"])
def test_each_posted_call_gives_back_its_place_once(act: Any, how: str, over: bool) -> None:
    async def main() -> None:
        gate = Gate(2, 6)
        runner = Kept()
        dispatcher = Dispatcher(load("served_ahead:act"), gate, runner, Metrics("served_ahead:act", gate))
        told: list[str] = []
        call = dispatcher.post(b"{}", 50.0, b"", b"k", lambda: told.append("told"))
        assert call is not None
        assert (gate.running, gate.queued) == (1, 0)
        runner.over = over and how != "settle"
        answer = Answer(200, USUAL, [b"{}"], "ok")
        if how == "settle":
            call.settle(answer, time.monotonic(), time.monotonic())
        else:
            getattr(call, how)()
        if runner.over:
            assert gate.running == 1  # until it is known how the worker ended
            call.settle(answer, time.monotonic(), time.monotonic())
        assert (gate.running, gate.queued) == (0, 0)
        assert told == ([] if how == "abandon" else ["told"])
        async with asyncio.timeout(50):
            await gate.empty()
        # With one place given back twice, the next call's would count for nothing.
        assert dispatcher.post(b"{}", 50.0, b"", b"l", lambda: None) is not None
        waiting = asyncio.ensure_future(gate.empty())
        await asyncio.sleep(0)
        assert not waiting.done()
        runner.tickets[-1].settle(answer, time.monotonic(), time.monotonic())
        await waiting

    asyncio.run(main())


def test_what_goes_ahead_waits_all_the_same() -> None:
    async def main() -> None:
        gate = Gate(2, 6)
        gate.ahead = 3
        for _ in range(5):
            assert gate.is_open()
            gate.take()
        assert (gate.running, gate.queued, gate.is_open()) == (2, 3, False)
        gate.admit()
        waiting = asyncio.ensure_future(gate.enter())
        await asyncio.sleep(0)
        assert gate.queued == 4
        # Calls have become slow: no more than have a slot go to the runner from now on.
        gate.ahead = 0
        for held in (4, 3, 2):
            gate.exit()
            await asyncio.sleep(0)
            assert (gate.running + gate.queued, waiting.done()) == (held + 1, False)
        gate.exit()
        await waiting
        assert (gate.running, gate.queued) == (2, 0)

    asyncio.run(main())
