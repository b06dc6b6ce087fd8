# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A short run of the chaos program: real servers, real signals, real resets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SHORT = (
    "kill servers",
    "kill workers",
    "stop servers",
    "stop workers",
    "cut sockets",
    "lose answers",
    "full disk",
)


def program(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "chaos.main", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def test_every_law_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    only = [text for name in SHORT for text in ("--only", name)]
    done = program("--seconds", "10", "--json", str(file), *only)
    said, _ = done.communicate(timeout=240)
    assert done.returncode == 0, said
    report = json.loads(file.read_text())
    assert report["broken"] == []
    names = {one["name"] for one in report["disturbances"]}
    assert names | report["skipped"].keys() == set(SHORT)
    for one in report["disturbances"]:
        assert all(counts["results"] > 0 for counts in one["streams"].values()), one


def of_run(folder: str) -> list[int]:
    """Return the processes that have the folder of a run in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and folder.encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_run_that_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    folder = str(tmp_path / "run")
    with program("--seconds", "60", "--only", "kill workers", "--folder", folder) as run:
        assert run.stdout is not None
        assert "calls are running" in run.stdout.readline()
        assert len(of_run(folder)) > 6
        run.send_signal(number)
        run.stdout.read()
        assert run.wait(60) == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
        end = time.monotonic() + 60
        while of_run(folder):
            assert time.monotonic() < end, of_run(folder)
            time.sleep(0.05)
