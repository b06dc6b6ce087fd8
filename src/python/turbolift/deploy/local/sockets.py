# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the unix sockets of a deployment are: a short path (the kernel takes 107 bytes), in a folder of ours
alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path

from turbolift.errors import DeployError

_LONGEST = 100
_NAME = len("/0123456789ab.sock")


def socket_dir(state: Path) -> Path:
    """Return the folder for the sockets of the deployment whose state is in `state`; made if it is not there.

    Raises DeployError where somebody else owns a folder on the way, or could enter it.
    """
    path = where(state)
    for folder in (path.parent, path):
        _private(folder)
    return path


def where(state: Path) -> Path:
    """Return the folder for the sockets of a deployment, which may not be there."""
    short = hashlib.sha256(os.fsencode(os.path.realpath(state))).hexdigest()[:12]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and os.path.isdir(runtime):
        path = Path(runtime, "turbolift", short)
        if len(os.fsencode(path)) + _NAME <= _LONGEST:
            return path
    return Path(f"/tmp/turbolift-{os.getuid()}", short)


def _private(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise DeployError(
            f"{folder}: is not a folder of yours (owner {found.st_uid}): the sockets of functions would be "
            "somebody else's. Remove it, or set XDG_RUNTIME_DIR to a folder of your own"
        )
    if found.st_mode & 0o077:
        folder.chmod(0o700)
