# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""redis-server: the system's, or Debian's packages unpacked into the cache (nothing is installed)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.calls.suite.peers import Unavailable, cache

PACKAGES = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1")


def redis_server() -> dict[str, str]:
    """Return ``REDIS_SERVER``, and the ``REDIS_LIBRARIES`` it needs, as an environment; raise `Unavailable`."""
    if found := shutil.which("redis-server"):
        return {"REDIS_SERVER": found, "REDIS_LIBRARIES": ""}
    root = cache() / "redis"
    if not (root / "done").exists():
        if not (shutil.which("apt-get") and shutil.which("dpkg")):
            raise Unavailable("there is no redis-server here, and no apt-get to take Debian's")
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        try:
            _run(["apt-get", "download", "--quiet", *PACKAGES], root)
            for package in sorted(root.glob("*.deb")):
                _run(["dpkg", "-x", str(package), str(root)], root)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", b"") or b""
            raise Unavailable(
                f"there is no redis-server here, and none to be had: {error}: {said[-200:]!r}"
            ) from error
        (root / "done").touch()
    folders = {str(path.parent) for path in root.rglob("lib*.so.*")}
    return {
        "REDIS_SERVER": str(root / "usr/bin/redis-server"),
        "REDIS_LIBRARIES": os.pathsep.join(sorted(folders)),
    }


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
