# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Servers that misbehave in a scripted way, on real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from turbolift.client import Caller, Policy, default_transport, parse_table
from turbolift.contract import contract_of


def add(a: int, b: int = 1) -> int:
    return a + b


CONTRACT = contract_of(add)


def answer(status: int, body: bytes, kind: str = "application/json", *headers: str) -> bytes:
    """Return a whole HTTP answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def problem(kind: str, **facts: Any) -> bytes:
    from turbolift.wire import Problem

    made = Problem(kind, "said the server", facts)
    return answer(made.status, made.body(), "application/problem+json")


def result(value: Any) -> bytes:
    return answer(200, json.dumps({"result": value}).encode())


class Last(bytes):
    """An answer after which the server closes the connection without having said so."""


class Scripted:
    """A server at a unix socket or (host, port): each request gets the next step of the script, the last one again and again.

    A step is the bytes to answer, or None to close the connection without a word. Attributes: ``requests`` (heads and
    bodies), ``connections``.
    """

    def __init__(self, where: Path | tuple[str, int], steps: list[bytes | None]) -> None:
        self.steps = steps
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections = 0
        self._lock = threading.Lock()
        if isinstance(where, Path):
            self.endpoint = f"unix://{where}"
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(str(where))
        else:
            self._socket = socket.socket()
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(where)
            self.port = self._socket.getsockname()[1]
            self.endpoint = f"http://{where[0]}:{self.port}"
        self._socket.listen(100)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # a thread that accepts keeps it open
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            received = b""
            while True:
                while b"\r\n\r\n" not in received:
                    more = connection.recv(65536)
                    if not more:
                        return
                    received += more
                head, _, rest = received.partition(b"\r\n\r\n")
                size = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if b"content-length" in line
                )
                while len(rest) < size:
                    rest += connection.recv(65536)
                received = rest[size:]
                with self._lock:
                    step = self.steps[min(len(self.requests), len(self.steps) - 1)]
                    self.requests.append((head, rest[:size]))
                if step is None:
                    return
                connection.sendall(step)
                if isinstance(step, Last):
                    return
                if b"connection: close" in step.lower() or b"Content-Length: 999999" in step:
                    return


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tl-") as name:
        yield Path(name)


@pytest.fixture
def scripted(folder: Path) -> Iterator[Callable[..., Scripted]]:
    """Return a function that starts a scripted server."""
    made: list[Scripted] = []

    def start(*steps: bytes | None, at: tuple[str, int] | None = None) -> Scripted:
        made.append(Scripted(at or folder / f"s{len(made)}", list(steps)))
        return made[-1]

    yield start
    for server in made:
        server.close()


@pytest.fixture
def call() -> Callable[..., Any]:
    """Return a function that makes one call of ``m:add`` to an endpoint, in a loop of its own."""

    def run(endpoint: str, *args: int, policy: Policy | None = None, times: int = 1, **route: Any) -> Any:
        entry = {"version": "0" * 64, "endpoint": endpoint, "contract": CONTRACT.digest, **route}
        table = {
            "version": 1,
            "deployment": "d",
            "platform": "p",
            "generation": 1,
            "routes": {"m:add": entry},
        }
        parsed = parse_table(table, "test")

        async def main() -> Any:
            caller = Caller(
                default_transport(), lambda: parsed, policy or Policy(first=0.001, refused=0.3, busy=0.3)
            )
            for _ in range(times):
                found = await caller.call("m:add", CONTRACT, args or (1,), {})
            return found

        return asyncio.run(main())

    return run


@pytest.fixture
def says() -> Any:
    """Return the makers of answers."""

    class Says:
        answer = staticmethod(answer)
        problem = staticmethod(problem)
        result = staticmethod(result)
        contract = CONTRACT
        last = Last

    return Says
