# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Processes on this machine: servers of the functions, their route table, and the load. All end with this process."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chaos.suite import userland
from chaos.suite.userland import STREAMS, Stream

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_CLONE_NEWNS = 0x00020000


class SceneError(Exception):
    """The run cannot go on."""


def end_with_parent() -> None:
    """In a child before its program: be killed when the parent dies, however it dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def own_mounts() -> bool:
    """Have this process's mounts for itself from now on; whether that could be had (it needs root)."""
    if os.geteuid() != 0 or _LIBC.unshare(_CLONE_NEWNS) != 0:
        return False
    return subprocess.run(["mount", "--make-rprivate", "/"], check=False, capture_output=True).returncode == 0


def free_ports(count: int) -> list[int]:
    """Return so many ports that nobody listens on."""
    with contextlib.ExitStack() as opened:
        found = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in found]


def children(pid: int) -> list[int]:
    """Return the child processes of `pid`, whichever of its threads made them."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


class Server:
    """One served function: a port, and the process that listens there now."""

    def __init__(self, stream: Stream, port: int) -> None:
        self.stream = stream
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def workers(self) -> list[int]:
        """Return its worker processes: they are forked by a child of the server."""
        if self.process is None or self.stream.kind != "processes":
            return []
        return [worker for zygote in children(self.process.pid) for worker in children(zygote)]


class Scene:
    """Servers and callers, below `folder`.

    `prefix`: what a command line starts with (another network; `network` says what it does); `env`: more environment
    of all processes. `log`: the folder of what servers say, and of their temporary files.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        say: Callable[[str], None],
        *,
        in_flight: int = 32,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        network: str = "",
    ) -> None:
        self.name = name
        self.network = network
        self.folder = folder
        self.say = say
        self.in_flight = in_flight
        self.prefix = list(prefix)
        self.log = folder / "log"
        self.record = folder / "record"
        modules = folder / "modules"
        for one in (self.log, self.record, modules):
            one.mkdir(parents=True)
        userland.write(modules)
        path = os.pathsep.join([str(modules), *filter(None, sys.path)])
        self.env = {
            **os.environ,
            "PYTHONPATH": path,
            "CHAOS_RECORD": str(self.record),
            "TURBOLIFT": "on",
            "TURBOLIFT_ROUTES": str(folder / "routes.json"),
            "TMPDIR": str(self.log),
            **(env or {}),
        }
        sys.path.insert(0, str(modules))
        self.servers = [
            Server(stream, port) for stream, port in zip(STREAMS, free_ports(len(STREAMS)), strict=True)
        ]
        self._generation = 0
        self._started: list[subprocess.Popen[bytes]] = []
        self._load: subprocess.Popen[bytes] | None = None

    # Processes.

    def spawn(self, *command: str, log: str | None = None, **env: str) -> subprocess.Popen[bytes]:
        """Start a program, which ends with this one at the latest; its standard output is a pipe where `log` is None."""
        to: Any = subprocess.PIPE
        with contextlib.ExitStack() as opened:
            if log is not None:
                to = opened.enter_context((self.log / log).open("ab"))
            process = subprocess.Popen(
                [*self.prefix, *command],
                env={**self.env, **env},
                stdin=subprocess.DEVNULL,
                stdout=to,
                stderr=None if log is None else subprocess.STDOUT,
                preexec_fn=end_with_parent,
                start_new_session=True,  # a terminal's ^C is for this program: it ends the others
            )
        self._started.append(process)
        return process

    def start(self, server: Server) -> None:
        """Start a server's process."""
        server.starts += 1
        server.process = self.spawn(
            sys.executable, "-m", "turbolift.shim", "--function", server.stream.identity,
            "--host", "127.0.0.1", "--port", str(server.port),
            log=f"{server.stream.name}.log",
            CHAOS_SERVER=f"{server.stream.name}-{server.starts}",
        )  # fmt: skip

    def kill(self, server: Server) -> None:
        """Kill a server's process."""
        assert server.process is not None
        server.process.kill()
        server.process.wait()

    def start_all(self) -> None:
        """Start the servers and the load; return when calls of every stream have had results."""
        for server in self.servers:
            self.start(server)
        self.publish()
        for server in self.servers:
            self.wait_ready(server)
        self._load = self.spawn(
            sys.executable, "-m", "chaos.suite.load", self.name, str(self.in_flight), str(self.folder / "calls.jsonl"),
            log="load.log",
        )  # fmt: skip
        self.wait("results of every stream", self._flowing)

    def stop_load(self) -> None:
        """Have the load end, and wait for its last call."""
        if self._load is None:
            return
        self._load.terminate()
        try:
            status = self._load.wait(60)
        except subprocess.TimeoutExpired:
            raise SceneError("the load does not end: a call hangs") from None
        if status:
            raise SceneError(f"the load ended with {status}: {self._said('load.log')}")

    def end(self) -> None:
        """Kill all that was started."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
        for process in self._started:
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    # What is so.

    def publish(self, ports: Mapping[int, int] | None = None) -> None:
        """Write the route table: to the servers, or where `ports` has it to another port instead."""
        self._generation += 1
        routes = {}
        for server in self.servers:
            stream = server.stream
            function = getattr(importlib.import_module(f"chaos_{stream.name}"), stream.name)
            port = (ports or {}).get(server.port, server.port)
            routes[stream.identity] = {
                "version": f"{self._generation:064x}",
                "endpoint": f"http://127.0.0.1:{port}",
                "contract": function.contract.digest,
                "timeout": function.options.timeout,
                "idempotent": function.options.idempotent,
            }
        table = {
            "version": 1,
            "deployment": "chaos",
            "platform": "local",
            "generation": self._generation,
            "routes": routes,
        }
        beside = self.folder / "routes.new"
        beside.write_text(json.dumps(table), "utf-8")
        beside.replace(self.folder / "routes.json")

    def wait_ready(self, server: Server) -> None:
        """Wait until the server says that it is ready."""

        def ready() -> bool:
            if server.process is not None and server.process.poll() is not None:
                said = self._said(f"{server.stream.name}.log")
                raise SceneError(f"{server.stream.identity} ended with {server.process.returncode}: {said}")
            if self.prefix:  # it is in another network: ask from there
                asked = f"import urllib.request as r; r.urlopen({server.endpoint + '/readyz'!r}, timeout=2)"
                command = [*self.prefix, sys.executable, "-c", asked]
                return subprocess.run(command, check=False, capture_output=True).returncode == 0
            with urllib.request.urlopen(f"{server.endpoint}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)

        self.wait(f"{server.stream.identity} to be ready", ready)

    def wait(self, what: str, check: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until `check` is true. Raises SceneError."""
        until = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                if check():
                    return
            if time.monotonic() > until:
                raise SceneError(f"waited {seconds:g} s for {what}")
            time.sleep(0.05)

    def facts(self) -> Iterator[dict[str, Any]]:
        """Yield all that callers and functions have said: ``ran`` and ``ended`` facts, see ``tally``."""
        for file in self.record.glob("*.ran"):
            for line in file.read_text("utf-8").splitlines():
                call, _, server = line.partition(" ")
                yield {"ran": call, "server": server}
        calls = self.folder / "calls.jsonl"
        text = calls.read_text("utf-8") if calls.exists() else ""
        for line in text[: text.rfind("\n") + 1].splitlines():
            yield json.loads(line)

    def _flowing(self) -> bool:
        if self._load is not None and self._load.poll() is not None:
            raise SceneError(f"the load ended: {self._said('load.log')}")
        found = {fact["stream"] for fact in self.facts() if fact.get("outcome") == "result"}
        return len(found) == len(STREAMS)

    def _said(self, log: str) -> str:
        return (self.log / log).read_text("utf-8", "replace")[-1500:]
