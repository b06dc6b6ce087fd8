# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What callers and functions say of calls, with the time: lines of files in one folder, by the clock that all processes share."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from chaos.suite.scene import SceneError


class Said(NamedTuple):
    """Something that was said of a call. ``at``: seconds of the monotonic clock."""

    at: float
    pid: int
    more: str


def say(call: str, event: str, more: str = "-") -> None:
    """Write a line; it survives the process."""
    line = f"{call} {event} {time.monotonic()} {os.getpid()} {more}\n"
    file = os.open(
        os.path.join(os.environ["CHAOS_SAID"], str(os.getpid())), os.O_WRONLY | os.O_CREAT | os.O_APPEND
    )
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def wait_for(folder: Path, call: str, event: str, seconds: float = 30.0) -> Said:
    """Return when that was said of a call. Raises SceneError."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for file in folder.iterdir():
            for line in file.read_text("utf-8").splitlines():
                words = line.split()
                if len(words) == 5 and words[:2] == [call, event]:
                    return Said(float(words[2]), int(words[3]), words[4])
        time.sleep(0.005)
    raise SceneError(f"waited {seconds:g} s for the call {call} to be {event}")
