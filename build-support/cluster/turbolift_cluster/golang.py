# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A Go that is new enough: this machine's, else Debian's, unpacked into a folder of ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from .debian import unpack
from .errors import ClusterError
from .files import system_path
from .settings import cache_folder

# The Go that Debian 13 has: enough for Kubernetes 1.34, whose go.mod asks for 1.24.
_SUITE, _VERSION = "trixie", "1.24"


class NoGoError(ClusterError):
    """No Go of this machine or of Debian's is new enough."""


def find(wanted: tuple[int, ...]) -> str:
    """Return the path of a `go` of at least a version, such as (1, 24, 0); raises NoGoError when there is none."""
    for candidate in (shutil.which("go", path=system_path()), "/usr/local/go/bin/go", "/usr/lib/go/bin/go"):
        if candidate and os.access(candidate, os.X_OK) and _version(candidate) >= wanted:
            return candidate
    text = ".".join(map(str, wanted))
    if tuple(int(part) for part in _VERSION.split(".")) < wanted[:2]:
        raise NoGoError(f"Go {text} or later is needed: put one on PATH (Debian's {_VERSION} is older)")
    root = cache_folder() / "debian" / _SUITE / "root"
    home = root / f"usr/lib/go-{_VERSION}"
    if not (home / "bin/go").exists():
        unpack([f"golang-{_VERSION}-go", f"golang-{_VERSION}-src"], root, _SUITE)
    # In the packages the tree is two halves, which links with absolute targets hold together.
    for link in home.iterdir():
        if link.is_symlink() and os.readlink(link).startswith("/"):
            target = root / os.readlink(link).lstrip("/")
            link.unlink()
            link.symlink_to(target)
    found = _version(str(home / "bin/go"))
    if found < wanted:
        said = ".".join(map(str, found))
        raise NoGoError(f"Go {text} or later is needed: put one on PATH (Debian's here is {said})")
    return str(home / "bin/go")


def _version(go: str) -> tuple[int, ...]:
    env = {**os.environ, "GOTOOLCHAIN": "local"}
    try:
        said = subprocess.run(
            [go, "env", "GOVERSION"], capture_output=True, text=True, env=env, cwd="/"
        ).stdout
    except OSError:
        return (0,)
    found = re.match(r"go(\d+(?:\.\d+)*)", said.strip())
    return tuple(int(part) for part in found.group(1).split(".")) if found else (0,)
