# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Byte code beside all sources that a stack imports, as an installer leaves it in the peers' environments, and a build in an image.

Otherwise a cold start would be, for the most part, that of the compiler: Pants leaves none in what it runs, and
``$PYTHONDONTWRITEBYTECODE`` keeps the first start from leaving any.
"""

from __future__ import annotations

import compileall
import os
import sys
from collections.abc import Iterable


def compile_all(folders: Iterable[str]) -> None:
    """Compile what is importable from `folders`, but for this interpreter's own library."""
    own = os.path.realpath(sys.base_prefix) + os.sep
    for folder in folders:
        if not os.path.isdir(folder) or os.path.realpath(folder).startswith(own):
            continue
        for entry in os.scandir(folder):
            # A PEX's environment is of symbolic links, which compileall does not follow.
            path = os.path.realpath(entry.path)
            if os.path.isdir(path):
                compileall.compile_dir(path, quiet=2)
            elif path.endswith(".py"):
                compileall.compile_file(path, quiet=2)
