# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a deployment keeps its state on this machine.

The folder is named after the workspace (its path hashed), so that two clones of a repository never share processes or
routes, and after the deployment. XDG base directories: state survives, but is no user data.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

MARKER = "pants.toml"


def state_home() -> Path:
    """Return the folder of all turbolift state of this user."""
    root = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(root) / "turbolift"


def workspace_root(start: str | Path | None = None) -> Path | None:
    """Return the nearest folder at or above `start` (the current folder) that holds a ``pants.toml``, or None."""
    here = Path(start if start is not None else os.getcwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / MARKER).is_file():
            return folder
    return None


def workspace_id(root: str | Path) -> str:
    """Return the name of a workspace's state folder: its base name and a hash of its real path."""
    real = os.path.realpath(root)
    return f"{os.path.basename(real)}-{hashlib.sha256(real.encode()).hexdigest()[:8]}"


def deployment_dir(root: str | Path, deployment: str) -> Path:
    """Return the state folder of the deployment `deployment` of the workspace `root`."""
    return state_home() / workspace_id(root) / deployment


def routes_path(root: str | Path, deployment: str) -> Path:
    """Return where the route table of a deployment is written."""
    return deployment_dir(root, deployment) / "routes.json"
