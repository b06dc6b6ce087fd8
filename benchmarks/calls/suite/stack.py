# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One stack of the benchmark: its server, and the driver that calls it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.calls.suite.processes import CpuAccount, end, memory_mb, send, tree

SETTLE = 0.15
"""Seconds that a stack has to itself after it was held, before it is measured."""


class Stack:
    """A server and a driver, two trees of processes.

    Attributes: ``name``; ``cold_s`` (seconds from the start of the server to its first answer, the least of all its starts; the
    driver is ready before; where a launcher starts the server, the driver knows when);
    ``idle_mb`` (MiB of the server's processes); ``idle_cpu`` (cores that both sides use when nobody calls); ``dead`` (why it
    takes no further part; empty while it does); ``held`` (whether it is stopped between its own turns);
    ``args`` (what both sides are told).
    """

    def __init__(
        self,
        name: str,
        python: str,
        module: str,
        args: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        *,
        drive: Sequence[str] = (),
        launcher: bool = False,
        shares: Stack | None = None,
        patience: float = 60.0,
    ) -> None:
        self.name = name
        self.dead = ""
        self.held = False
        self.cold_s = self.idle_mb = self.idle_cpu = 0.0
        self._command = [python, "-m", module]
        self.args = list(args)
        self._drive = list(drive)
        self._env = {**os.environ, **env}
        self._log = log
        self._launcher = launcher
        self._shares = shares
        self._patience = patience
        self._sharing: list[Stack] = []
        if shares is not None:
            shares._sharing.append(self)
        self._driver: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Run what the stack wants done before either side starts."""
        done = subprocess.run(
            [*self._command, "prepare"], env=self._env, cwd=self._log.parent, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        if done.returncode:
            self.dead = f"its preparation failed: {done.stderr.strip()[-200:]}"

    def start(self, *, settle: float = 1.0) -> None:
        """Start the driver, then the server, and wait for the first answer; `settle` seconds later, measure its memory.

        A stack that calls another's server is started by that: all drivers are ready before the server starts.
        """
        if self._shares is not None:
            self.dead = self.dead or (
                "" if self._server else f"the server of {self._shares.name} is not there"
            )
            return
        stacks = [self, *self._sharing]
        for stack in stacks:
            stack._start_driver()
        if self.dead:
            return
        begin = time.time()
        with self._log.open("ab") as log:
            server = subprocess.Popen(
                [*self._command, "serve", *self.args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env, cwd=self._log.parent,
                start_new_session=True,
            )  # fmt: skip
        stacks = [stack for stack in stacks if not stack.dead]
        for stack in stacks:
            stack._server, stack._account = server, CpuAccount(server.pid)
            stack._send({"do": "connect"})
        for stack in stacks:
            if said := stack._said(2 * self._patience):
                stack.cold_s = said["at"] - said.get("began", begin)
        time.sleep(settle)
        for stack in stacks:
            if not stack.dead:
                stack.idle_mb = memory_mb(stack._measured())

    def restart(self) -> None:
        """End both sides and start them again, for one more ``cold_s``."""
        if self.dead or self._shares is not None or self._sharing:
            return
        before, idle_mb = self.cold_s, self.idle_mb
        self.stop()
        self._driver = self._server = None
        self.start(settle=0.0)
        if not self.dead:
            self.cold_s, self.idle_mb = min(before, self.cold_s), idle_mb

    def _start_driver(self) -> None:
        if self.dead:
            return
        with self._log.open("ab") as log:
            self._driver = subprocess.Popen(
                [*self._command, "drive", *self.args, *self._drive],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=self._env, cwd=self._log.parent,
                start_new_session=True,
            )  # fmt: skip
        self._said(self._patience)

    def _measured(self) -> int:
        """Return the process to measure at rest: where one process starts several servers, the first of these."""
        assert self._server is not None
        below = list(tree(self._server.pid))
        return below[1] if self._launcher and len(below) > 1 else self._server.pid

    def cpu_seconds(self) -> float:
        """Return what both sides have used up to now."""
        if self.dead or self._driver is None:
            return 0.0
        return self._account.seconds() + CpuAccount(self._driver.pid).seconds()

    def ask(self, order: dict[str, Any], patience: float = 60.0) -> dict[str, Any]:
        """Give the driver an order, and return its answer, with the server's CPU seconds as ``server_cpu``.

        A stack that does not answer in `patience` seconds, or whose process ended, is `dead` from then on.
        """
        before = self._account.seconds()
        self._send(order)
        said = self._said(patience)
        if said:
            said["server_cpu"] = self._account.seconds() - before
        return said

    def _send(self, order: dict[str, Any]) -> None:
        assert self._driver is not None
        assert self._driver.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # that it is gone is found when it is listened to
            self._driver.stdin.write(json.dumps(order).encode() + b"\n")
            self._driver.stdin.flush()

    def _said(self, patience: float) -> dict[str, Any]:
        assert self._driver is not None
        assert self._driver.stdout is not None
        stop = time.monotonic() + patience
        while not select.select([self._driver.stdout], [], [], 0.25)[0]:
            if time.monotonic() > stop:
                return self._die(f"no answer in {patience:.0f} s")
            if self._server is not None and self._server.poll() is not None:
                return self._die(f"its server ended with status {self._server.returncode}")
        line = self._driver.stdout.readline()
        if not line:
            return self._die("its driver ended")
        said: dict[str, Any] = json.loads(line)
        return said

    def _die(self, why: str) -> dict[str, Any]:
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        self.dead = f"{why}: {lines[-1][:160]}" if lines else why
        return {}

    def hold(self) -> None:
        """Stop all of its processes."""
        self._signal(signal.SIGSTOP)

    def let_go(self) -> None:
        """Let its processes run, and settle."""
        self._signal(signal.SIGCONT)
        time.sleep(SETTLE)

    def _signal(self, number: signal.Signals) -> None:
        for process in (self._server, self._driver):
            if process is not None:
                send(process.pid, number)

    def stop(self) -> None:
        """End both sides; a server that another stack owns is left to it."""
        for process in (self._driver, self._server if self._shares is None else None):
            if process is not None:
                end(process.pid, 5.0)
