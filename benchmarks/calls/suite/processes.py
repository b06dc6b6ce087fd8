# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What a tree of processes uses, from /proc; and how it is held, let go and ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> dict[int, int]:
    """Return the process `root` and all below it, each with its start time (which tells a number used again)."""
    children: dict[int, list[int]] = {}
    starts: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry))
            starts[int(entry)] = int(fields[19])
    found = [root] if root in starts else []
    for pid in found:
        found += children.get(pid, [])
    return {pid: starts[pid] for pid in found}


def _cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process, threads that ended included."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # the clock that clock_getcpuclockid() names
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK


class CpuAccount:
    """The CPU seconds of a tree of processes. What a process had used when it was last seen stays in the sum."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._seen: dict[tuple[int, int], float] = {}

    def seconds(self) -> float:
        """Return the sum up to now."""
        for process in tree(self._root).items():
            try:
                self._seen[process] = _cpu_seconds(process[0])
            except (OSError, IndexError, ValueError):
                continue
        return sum(self._seen.values())


def memory_mb(root: int) -> float:
    """Return the memory of a tree of processes (pages that they share are shared out), MiB."""
    total = 0
    for pid in tree(root):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024


def send(root: int, number: signal.Signals) -> None:
    """Send a signal to a whole tree."""
    for pid in tree(root):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def end(root: int, patience: float) -> None:
    """End a tree of processes, held ones too: those below are ended even where their parent forgets them."""
    members = tree(root)
    send(root, signal.SIGCONT)
    if root in members:
        os.kill(root, signal.SIGTERM)
    stop = time.monotonic() + patience
    while time.monotonic() < stop:
        try:
            if os.waitpid(root, os.WNOHANG)[0]:
                break
        except ChildProcessError:
            break
        time.sleep(0.02)
    members |= tree(root)
    for pid, start in members.items():
        if tree(pid).get(pid) == start:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    try:
        os.waitpid(root, 0)
    except ChildProcessError:
        return
