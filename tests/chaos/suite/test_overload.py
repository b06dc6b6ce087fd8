# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The laws of load beyond capacity, over made reports; and a short run of the program, whatever this machine can do now."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaos.suite.overload import KINDS, LOADS, broken


def load(
    times: float, goodput: float, memory: tuple[float, float] = (50, 50), untold: int = 0
) -> dict[str, Any]:
    return {"load": times, "goodput": goodput, "memory": memory, "untold": untold}


GOOD = [load(0.5, 50), load(1, 99), load(2, 100), load(3, 91), load(5, 40)]


def test_laws_that_are_kept() -> None:
    assert broken("threads", GOOD) == []


@pytest.mark.parametrize(
    ("at", "instead", "told"),
    [
        (3, load(3, 89), "threads: goodput at 3 times the capacity is 89 a second, of 100"),
        (2, load(2, 102), "threads: goodput at 3 times the capacity is 91 a second, of 102"),
        (4, load(5, 40, (50, 60)), "threads: memory grew from 50 to 60 MB at 5 times"),
        (3, load(3, 95, untold=2), "threads: 2 refusals did not say when to come again"),
    ],
)
def test_laws_that_are_broken(at: int, instead: dict[str, Any], told: str) -> None:
    assert broken("threads", [instead if number == at else one for number, one in enumerate(GOOD)]) == [told]


def test_a_short_run(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "chaos.main",
            "--overload",
            "--seconds",
            "1",
            "--kind",
            "threads",
            "--json",
            str(file),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    report = json.loads(file.read_text())
    (kind,) = report["kinds"]
    assert kind["kind"] == "threads"
    assert kind["capacity"] > 0
    assert [one["load"] for one in kind["loads"]] == list(LOADS)
    assert all(one["memory"][1] > 0 for one in kind["loads"])
    assert kind["loads"][-1]["server"]["overloaded"] > 0
    # How much is good depends on what else this machine does; what the program says of it does not.
    assert report["broken"] == broken("threads", kind["loads"])
    assert done.returncode == bool(report["broken"]), done.stdout + done.stderr
    assert ("every law was kept" in done.stdout) == (not report["broken"])
    assert set(KINDS) == {"inline", "threads", "processes"}
