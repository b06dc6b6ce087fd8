# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Load beyond capacity: `./pants run tests/chaos -- --overload [--seconds N]`.

A server of each kind is called by several processes at a fraction and at multiples of what it can do, open loop: calls begin
when they are due, whatever became of those before. Shown are the answers within the deadline in a second (goodput), the p99 of
those, what was refused and whether it was said when to come again, and the memory of the server. The law: goodput at three
times the capacity is within a tenth of the peak, and memory does not grow.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from chaos.suite.scene import SceneError, children, end_with_parent, free_ports

TIMEOUT = 0.5
"""Seconds that each call has: fewer than a full queue takes."""

LOADS = (0.5, 1.0, 2.0, 3.0, 5.0)
"""Of the capacity."""

CLIENTS = 3
"""Processes that call: so many connections that the server's queue can overflow."""

WITHIN = 0.9
"""Of the peak, that goodput at three times the capacity must be."""

GROWTH = (1.1, 4.0)
"""Memory in the second half of a time of overload over that in the first: a factor, and MB."""

# Where each kind runs, and what a call costs: time and little CPU, so that callers on the same machine do not take it away.
KINDS = {
    "inline": ('workers="loop"', 0.008),
    "threads": ('workers="threads", concurrency=8', 0.064),
    "processes": ('workers="processes", concurrency=4', 0.032),
}

_MODULE = """
import time
from turbolift import Local, on

@on(Local(), timeout={timeout}, {tag})
def work(n: int) -> int:
    time.sleep({seconds})
    return 3 * n
"""


