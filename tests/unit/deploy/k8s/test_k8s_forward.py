# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What is sent to a pod whose port is refused was taken by nobody: it goes to the next one. All else goes nowhere twice."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from turbolift.deploy.k8s.cluster import ApiError, Cluster
from turbolift.deploy.k8s.forward import Forward


class Tunnel:
    """A port-forward as an API server gives it: open at once, and connected to the pod's port when bytes come."""

    def __init__(self, port: int) -> None:
        self._here, there = socket.socketpair()
        self._error: str | None = None
        self.there = there
        threading.Thread(target=self._run, args=(port,), daemon=True).start()

    def socket(self, port: int) -> socket.socket:
        return self.there

    def error(self, port: int) -> str | None:
        return self._error

    def _run(self, port: int) -> None:
        with self._here, contextlib.suppress(OSError):
            data = self._here.recv(1 << 16)
            try:
                pod = socket.create_connection(("127.0.0.1", port))
            except ConnectionRefusedError as error:
                self._error = f"failed to execute portforward in network namespace: {error}"
                return
            with pod:
                while data:
                    pod.sendall(data)
                    answer = pod.recv(1 << 16)
                    if not answer:
                        return
                    self._here.sendall(answer)
                    data = self._here.recv(1 << 16)


class Pods:
    """Pods by name: the port where each listens, or 0 for one that is gone from the API server."""

    def __init__(self, **ports: int) -> None:
        self.ports = ports
        self.asked: list[str] = []

    def open_forward(self, pod: str, port: int) -> Tunnel:
        self.asked.append(pod)
        if not self.ports[pod]:
            raise ApiError("no such pod", status=404)
        return Tunnel(self.ports[pod])


class Server:
    """A TCP server that counts what it was sent; `answer` says what comes back, nothing is a death."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        got = self.got = list[bytes]()

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                while data := self.request.recv(1 << 16):
                    got.append(data)
                    said = answer(data)
                    if not said:
                        return
                    self.request.sendall(said)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it; its port is refused from then on."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Callable[[Callable[[bytes], bytes]], Server]]:
    """A maker of servers."""
    with contextlib.ExitStack() as stack:

        def make(answer: Callable[[bytes], bytes]) -> Server:
            one = Server(answer)
            stack.callback(one.close)
            return one

        yield make


@contextlib.contextmanager
def connected(pods: Pods, path: Path) -> Iterator[socket.socket]:
    """Give a connection through a forward to the pods."""
    forward = Forward(cast("Cluster", pods), path, lambda: list(pods.ports))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(30)
            sock.connect(str(path))
            yield sock
    finally:
        forward.close()


def refused_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def test_what_a_dead_port_refused_is_sent_to_the_next_pod(server: Any, tmp_path: Path) -> None:
    alive = server(lambda data: b"answer to " + data)
    pods = Pods(gone=0, dead=refused_port(), well=alive.port)
    with connected(pods, tmp_path / "s") as sock:
        sock.sendall(b"first")
        assert sock.recv(100) == b"answer to first"
        # The connection stays where it is.
        sock.sendall(b"second")
        assert sock.recv(100) == b"answer to second"
    assert alive.got == [b"first", b"second"]
    assert pods.asked == ["gone", "dead", "dead", "well"]


def test_what_a_pod_took_before_it_died_is_sent_to_no_other(server: Any, tmp_path: Path) -> None:
    dies = server(lambda data: b"")
    other = server(lambda data: b"answer")
    with connected(Pods(a=dies.port, b=other.port), tmp_path / "s") as sock:
        sock.sendall(b"once")
        assert sock.recv(100) == b""
    assert dies.got == [b"once"]
    assert other.got == []
