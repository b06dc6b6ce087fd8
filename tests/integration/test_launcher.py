# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""./pants on a machine that has nothing: two first starts at once, a killed one, silence afterwards, and no waiting for a long run."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.repositories import Repository, temporary_repository

PANTS_TOML = """\
[GLOBAL]
pants_version = "2.17.1"
backend_packages = ["pants.backend.python"]
ignore_warnings = ["$regex$DEPRECATED: Running Pants in an external Python interpreter"]

[source]
root_patterns = ["/"]

[python]
interpreter_constraints = ["CPython>=3.11,<3.14"]
pip_version = "latest"
"""
WAIT = """\
import pathlib, sys, time
print("running", flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.1)
print("done")
"""


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with temporary_repository() as repository:
        repository.write({"pants.toml": PANTS_TOML, "BUILD": "python_sources()\n", "wait.py": WAIT})
        yield repository


def _start(repository: Repository, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(repository.root / "pants"), "--no-dynamic-ui", *arguments],
        cwd=repository.root,
        env=repository.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_first_starts_on_an_empty_cache(repository: Repository, tmp_path: Path) -> None:
    repository.env["TURBOLIFT_CACHE"] = str(tmp_path / "cache")

    # Killed in the midst of it: nothing is left that looks complete, and no lock that nobody holds.
    killed = _start(repository, "--no-pantsd", "--version")
    assert killed.stderr is not None
    for line in killed.stderr:
        if "installing Pants (" in line:
            break
    time.sleep(1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not list(tmp_path.glob("cache/pants/*/env"))

    # Two at once: one installs, the other waits for it, both work.
    both = [_start(repository, "--no-pantsd", "--version") for _ in range(2)]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert [out for out, _ in said] == ["2.17.1\n"] * 2
    assert sum("first start: installing Pants" in err for _, err in said) == 1
    assert sum("another start is installing Pants" in err for _, err in said) == 1

    # Afterwards it is silent, and writes nothing.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/pants/*/env")}
    later = repository.run_pants(["--no-pantsd", "--version"])
    assert later.stdout == "2.17.1\n"
    assert later.stderr == ""
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/pants/*/env")} == before


def test_a_long_run_does_not_block_the_next_command(repository: Repository, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    running = _start(repository, "run", "wait.py", "--", str(stop))
    assert running.stdout is not None
    try:
        assert running.stdout.readline() == "running\n"
        listed = repository.run_pants(["list", "::"])
        assert "//wait.py" in listed.stdout
        assert running.poll() is None
    finally:
        stop.touch()
        out, err = running.communicate()
    assert (running.returncode, out) == (0, "done\n"), err
