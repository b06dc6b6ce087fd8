# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Real servers for the tests: user modules on disk, ``python -m turbolift.shim`` in subprocesses, unix sockets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from turbolift.client.routes import MOMENT
from unit.shim.odd_modules import ODD_MODULES
from unit.shim.served_modules import MODULES


def http_get(endpoint: str, path: str, *, raw: bytes | None = None) -> tuple[int, bytes, bytes]:
    """Return status, head and body of one request without keep-alive."""
    if endpoint.startswith("unix://"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(endpoint.removeprefix("unix://"))
    else:
        host, port = endpoint.removeprefix("http://").rsplit(":", 1)
        connection = socket.create_connection((host, int(port)), timeout=20)
    with connection:
        connection.sendall(raw or f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while not _whole(received) and (chunk := connection.recv(65536)):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, body


def _whole(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    sizes = [
        line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    ]
    return bool(end and sizes) and len(body) >= int(sizes[0])


class Shim:
    """One server in a subprocess."""

    def __init__(self, folder: Path, identity: str, *options: str, **env: str) -> None:
        self.identity = identity
        self.log = folder / "log"
        self.socket = folder / "s"
        self.endpoint = f"unix://{self.socket}"
        if "--port" not in options and "--uds" not in options:
            options = (*options, "--uds", str(self.socket))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "turbolift.shim", "--function", identity, *options],
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **env},
            )

    def wait_until(self, status: int = 200, path: str = "/readyz") -> None:
        """Wait until a GET has this status; fails with the server's log."""
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if http_get(self.endpoint, path)[0] == status:
                    return
            except (OSError, IndexError):
                pass
            time.sleep(0.02)
        raise AssertionError(f"{self.identity} does not get ready:\n{self.text()}")

    def text(self) -> str:
        return self.log.read_text()

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def stop(self, number: int = signal.SIGTERM, timeout: float = 60) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)


class Deployment:
    """Servers and the route table that leads to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "routes.json"
        self.routes: dict[str, dict[str, Any]] = {}
        self.generation = 0
        self.shims: list[Shim] = []

    def start(self, identity: str, *options: str, ready: bool = True, **env: str) -> Shim:
        """Start a server, wait for it, and publish its route."""
        folder = self.folder / str(len(self.shims))
        folder.mkdir()
        shim = Shim(folder, identity, *options, **env)
        self.shims.append(shim)
        if ready:
            shim.wait_until()
            self.publish(identity, shim.endpoint)
        return shim

    def publish(self, identity: str, endpoint: str, **facts: Any) -> None:
        import importlib

        module, _, qualname = identity.partition(":")
        function: Any = importlib.import_module(module)
        for part in qualname.split("."):
            function = getattr(function, part)
        options = function.options
        route = {
            "version": f"{self.generation:064x}",
            "endpoint": endpoint,
            "contract": function.contract.digest,
            "timeout": options.timeout,
            "idempotent": options.idempotent,
            **facts,
        }
        self.routes[identity] = route
        self.write()

    def write(self) -> None:
        self.generation += 1
        table = {
            "version": 1,
            "deployment": "test",
            "platform": "local",
            "generation": self.generation,
            "routes": self.routes,
        }
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(table))
        beside.replace(self.path)
        time.sleep(2 * MOMENT)  # whoever calls next looks again

    def stop(self) -> None:
        for shim in self.shims:
            if shim.process.poll() is None:
                shim.process.kill()
            shim.process.wait()


@pytest.fixture(scope="session", autouse=True)
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the user modules, importable here and in the servers."""
    folder = tmp_path_factory.mktemp("modules")
    for name, text in (MODULES | ODD_MODULES).items():
        (folder / f"{name}.py").write_text(text)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def served() -> Any:
    """The user's module, as the caller sees it."""
    import importlib

    return importlib.import_module("served")


@pytest.fixture
def switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURBOLIFT", "on")


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """An empty deployment of this test, switched on."""
    # Paths of unix sockets are short: pytest's own folders may not be.
    import tempfile

    with tempfile.TemporaryDirectory(prefix="tl-") as folder:
        found = Deployment(Path(folder))
        monkeypatch.setenv("TURBOLIFT", "on")
        monkeypatch.setenv("TURBOLIFT_ROUTES", str(found.path))
        try:
            yield found
        finally:
            found.stop()


@pytest.fixture(scope="session")
def shared(modules: Path) -> Iterator[Deployment]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="tl-") as folder:
        found = Deployment(Path(folder))
        try:
            yield found
        finally:
            found.stop()


@pytest.fixture
def standing(shared: Deployment, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Shim]:
    """Return a function that gives a server which the tests share, switched on: they must leave it as it was."""
    monkeypatch.setenv("TURBOLIFT", "on")
    monkeypatch.setenv("TURBOLIFT_ROUTES", str(shared.path))

    def get(*identities: str) -> Shim:
        for identity in identities:
            if identity not in shared.routes:
                # A server calls others by the same table.
                shared.start(
                    identity, "--log-level", "debug", TURBOLIFT="on", TURBOLIFT_ROUTES=str(shared.path)
                )
        return next(shim for shim in shared.shims if shim.identity == identities[0])

    return get


@pytest.fixture(scope="module")
def both(modules: Path) -> Iterator[tuple[Shim, Shim]]:
    """Two servers of ``served:act``: with the lane, and with aiohttp alone."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="tl-") as folder:
        servers = []
        for kind in ("lane", "aiohttp"):
            (Path(folder) / kind).mkdir()
            servers.append(Shim(Path(folder) / kind, "served:act", TURBOLIFT_HTTP=kind))
        try:
            for server in servers:
                server.wait_until()
            yield servers[0], servers[1]
        finally:
            for server in servers:
                server.process.kill()
                server.process.wait()


@pytest.fixture(scope="module")
def large(modules: Path) -> Any:
    import importlib

    return importlib.import_module("served_large")


@pytest.fixture(scope="module")
def shims(modules: Path) -> Iterator[Callable[[str, str], Shim]]:
    """Return a function that gives a server of a function of served_large, which the tests share, and a way."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="tl-") as folder:
        there: dict[tuple[str, str], Shim] = {}

        def get(name: str, way: str) -> Shim:
            if (name, way) not in there:
                place = Path(folder) / f"{name}-{way}"
                place.mkdir()
                there[name, way] = Shim(place, f"served_large:{name}", TURBOLIFT_HTTP=way)
                there[name, way].wait_until()
            return there[name, way]

        try:
            yield get
        finally:
            for shim in there.values():
                shim.process.kill()
                shim.process.wait()


@pytest.fixture
def http() -> Callable[[str], Callable[..., tuple[int, Any]]]:
    """Return a function that posts raw bodies to ``served:act`` at an endpoint."""

    def at(endpoint: str) -> Callable[..., tuple[int, Any]]:
        def post(
            body: bytes, content_type: str, *headers: str, identity: str = "served:act"
        ) -> tuple[int, Any]:
            lines = [
                f"POST /v1/functions/{identity} HTTP/1.1",
                "Host: x",
                "Connection: close",
                f"Content-Type: {content_type}",
                f"Content-Length: {len(body)}",
                *headers,
            ]
            status, _, answer = http_get(endpoint, "", raw="\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            return status, json.loads(answer)

        return post

    return at


@pytest.fixture
def get() -> Callable[..., tuple[int, bytes, bytes]]:
    """Return ``http_get``."""
    return http_get
