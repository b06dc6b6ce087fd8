# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""An environment for each peer, from its own list with hashes; kept until the list changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCKS = Path(__file__).parents[1] / "locks"


def python_of(peer: str) -> str:
    """Return the interpreter of the environment of `peer`, made if need be."""
    lock = LOCKS / f"{peer}.txt"
    key = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "turbolift" / "benchmarks"
    folder = cache / f"{peer}-{key}"
    if not (folder / "done").exists():
        print(f"making the environment of {peer} ...", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        base = getattr(sys, "_base_executable", sys.executable)
        subprocess.run([base, "-m", "venv", str(folder)], check=True)
        subprocess.run(
            [
                folder / "bin" / "python",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--require-hashes",
                "-r",
                str(lock),
            ],
            check=True,
        )
        (folder / "done").touch()
    return str(folder / "bin" / "python")
