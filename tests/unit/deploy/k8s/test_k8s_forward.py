# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A forwarded connection whose pod is gone: another pod is told the same, or the caller learns that its call did not run.

The API server's part is played by socket pairs that end as the kubelet's do; tests/e2e has the real one.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from turbolift.deploy.k8s.cluster import ApiError, Cluster
from turbolift.deploy.k8s.forward import Forward, socket_folder
from turbolift.deploy.k8s.pod import PORT

REFUSED = (
    'error forwarding port 8080 to pod 1f, uid : failed to execute portforward in network namespace "/n": '
    "failed to connect to localhost:8080 inside namespace, IPv4: dial tcp4 127.0.0.1:8080: connect: connection refused"
)


@dataclass
class Tunnel:
    """What the Kubernetes client returns of a port-forward."""

    here: socket.socket
    said: str | None = None

    def socket(self, port: int) -> socket.socket:
        """Return the socket."""
        assert port == PORT
        return self.here

    def error(self, port: int) -> str | None:
        """Return what the kubelet said."""
        assert port == PORT
        return self.said


@dataclass
class Pods:
    """Pods by how they behave: "answers", "refuses" (its process was killed), "breaks" (reads, and dies), "unknown" to the API."""

    behaviours: dict[str, str]
    asked: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)

    def open_forward(self, pod: str, port: int) -> Tunnel:
        """Return the tunnel to a pod."""
        self.asked.append(pod)
        if self.behaviours[pod] == "unknown":
            raise ApiError("no port-forward to pod: pods not found")
        here, there = socket.socketpair()
        tunnel = Tunnel(here)
        threading.Thread(target=self._behave, args=(pod, tunnel, there), daemon=True).start()
        return tunnel

    def _behave(self, pod: str, tunnel: Tunnel, there: socket.socket) -> None:
        with there:
            said = b""
            while not said.endswith(b"body"):
                said += there.recv(1 << 16)
            if self.behaviours[pod] == "refuses":
                tunnel.said = REFUSED
                return
            self.ran.append(pod)
            if self.behaviours[pod] == "answers":
                there.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(pod) + pod.encode())


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for the socket."""
    with socket_folder() as path:
        yield path


def ask(folder: Path, pods: Pods, names: Sequence[str] | None = None) -> tuple[int, bytes]:
    """Send one call and return the answer's status and body. Raises RemoteDisconnected where there is none."""
    names = list(pods.behaviours) if names is None else names
    forward = Forward(cast(Cluster, pods), folder / "s", lambda: names)
    connection: Any = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(20)
        connection.sock.connect(str(folder / "s"))
        connection.request("POST", "/v1/functions/m:f", body=b"body")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
        forward.close()


def test_the_next_pod_is_told_what_the_killed_one_never_heard(folder: Path) -> None:
    pods = Pods({"killed": "refuses", "gone": "unknown", "alive": "answers"})
    assert ask(folder, pods) == (200, b"alive")
    assert pods.ran == ["alive"]


def test_what_may_have_run_is_not_sent_again(folder: Path) -> None:
    pods = Pods({"dies": "breaks", "alive": "answers"})
    with pytest.raises(http.client.RemoteDisconnected):
        ask(folder, pods)
    assert pods.ran == ["dies"]


@pytest.mark.parametrize("behaviours", [{}, {"one": "unknown", "two": "unknown"}, {"one": "refuses"}])
def test_a_caller_that_reaches_nobody_knows_that_its_call_did_not_run(
    folder: Path, behaviours: dict[str, str]
) -> None:
    pods = Pods(behaviours)
    status, body = ask(folder, pods)
    assert status == 503
    assert json.loads(body)["type"] == "urn:turbolift:problem:not-ready"
    assert pods.ran == []
    # Each was asked, and the refusing one more than once: it may be started again meanwhile.
    assert set(pods.asked) == set(behaviours)
