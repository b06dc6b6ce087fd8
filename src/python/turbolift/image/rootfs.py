# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Unpack a base image as a folder that its own Python runs from, wherever the folder is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from turbolift.errors import PackagingError
from turbolift.image.interpreter import write_launcher
from turbolift.image.layout import Layout
from turbolift.image.unpack import unpack_image


def write_rootfs(base: Layout, rootfs: Path, *, python: str | None = None) -> None:
    """Unpack the only image of `base` into the new folder `rootfs`, and add the launcher of its Python.

    Links that point to nothing are left out: build tools refuse to keep them, and nothing runs through them.
    Raises PackagingError if the folder is there and not empty, or the base has no usable Python.
    """
    if rootfs.exists() and any(rootfs.iterdir()):
        raise PackagingError(f"{rootfs}: is not empty: give a new folder for the root file system")
    part = rootfs.with_name(f".{rootfs.name}-{os.getpid()}")
    try:
        unpack_image(base, base.image(), part)
        for folder, folders, files in os.walk(part):
            for name in [*folders, *files]:
                path = Path(folder, name)
                if path.is_symlink() and not path.exists():
                    path.unlink()
        write_launcher(part, python=python)
        if rootfs.exists():
            rootfs.rmdir()
        part.rename(rootfs)
    finally:
        shutil.rmtree(part, ignore_errors=True)
