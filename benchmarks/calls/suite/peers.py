# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""An environment for each peer, from its own list with hashes; kept until the list changes."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

LOCKS = Path(__file__).parents[1] / "locks"
PATIENCE = 900.0


class Unavailable(Exception):
    """What a peer needs cannot be had here; the text says what and why."""


def cache() -> Path:
    """Return the folder for what is kept from run to run."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "turbolift" / "benchmarks"


def locked_version(lock: str, distribution: str) -> str:
    """Return the version of `distribution` that the list `lock` pins; empty where it pins none."""
    text = (LOCKS / f"{lock}.txt").read_text("utf-8")
    found = re.search(
        rf"^{re.escape(distribution)}(?:\[[^]]*\])?==([^ ;\\]+)", text, re.MULTILINE | re.IGNORECASE
    )
    return found.group(1) if found else ""


def python_of(lock: str) -> str:
    """Return the interpreter of the environment of the list `lock`, made if need be; raise `Unavailable`."""
    path = LOCKS / f"{lock}.txt"
    key = hashlib.sha256(path.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = cache() / f"{lock}-{key}"
    if not (folder / "done").exists():
        begin = time.monotonic()
        shutil.rmtree(folder, ignore_errors=True)
        base = getattr(sys, "_base_executable", sys.executable)
        try:
            subprocess.run([base, "-m", "venv", str(folder)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Unavailable(f"no environment for {lock}: {error}") from error
        _install(lock, path, folder)
        (folder / "done").touch()
        _say(f"environment of {lock}: made in {time.monotonic() - begin:.0f} s\n")
    return str(folder / "bin" / "python")


def _install(lock: str, path: Path, folder: Path) -> None:
    """Install the list with pip, niced, and say how far it is."""
    total = sum("==" in line for line in path.read_text("utf-8").splitlines() if line[:1].isalnum())
    nice = ["nice", "-n", "15"] if shutil.which("nice") else []
    log = folder / "install.log"
    seen = 0
    with log.open("w+", encoding="utf-8") as out:
        installer = subprocess.Popen(
            [*nice, str(folder / "bin" / "python"), "-m", "pip", "install", "--require-hashes", "-r", str(path)],
            stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        _say(
            f"environment of {lock}: {total} distributions at most ...{'' if sys.stderr.isatty() else chr(10)}"
        )
        end = time.monotonic() + PATIENCE
        while installer.poll() is None:
            if time.monotonic() > end:
                installer.kill()
                installer.wait()
                raise Unavailable(f"installing {lock} took more than {PATIENCE:.0f} s; see {log}")
            time.sleep(0.2)
            collected = log.read_text("utf-8", "replace").count("\nCollecting ")
            if sys.stderr.isatty() and collected != seen:
                seen = collected
                _say(f"environment of {lock}: {seen} of {total} distributions at most ...")
    if installer.returncode:
        lines = log.read_text("utf-8", "replace").strip().splitlines()
        raise Unavailable(f"{lock} cannot be installed: {lines[-1] if lines else 'pip failed'} (see {log})")


def _say(text: str) -> None:
    sys.stderr.write(("\r\033[K" if sys.stderr.isatty() else "") + text)
    sys.stderr.flush()
