# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A call that is sent again runs once per server: by the same key it gets the answer that was given, or joins the run."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift.shim.memory import LARGEST, Known, Memory, mark_of
from turbolift.shim.servant import USUAL, Answer

Standing = Callable[..., Any]
NAMES = ("inline", "threads", "processes", "asynchronous")


def dial(endpoint: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(endpoint.removeprefix("unix://"))
    return sock


def request(
    name: str, key: str, path: Path, seconds: float = 0.0, fails: bool = False, attempt: int = 1
) -> bytes:
    args = {"path": str(path), "seconds": seconds, "fails": fails}
    body = json.dumps({"args": args}).encode()
    again = f"Turbolift-Attempt: {attempt}\r\n" if attempt > 1 else ""
    return (
        f"POST /v1/functions/served_again:{name} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: {key}\r\n{again}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def answer(sock: socket.socket) -> tuple[int, Any]:
    with sock.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        size = 0
        while (line := stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        return status, json.loads(stream.read(size))


def ask(endpoint: str, *arguments: Any, **options: Any) -> tuple[int, Any]:
    with dial(endpoint) as sock:
        sock.sendall(request(*arguments, **options))
        return answer(sock)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_an_answer_is_given_again(standing: Standing, tmp_path: Path, name: str, fails: bool) -> None:
    shim = standing(f"served_again:{name}")
    path = tmp_path / "ran"
    key = f"kept-{name}-{fails}"
    first = ask(shim.endpoint, name, key, path, fails=fails)
    again = ask(shim.endpoint, name, key, path, fails=fails, attempt=2)
    assert first[0] == (500 if fails else 200)
    assert again == first
    # Foreign clients count no attempts.
    assert ask(shim.endpoint, name, key, path, fails=fails) == first
    assert path.read_text() == "be"
    assert ask(shim.endpoint, name, f"{key}-2", path, fails=fails) == first
    assert path.read_text() == "bebe"


@pytest.mark.parametrize("name", ["threads", "processes", "asynchronous"])
def test_a_call_whose_connection_was_cut_joins_its_run(standing: Standing, tmp_path: Path, name: str) -> None:
    shim = standing(f"served_again:{name}")
    for number in range(5):
        path = tmp_path / f"ran-{number}"
        asked = (name, f"cut-{name}-{number}", path)
        with dial(shim.endpoint) as sock:
            sock.sendall(request(*asked, seconds=0.3))
            while not path.exists():
                pass
        with dial(shim.endpoint) as second, dial(shim.endpoint) as third:
            for attempt, sock in enumerate((second, third), 2):
                sock.sendall(request(*asked, seconds=0.3, attempt=attempt))
            assert answer(second) == answer(third) == (200, {"result": str(path)})
        assert path.read_text() == "be"


def test_a_caller_that_is_gone_frees_its_place(standing: Standing, tmp_path: Path) -> None:
    shim = standing("served_again:asynchronous")
    path = tmp_path / "ran"
    with dial(shim.endpoint) as sock:
        sock.sendall(request("asynchronous", "gone", path, seconds=600.0))
        while not path.exists():
            pass
    while path.read_text() != "bc":
        pass
    # It was given up: sent again only now, it runs.
    with dial(shim.endpoint) as sock:
        sock.sendall(request("asynchronous", "gone", path, seconds=600.0, attempt=2))
        while path.read_text() != "bcb":
            pass


@pytest.mark.parametrize("name", NAMES)
def test_a_key_is_of_one_call(standing: Standing, tmp_path: Path, name: str) -> None:
    shim = standing(f"served_again:{name}")
    key = f"reused-{name}"
    assert ask(shim.endpoint, name, key, tmp_path / "a")[0] == 200
    status, problem = ask(shim.endpoint, name, key, tmp_path / "b")
    assert (status, problem["type"]) == (422, "urn:turbolift:problem:key-reused")
    assert not (tmp_path / "b").exists()


def test_the_public_call_through_cut_connections(
    deployment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that cuts each first connection after the request: the call has its result, and ran once."""
    from served_again import asynchronous, inline  # type: ignore[import-not-found]

    for function in (inline, asynchronous):
        identity = function.identity
        shim = deployment.start(identity)
        front = deployment.folder / f"front-{function.__name__}"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(front))
            listening.listen()

            def serve(listening: socket.socket = listening, shim: Any = shim) -> None:
                first, _ = listening.accept()
                with dial(shim.endpoint) as back, first:
                    back.sendall(first.recv(65536))
                    back.recv(65536)
                second, _ = listening.accept()
                with dial(shim.endpoint) as back, second:
                    back.sendall(second.recv(65536))
                    second.sendall(back.recv(65536))

            proxy = threading.Thread(target=serve)
            proxy.start()
            deployment.publish(identity, f"unix://{front}")
            path = tmp_path / function.__name__
            assert function.call(str(path)) == str(path)
            proxy.join()
            assert path.read_text() == "be"


TEXTS = st.binary(min_size=1, max_size=64)


@given(
    st.lists(st.tuples(TEXTS, TEXTS, st.binary(max_size=5000), st.booleans()), max_size=60),
    st.integers(0, 40_000),
)
def test_what_is_found_was_kept(calls: list[tuple[bytes, bytes, bytes, bool]], most: int) -> None:
    memory = Memory(most=most, seconds=60.0)
    kept: dict[bytes, tuple[bytes, Answer]] = {}
    for now, (key, body, text, usual) in enumerate(calls):
        made = Answer(200, USUAL if usual else {"Content-Type": "x"}, [text], "ok")
        memory.keep(key, body, made, now / 10)
        kept[key] = body, made
    for key, (body, made) in kept.items():
        found = memory.find(key, len(calls) / 10)
        assert found is None or found == Known(mark_of(body), made)
    # Each takes half a thousand bytes, and one more than the limit closes a generation.
    assert len(memory) <= most / 512 + 2


def test_it_forgets() -> None:
    memory = Memory(seconds=10.0)
    usual = Answer(200, USUAL, [b"1"], "ok")
    memory.keep(b"a", b"body", usual, 100.0)
    assert memory.find(b"a", 105.0) == Known(b"body", usual)
    assert memory.find(b"a", 110.1) is None
    memory.keep(b"b", b"body", usual, 120.0)
    memory.keep(b"c", b"body", usual, 126.0)
    assert memory.find(b"a", 126.0) is None
    for outcome in ("worker-died", "deadline", "overloaded"):
        memory.keep(b"d", b"body", Answer(500, {}, [b"1"], outcome), 126.0)
    memory.keep(b"d", b"body", Answer(200, USUAL, [b"1" * (LARGEST + 1)], "ok"), 126.0)
    assert memory.find(b"d", 126.0) is None


def test_marks_tell_bodies_apart() -> None:
    large = bytearray(200_000)
    for at in (0, 60_000, 199_999):
        other = bytearray(large)
        other[at] = 1
        assert mark_of(large) != mark_of(other)
    assert mark_of(large) == mark_of(bytes(large)) == mark_of(memoryview(large))
    assert mark_of(large) != mark_of(large[1:])
    assert mark_of(bytearray(b"x")) == b"x"


def test_a_run_that_was_given_up_is_not_joined() -> None:
    from turbolift.shim.memory import Run

    async def main() -> None:
        async def slow() -> Answer:
            try:
                await asyncio.sleep(600)
            finally:
                await asyncio.sleep(0)
            raise AssertionError

        run = Run(b"")
        run.task = asyncio.create_task(slow())
        waits = [asyncio.create_task(run.answer()) for _ in range(2)]
        await asyncio.sleep(0)
        waits[0].cancel()
        await asyncio.sleep(0.2)
        assert not run.given_up
        waits[1].cancel()
        await run.over()
        assert run.given_up
        assert run.task.cancelled()

    asyncio.run(main())