class Server(NamedTuple):
    """A served function of one kind."""

    kind: str
    process: subprocess.Popen[bytes]
    endpoint: str

    @property
    def identity(self) -> str:
        """The function's identity."""
        return f"overload_{self.kind}:work"

    def memory(self) -> float:
        """Return the resident memory of the server and its workers, in MB."""
        found = [self.process.pid]
        for pid in found:
            found += children(pid)
        return sum(map(_resident, found))

    def counted(self) -> dict[str, float]:
        """Return how many calls ended in which way, as the server counts."""
        with urllib.request.urlopen(f"{self.endpoint}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        lines = [line for line in text.splitlines() if line.startswith("turbolift_calls_total{")]
        return {line.split('outcome="')[1].split('"')[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


def _resident(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024


class Overload:
    """One run, below `folder`; ``end`` ends all that it started."""

    def __init__(self, folder: Path, seconds: float, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.seconds = seconds
        self.say = say
        self._started: list[subprocess.Popen[bytes]] = []
        self.env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)]),
            "TURBOLIFT": "on",
            "TURBOLIFT_ROUTES": str(folder / "routes.json"),
        }
        sys.path.insert(0, str(folder))

    def run(self, kind: str) -> dict[str, Any]:
        """Measure a kind of server; return its part of the report."""
        server = self._serve(kind)
        try:
            capacity = self._offer(server, 0.0, max(self.seconds / 2, 1.5))["goodput"]
            self.say(f"{kind}: {capacity:.0f} calls a second")
            loads = []
            for load in LOADS:
                loads.append(self._offer(server, load * capacity, self.seconds) | {"load": load})
                self.say(f"{kind}: {load:g} times that: {loads[-1]['goodput']:.0f} good ones a second")
        finally:
            self._end(server.process)
        return {"kind": kind, "capacity": capacity, "loads": loads, "broken": broken(kind, loads)}

    def end(self) -> None:
        """Kill what was started."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()

    def _spawn(self, *command: str, **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command,
            env=self.env,
            stdin=subprocess.DEVNULL,
            preexec_fn=end_with_parent,
            start_new_session=True,
            **options,
        )
        self._started.append(process)
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _serve(self, kind: str) -> Server:
        tag, seconds = KINDS[kind]
        module = self.folder / f"overload_{kind}.py"
        module.write_text(_MODULE.format(timeout=TIMEOUT, tag=tag, seconds=seconds), "utf-8")
        function = import_module(module.stem).work
        (port,) = free_ports(1)
        endpoint = f"http://127.0.0.1:{port}"
        log = self.folder / f"{kind}.log"
        with log.open("wb") as to:
            process = self._spawn(
                sys.executable, "-m", "turbolift.shim", "--function", function.identity,
                "--host", "127.0.0.1", "--port", str(port),
                stdout=to,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        entry = {
            "version": "0" * 64,
            "endpoint": endpoint,
            "contract": function.contract.digest,
            "timeout": TIMEOUT,
        }
        table = {
            "version": 1,
            "deployment": "overload",
            "platform": "local",
            "generation": 1,
            "routes": {function.identity: entry},
        }
        (self.folder / "routes.json").write_text(json.dumps(table), "utf-8")
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{endpoint}/readyz", timeout=2):
                    return Server(kind, process, endpoint)
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    said = log.read_text("utf-8", "replace")[-1500:]
                    raise SceneError(f"the server of {kind} does not get ready: {said}") from None
                time.sleep(0.05)

    def _offer(self, server: Server, rate: float, seconds: float) -> dict[str, Any]:
        """Call at `rate` (a second; 0: as quickly as the answers come), and return what became of it."""
        before = server.counted()
        clients = [
            self._spawn(
                sys.executable, "-m", "chaos.suite.offer", server.identity, str(rate / CLIENTS), str(seconds),
                stdout=subprocess.PIPE,
            )
            for _ in range(CLIENTS)
        ]  # fmt: skip
        memory: list[tuple[float, float]] = []
        done = threading.Event()
        began = time.monotonic()

        def watch() -> None:
            while not done.wait(0.1):
                memory.append((time.monotonic() - began, server.memory()))

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            said = [json.loads(client.communicate()[0] or b"null") for client in clients]
        finally:
            done.set()
            watching.join()
        if None in said:
            raise SceneError(f"a client of {server.identity} failed")
        spent = memory[-1][0] if memory else 0.0
        halves = [
            max((mb for at, mb in memory if (at > spent / 2) is late), default=0.0) for late in (False, True)
        ]
        after = server.counted()
        counted = {name: int(after[name] - before.get(name, 0)) for name in after}
        times = sorted(one for client in said for one in client["times"])
        return {
            "offered": sum(client["offered"] for client in said) / seconds,
            "behind": max(client["behind"] for client in said),
            "goodput": len(times) / seconds,
            "p99": times[len(times) * 99 // 100] if times else None,
            "errors": _sums(client["errors"] for client in said),
            "untold": sum(client["untold"] for client in said),
            "server": counted,
            "memory": halves,
        }


def _sums(counts: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            found[name] = found.get(name, 0) + count
    return found


def broken(kind: str, loads: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return which laws the loads of a kind have broken."""
    found = []
    peak = max(one["goodput"] for one in loads)
    for one in loads:
        if one["load"] == 3.0 and one["goodput"] < WITHIN * peak:
            found.append(
                f"{kind}: goodput at 3 times the capacity is {one['goodput']:.0f} a second, of {peak:.0f}"
            )
        first, second = one["memory"]
        if one["load"] > 1 and second > GROWTH[0] * first + GROWTH[1]:
            found.append(f"{kind}: memory grew from {first:.0f} to {second:.0f} MB at {one['load']:g} times")
        if one["untold"]:
            found.append(f"{kind}: {one['untold']} refusals did not say when to come again")
    return found


def show(report: Mapping[str, Any]) -> None:
    """Print the tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=150)
    for one in report["kinds"]:
        table = Table(title=f"{one['kind']}: {one['capacity']:.0f} calls a second, each within {TIMEOUT:g} s")
        names = "load offered/s behind_ms goodput/s p99_ms ran 503 504 late,_failed MB,_1st_half MB,_2nd"
        for name in names.split():
            table.add_column(name.replace("_", " "), justify="right")
        for load in one["loads"]:
            table.add_row(
                f"{load['load']:g}x",
                f"{load['offered']:.0f}",
                f"{load['behind'] * 1000:.0f}",
                f"{load['goodput']:.0f}",
                "" if load["p99"] is None else f"{load['p99'] * 1000:.0f}",
                str(load["server"].get("ok", 0)),
                str(load["server"].get("overloaded", 0)),
                str(load["server"].get("deadline", 0)),
                ", ".join(f"{count} {name}" for name, count in sorted(load["errors"].items())),
                f"{load['memory'][0]:.0f}",
                f"{load['memory'][1]:.0f}",
            )
        console.print(table)
    for text in report["broken"]:
        console.print(f"broken: {text}", markup=False, style="red")
    if not report["broken"]:
        console.print("every law was kept")


def run(folder: Path, seconds: float, kinds: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Measure all `kinds`, about `seconds` in all; return the report. Raises SceneError."""
    folder.mkdir(parents=True, exist_ok=True)
    each = max(seconds / (len(kinds) * (len(LOADS) + 0.5)), 1.0)
    overload = Overload(folder, each, say)
    try:
        found = [overload.run(kind) for kind in kinds]
    finally:
        overload.end()
    return {"kinds": found, "broken": [text for one in found for text in one["broken"]]}
