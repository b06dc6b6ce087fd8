# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""./pants on a machine that has nothing: two first starts at once, a killed one, silence afterwards, and no waiting for a long run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
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


WHERE = "import os, sys; print(os.path.realpath(sys.executable)); print(sys.version_info >= (3, 11))\n"
# In a mount namespace of its own, whatever CPython the system has that Pants or user code could run on is no program any more.
HIDE = """\
for python in /usr/bin/python3.9 /usr/bin/python3.1[1-9] /usr/local/bin/python3.9 /usr/local/bin/python3.1[1-9]; do
  if [ -e "$python" ]; then mount --bind /dev/null "$(realpath "$python")" || exit 77; fi
done
exec "$@"
"""


def test_a_machine_without_any_fitting_python_gets_its_own(repository: Repository, tmp_path: Path) -> None:
    if sys.platform != "linux" or os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "apt-get"))):
        pytest.skip("hiding the system's Pythons needs Linux, root and unshare; getting others needs apt-get")
    cache = tmp_path / "cache"
    repository.write({"where.py": WHERE})
    env = repository.environment({"TURBOLIFT_CACHE": str(cache), "TURBOLIFT_NO_PYENV": "yes"})
    for name in ("TURBOLIFT_PANTS_PYTHON", "TURBOLIFT_USER_PYTHON"):
        env.pop(name, None)
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "--propagation=private",
            "bash",
            "-c",
            HIDE,
            "hide",
            str(repository.root / "pants"),
            "--no-dynamic-ui",
            "--no-pantsd",
            "run",
            "where.py",
        ],
        cwd=repository.root,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"the system's Pythons cannot be hidden here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    where, new_enough = done.stdout.splitlines()
    assert Path(where).is_relative_to(cache / "cpython"), where
    assert new_enough == "True"
    assert "no CPython 3.9, which Pants runs on: unpacking Debian's" in done.stderr
    assert "no CPython 3.11 or later for your code: unpacking Debian's" in done.stderr
