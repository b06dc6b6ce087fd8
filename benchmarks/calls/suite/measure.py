# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Run stacks side by side, round by round, and reduce what was measured to ratios."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_TICK = os.sysconf("SC_CLK_TCK")


def processes(root: int) -> list[int]:
    """Return the process `root` and all below it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """Return the CPU seconds that a tree of processes has used, from the scheduler's own account where there is one."""
    total = 0.0
    for pid in processes(root):
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
            total += (
                sum(int(Path(f"/proc/{pid}/task/{t}/schedstat").read_text().split()[0]) for t in tasks) / 1e9
            )
        except (OSError, IndexError, ValueError):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            total += (int(fields[11]) + int(fields[12])) / _TICK
    return total


def memory_mb(root: int, *, below: bool = True) -> float:
    """Return the memory of a process, and of those `below` it (shared pages shared out), MiB."""
    total = 0
    for pid in processes(root) if below else [root]:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024


class Stack:
    """One stack: a server, and a driver that calls it. Attributes: ``name``, ``cold_s``, ``idle_mb``, ``dead``."""

    def __init__(
        self,
        name: str,
        python: str,
        module: str,
        args: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        servers: int,
    ) -> None:
        self.name = name
        self.dead = ""
        self.cold_s = self.idle_mb = 0.0
        self._command = [python, "-m", module]
        self._args = list(args)
        self._env = {**os.environ, **env}
        self._log = log
        self._servers = servers

    def start(self) -> None:
        """Start both sides, and wait for the first answer."""
        with self._log.open("wb") as log:
            self._driver = subprocess.Popen(
                [*self._command, "drive", *self._args],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=self._env, start_new_session=True,
            )  # fmt: skip
            begin = time.time()
            self._server = subprocess.Popen(
                [*self._command, "serve", *self._args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env, start_new_session=True,
            )  # fmt: skip
        said = self.ask({"do": "connect"})
        if not self.dead:
            self.cold_s = said["at"] - begin
            time.sleep(0.3 if self._servers == 1 else 5.0)
            # Where one process starts several servers, it is none itself.
            own = 0.0 if self._servers == 1 else memory_mb(self._server.pid, below=False)
            self.idle_mb = (memory_mb(self._server.pid) - own) / self._servers

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Give the driver an order, and return its answer, with the server's CPU seconds as ``server_cpu``."""
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        before = cpu_seconds(self._server.pid)
        try:
            self._driver.stdin.write(json.dumps(order).encode() + b"\n")
            self._driver.stdin.flush()
            line = self._driver.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            self.dead = f"the driver ended; see {self._log}"
            return {}
        said: dict[str, Any] = json.loads(line)
        said["server_cpu"] = cpu_seconds(self._server.pid) - before
        return said

    def stop(self) -> None:
        """End both sides."""
        for process in (self._driver, self._server):
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def measure(
    stacks: Sequence[Stack], cells: Sequence[tuple[str, int]], rounds: int, seconds: float
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return stack -> cell -> rounds. All stacks take part in each round, in turns of the order."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {stack.name: {} for stack in stacks}
    for payload, flight in cells:
        order = {"do": "round", "payload": payload, "flight": flight, "seconds": seconds}
        for stack in stacks:
            if not stack.dead:
                stack.ask({**order, "seconds": seconds / 2})  # warm
        for number in range(rounds):
            for stack in stacks if number % 2 == 0 else reversed(stacks):
                if not stack.dead:
                    said = stack.ask(order)
                    if not stack.dead:
                        found[stack.name].setdefault(f"{payload}/{flight}", []).append(said)
        print(f"  {payload}/{flight}", file=sys.stderr, flush=True)
    return found


def reduced(rounds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return ``p05`` and ``p50`` and ``p99`` (seconds), ``cpu`` (seconds a call, both sides), ``client_cpu``,
    ``server_cpu``, ``throughput`` (calls a second: the median of the rounds).
    """
    latencies = sorted(latency for said in rounds for latency in said["latencies"])
    calls = sum(said["calls"] for said in rounds)
    client = sum(said["cpu"] for said in rounds) / calls
    server = sum(said["server_cpu"] for said in rounds) / calls
    return {
        "p05": latencies[int(len(latencies) * 0.05)],
        "p50": latencies[int(len(latencies) * 0.5)],
        "p99": latencies[int(len(latencies) * 0.99)],
        "cpu": client + server,
        "client_cpu": client,
        "server_cpu": server,
        "throughput": statistics.median(said["calls"] / said["wall"] for said in rounds),
    }


def ratios(
    found: dict[str, dict[str, list[dict[str, Any]]]], measure: str
) -> dict[str, dict[str, dict[str, float]]]:
    """Return stack -> cell -> each figure as a ratio to that of the stack `measure` in the same run."""
    base = {cell: reduced(rounds) for cell, rounds in found[measure].items()}
    return {
        name: {
            cell: {key: value / base[cell][key] for key, value in reduced(rounds).items()}
            for cell, rounds in cells.items()
            if cell in base
        }
        for name, cells in found.items()
    }
