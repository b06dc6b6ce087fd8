# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Run pex, which is a library of this tool, by its own command line."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from turbolift.errors import PackagingError

# What pex and the pip in it may see of the environment: how to reach the network, and where to put temporary
# files. Nothing that could change what is resolved: the settings of pex and pip are not read. HOME is for the
# passwords in ~/.netrc.
_PASSED = (
    "HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NETRC",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
)


def pex_command() -> tuple[list[str], dict[str, str]]:
    """Return (argv, environment) that run pex on this program's own Python; arguments are to be added."""
    found = importlib.util.find_spec("pex")
    if found is None or not found.submodule_search_locations:
        raise PackagingError("this command needs the package pex beside it: install pex==2.69.2")
    folder = Path(found.submodule_search_locations[0]).resolve().parent
    env = {name: os.environ[name] for name in _PASSED if name in os.environ}
    env |= {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(folder),
        "PYTHONHASHSEED": "0",
        "PEX_IGNORE_RCFILES": "1",
    }
    return [sys.executable, "-s", "-m", "pex"], env
