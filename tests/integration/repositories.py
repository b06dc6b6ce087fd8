# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Small repositories, in temporary folders, that the real Pants runs in.

A test that depends on the target `//:repository` has turbolift's own repository in its working directory, also in the sandbox that
Pants runs it in; TURBOLIFT_REPOSITORY names another. The stores are in TURBOLIFT_TEST_CACHE, so that tests share what they build.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

# What the launcher needs of this repository, beside itself.
LAUNCHER = (
    "pants",
    "build-support/launcher",
    "build-support/locks/pants.txt",
    "build-support/locks/pex-cli.txt",
)
# What a clone has that a build reads; the test sandbox holds more, which is its own.
CLONE = (
    "3rdparty", "BUILD", "LICENSE", "build-support", "docs", "examples", "pants", "pants.toml", "pyproject.toml", "src",
)  # fmt: skip
_NO_COPY = shutil.ignore_patterns(".*", "dist", "__pycache__", "*.pyc")
# Pants' own settings of the surrounding run would be taken for the small repository's.
_NOT_PASSED = ("PANTS_", "PEX_", "PYTEST_", "TURBOLIFT", "PYTHON")
_PASSED = ("TURBOLIFT_CACHE", "TURBOLIFT_PANTS_PYTHON", "TURBOLIFT_USER_PYTHON", "TURBOLIFT_NO_PYENV")


def turbolift_repository() -> Path:
    """Return the root of turbolift's own repository: TURBOLIFT_REPOSITORY, or the current folder."""
    path = Path(os.environ.get("TURBOLIFT_REPOSITORY") or Path.cwd())
    assert (path / "pants").is_file(), (
        f"{path} has no ./pants: start the tests in turbolift's root, or set TURBOLIFT_REPOSITORY"
    )
    return path.resolve()


def cache_folder() -> Path:
    """Return the folder that tests share their Pants stores in."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "turbolift/tests"
    path = Path(os.environ.get("TURBOLIFT_TEST_CACHE") or default)
    path.mkdir(parents=True, exist_ok=True)
    return path


@dataclass
class Repository:
    """A repository in the folder `root`, to be left by `close`.

    `state` stands for the user's state folder; `shared` says whether Pants uses the tests' stores, or the user's own. `umask` is that
    of the commands, -1 this process's.
    """

    root: Path
    state: Path
    shared: bool = True
    env: dict[str, str] = field(default_factory=dict)
    umask: int = -1

    def write(self, files: Mapping[str, str]) -> None:
        """Write files: path below the root -> text."""
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # a copy from a sandbox may be read-only
            path.write_text(text, encoding="utf-8")

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a command in the repository."""
        env = {k: v for k, v in os.environ.items() if k in _PASSED or not k.startswith(_NOT_PASSED)}
        env["XDG_STATE_HOME"] = str(self.state)
        if self.shared:
            env["PANTS_LOCAL_STORE_DIR"] = str(cache_folder() / "lmdb_store")
            env["PANTS_NAMED_CACHES_DIR"] = str(cache_folder() / "named_caches")
        env.setdefault("HOME", str(Path.home()))
        return {**env, **self.env, **(extra or {})}

    def run_pants(
        self, arguments: Iterable[str], *, env: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run `./pants ARGUMENTS...` to its end; raises AssertionError with all it said where `check` and it fails."""
        command = [str(self.root / "pants"), "--no-dynamic-ui", "--no-colors", *arguments]
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
            umask=self.umask,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def stop_pantsd(self) -> None:
        """Stop the daemon that Pants started for this repository, and wait for its end."""
        for file in self.root.glob(".pids/*/pantsd/pid"):
            pid = int(file.read_text())
            try:
                os.kill(pid, signal.SIGTERM)
                while True:
                    os.kill(pid, 0)
                    time.sleep(0.05)
            except ProcessLookupError:
                file.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop what runs for this repository: functions that are still deployed, and Pants' daemon."""
        if any(self.state.glob("turbolift/*/*/processes/*")):
            self.run_pants(["run", "deploy", "--", "down"], check=False)
        self.stop_pantsd()


@contextmanager
def temporary_repository(*, shared: bool = True, name: str = "repository") -> Iterator[Repository]:
    """Yield an empty repository in a temporary folder, with the launcher; what it started has ended afterwards."""
    source = turbolift_repository()
    with tempfile.TemporaryDirectory(prefix="turbolift-", ignore_cleanup_errors=True) as folder:
        root = Path(folder, name)
        for file in LAUNCHER:
            _copy(source / file, root / file)
        yield from _until_closed(Repository(root, Path(folder, "state"), shared))


@contextmanager
def temporary_clone(*, shared: bool = False, name: str = "clone") -> Iterator[Repository]:
    """Yield a copy of turbolift's own repository, as it is now, in a temporary folder."""
    source = turbolift_repository()
    with tempfile.TemporaryDirectory(prefix="turbolift-", ignore_cleanup_errors=True) as folder:
        root = Path(folder, name)
        for file in CLONE:
            _copy(source / file, root / file)
        yield from _until_closed(Repository(root, Path(folder, "state"), shared))


def _until_closed(repository: Repository) -> Iterator[Repository]:
    try:
        yield repository
    finally:
        repository.close()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=_NO_COPY)
    else:
        shutil.copy2(source, target)
