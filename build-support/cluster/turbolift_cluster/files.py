# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there, and programs whose failure is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import ClusterError

_BEGIN = time.monotonic()


def say(text: str) -> None:
    """Print progress with the seconds since the start, to standard error."""
    print(f"[{time.monotonic() - _BEGIN:6.1f}s] {text}", file=sys.stderr, flush=True)


def write(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Replace a file by one rename, so that nobody reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
    temporary.chmod(mode)
    temporary.replace(path)


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    """Replace a file by a JSON document."""
    write(path, json.dumps(value, indent=1) + "\n", mode)


def run(
    *command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, what: str = ""
) -> str:
    """Run a program and return what it prints; raises ClusterError with its output when it fails or is not there."""
    words: Sequence[str] = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        raise ClusterError(
            f"{what or words[0]}: there is no program `{words[0]}` on this machine: install it"
        ) from None
    if done.returncode:
        said = (done.stderr + done.stdout).strip()[-3000:]
        raise ClusterError(f"{what or ' '.join(words)} failed with {done.returncode}:\n{said}")
    return done.stdout


def start_time(pid: int) -> str | None:
    """Return the kernel's start time of a process in clock ticks, which with the pid names it for good; None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def record_process(path: Path, pid: int) -> None:
    """Write down a process that we started: its pid and start time."""
    write(path, f"{pid} {start_time(pid)}\n")


def recorded_process(path: Path) -> int | None:
    """Return the pid that was recorded in a file, if it is still that very process."""
    try:
        pid, started = path.read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if started != "None" and start_time(int(pid)) == started else None


def system_path() -> str:
    """Return a PATH that has the system's programs too."""
    return f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
