# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Durable files: whole or not there, also after a power cut."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from turbolift.errors import DeployError

_CHUNK = 1 << 20


def private_dir(path: Path) -> Path:
    """Make the folder `path` (and those above it) and see to it that nobody else can enter it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)
    return path


def write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace the file `path` by one with `data`, in one step: a reader sees the old one or the new one."""
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask is
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync_dir(path.parent)


def sync_dir(path: Path) -> None:
    """Make the names in the folder `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def copy_verified(source: Path, target: Path, sha256: str) -> None:
    """Copy the file `source` to `target`, which appears under its name only when its sha256 (hex) is right."""
    part = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    digest = hashlib.sha256()
    try:
        with source.open("rb") as reader, part.open("xb") as writer:
            while chunk := reader.read(_CHUNK):
                digest.update(chunk)
                writer.write(chunk)
            writer.flush()
            os.fsync(writer.fileno())
        if digest.hexdigest() != sha256:
            raise DeployError(f"{source}: damaged: its sha256 is {digest.hexdigest()}; package again")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; 0 where there is nothing."""
    if path.is_dir() and not path.is_symlink():
        return sum(size_of(child) for child in path.iterdir())
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def is_at(fd: int, path: Path) -> bool:
    """Return whether the open file `fd` is still the file of the name `path`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there. A folder leaves its name first: nobody sees half of it."""
    if path.is_dir() and not path.is_symlink():
        aside = path.with_name(f".removed-{path.name}-{secrets.token_hex(4)}")
        path.rename(aside)
        shutil.rmtree(aside)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[int]:
    """Open `path` as a file descriptor for the block."""
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)
