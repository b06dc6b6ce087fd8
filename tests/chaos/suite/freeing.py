# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""How soon each side is free when the other has gone: `./pants run tests/chaos -- --freeing`, and at the end of a whole run.

A server with one slot is held by a call, and another call waits. Then the caller gives up or is killed, the worker is killed,
the server is killed or has come to the end of its grace time. Measured is when the function was cancelled, when the next call
began in the slot, and when the caller had its error, by the clock that all processes share. The law: 100 ms at p99.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from chaos.suite.said import wait_for
from chaos.suite.scene import SceneError, end_with_parent, free_ports

BOUND = 0.1
"""Seconds."""

ROUNDS = 20
RESTARTS = 5
"""Rounds in which the server has to be started again."""

GRACE = 0.3
"""Seconds that a server has for its calls when it is to end."""

LONG = 60.0
"""Seconds that a call would hold its slot."""

KINDS = {
    "async": ("async def", "", "await asyncio.sleep(seconds)"),
    "threads": ("def", 'workers="threads",', "time.sleep(seconds)"),
    "processes": ("def", 'workers="processes",', "time.sleep(seconds)"),
}
_MODULE = """
import asyncio, time
from chaos.suite.said import say
from turbolift import Local, on

@on(Local(), concurrency=1, {tag})
{define} hold(call: str, seconds: float) -> None:
    say(call, "began")
    try:
        {wait}
    except asyncio.CancelledError:
        say(call, "cancelled")
        raise
"""

Times = dict[tuple[str, str, str], list[float]]
"""By kind, what has gone, and who is free then."""


class Freeing:
    """One kind of server, below `folder`; ``end`` ends all that it started."""

    def __init__(self, folder: Path, kind: str, times: Times) -> None:
        self.kind = kind
        self.times = times
        self.folder = folder
        self.said = folder / "said"
        self.said.mkdir(parents=True)
        define, tag, wait = KINDS[kind]
        module = folder / f"freeing_{kind}.py"
        module.write_text(_MODULE.format(define=define, tag=tag, wait=wait), "utf-8")
        sys.path.insert(0, str(folder))
        self.function = import_module(module.stem).hold
        (self.port,) = free_ports(1)
        self.env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)]),
            "CHAOS_SAID": str(self.said),
            "TURBOLIFT": "on",
            "TURBOLIFT_ROUTES": str(folder / "routes.json"),
        }
        route = {
            "version": "0" * 64,
            "endpoint": self.endpoint,
            "contract": self.function.contract.digest,
            "timeout": None,
        }
        table = {
            "version": 1,
            "deployment": "freeing",
            "platform": "local",
            "generation": 1,
            "routes": {self.function.identity: route},
        }
        (folder / "routes.json").write_text(json.dumps(table), "utf-8")
        self._started: list[subprocess.Popen[bytes]] = []
        self._calls = 0
        self.server = self._serve()
        self.caller = self._caller()

    @property
    def endpoint(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self.port}"

    def run(self) -> None:
        """Measure everything that this kind can do."""
        for _ in range(ROUNDS):
            self._given_up()
        if self.kind != "threads":  # a thread that runs cannot be ended
            for _ in range(ROUNDS):
                self._caller_killed()
        if self.kind == "processes":
            for _ in range(ROUNDS):
                self._worker_killed()
        for number in (signal.SIGKILL, signal.SIGTERM):
            for _ in range(RESTARTS):
                self._server_ends(number)

    def end(self) -> None:
        """Kill what was started."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()

    def _given_up(self) -> None:
        # A thread goes on: it is a short call there, and its slot is free when it ends.
        ends = self.kind != "threads"
        held = self._call(self.caller, LONG if ends else 0.1)
        wait_for(self.said, held, "began")
        waiting = self._waiting() if ends else ""
        self._tell(self.caller, f"cancel {held}")
        gone = wait_for(self.said, held, "given-up").at
        self._add("caller gives up", "caller", wait_for(self.said, held, "ended").at - gone)
        if not ends:
            return
        self._add("caller gives up", "slot", wait_for(self.said, waiting, "began").at - gone)
        if self.kind == "async":
            self._add("caller gives up", "function", wait_for(self.said, held, "cancelled").at - gone)
        wait_for(self.said, waiting, "ended")

    def _caller_killed(self) -> None:
        doomed = self._caller()
        held = self._call(doomed, LONG)
        wait_for(self.said, held, "began")
        waiting = self._waiting()
        gone = time.monotonic()
        doomed.kill()
        self._add("caller is killed", "slot", wait_for(self.said, waiting, "began").at - gone)
        if self.kind == "async":
            self._add("caller is killed", "function", wait_for(self.said, held, "cancelled").at - gone)
        doomed.wait()
        wait_for(self.said, waiting, "ended")

    def _worker_killed(self) -> None:
        held = self._call(self.caller, LONG)
        worker = wait_for(self.said, held, "began").pid
        waiting = self._waiting()
        gone = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        self._add("worker is killed", "caller", self._failed(held, "WorkerDied") - gone)
        self._add("worker is killed", "slot", wait_for(self.said, waiting, "began").at - gone)
        wait_for(self.said, waiting, "ended")

    def _server_ends(self, number: signal.Signals) -> None:
        held = self._call(self.caller, LONG)
        wait_for(self.said, held, "began")
        gone = time.monotonic()
        self.server.send_signal(number)
        if number == signal.SIGKILL:
            self._add("server is killed", "caller", self._failed(held, "MaybeExecuted") - gone)
        else:
            over = gone + GRACE
            self._add("server's grace ends", "caller", self._failed(held, "MaybeExecuted") - over)
        self.server.wait(30)
        self.server = self._serve()

    def _failed(self, call: str, error: str) -> float:
        ended = wait_for(self.said, call, "ended")
        if ended.more != error:
            raise SceneError(f"{self.kind}: the call ended with {ended.more}, not {error}")
        return ended.at

    def _add(self, gone: str, free: str, seconds: float) -> None:
        self.times.setdefault((self.kind, gone, free), []).append(seconds)

    def _waiting(self) -> str:
        """Begin a call that has to wait for the slot; return when it waits."""
        call = self._call(self.caller, 0.0)
        until = time.monotonic() + 30
        while (
            f'turbolift_calls_queued{{function="{self.function.identity}"}} 1.0'.encode()
            not in self._metrics()
        ):
            if time.monotonic() > until:
                raise SceneError(f"{self.kind}: no call waits for the slot")
            time.sleep(0.005)
        return call

    def _metrics(self) -> bytes:
        with urllib.request.urlopen(f"{self.endpoint}/metrics", timeout=20) as answer:
            found: bytes = answer.read()
        return found

    def _call(self, caller: subprocess.Popen[bytes], seconds: float) -> str:
        self._calls += 1
        self._tell(caller, f"call c{self._calls} {seconds}")
        return f"c{self._calls}"

    def _tell(self, caller: subprocess.Popen[bytes], line: str) -> None:
        assert caller.stdin is not None
        caller.stdin.write(f"{line}\n".encode())
        caller.stdin.flush()

    def _spawn(self, *command: str, **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=self.env,
            preexec_fn=end_with_parent,
            start_new_session=True,
            **options,
        )
        self._started.append(process)
        return process

    def _caller(self) -> subprocess.Popen[bytes]:
        return self._spawn("chaos.suite.holder", self.function.identity, stdin=subprocess.PIPE)

    def _serve(self) -> subprocess.Popen[bytes]:
        log = self.folder / "log"
        with log.open("ab") as to:
            process = self._spawn(
                "turbolift.shim", "--function", self.function.identity,
                "--host", "127.0.0.1", "--port", str(self.port), "--grace", str(GRACE),
                stdin=subprocess.DEVNULL, stdout=to, stderr=subprocess.STDOUT,
            )  # fmt: skip
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{self.endpoint}/readyz", timeout=2):
                    return process
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    said = log.read_text("utf-8", "replace")[-1500:]
                    raise SceneError(f"the server of {self.kind} does not get ready: {said}") from None
                time.sleep(0.02)


def run(folder: Path, kinds: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Measure all `kinds`; return the report. Raises SceneError."""
    times: Times = {}
    for kind in kinds:
        freeing = Freeing(folder / kind, kind, times)
        try:
            freeing.run()
        finally:
            freeing.end()
        say(f"freeing: {kind} measured")
    rows: list[dict[str, Any]] = []
    for (kind, gone, free), found in times.items():
        found.sort()
        p99 = found[min(len(found) * 99 // 100, len(found) - 1)]
        rows.append({"kind": kind, "gone": gone, "free": free, "rounds": len(found)} | {
            "p50_ms": round(found[len(found) // 2] * 1000, 1), "p99_ms": round(p99 * 1000, 1),
        })  # fmt: skip
    broken = [
        f"{one['kind']}: where the {one['gone']}, the {one['free']} is free after {one['p99_ms']} ms"
        for one in rows
        if one["p99_ms"] > BOUND * 1000
    ]
    return {"freeing": rows, "broken": broken}


def show(report: Mapping[str, Any]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"when one side has gone, the other is free: within {BOUND * 1000:.0f} ms at p99")
    for name in ("kind", "gone", "free"):
        table.add_column(name)
    for name in ("rounds", "p50 ms", "p99 ms"):
        table.add_column(name, justify="right")
    for one in report["freeing"]:
        table.add_row(*(str(one[name]) for name in ("kind", "gone", "free", "rounds", "p50_ms", "p99_ms")))
    Console(width=150).print(table)
