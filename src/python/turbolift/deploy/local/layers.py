# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Unpacked layers, each once for all deployments of a user, below ``<state home>/layers``.

An application layer is a folder named by its diff id. A base (all its layers, one over the other) is a folder
named by its chain id, as the OCI image specification defines it: of one layer that is its diff id.

A folder appears under its name only when it is whole. Whoever unpacks or starts from layers holds the shared
lock; whoever removes some holds the exclusive one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from turbolift.deploy import files
from turbolift.deploy.platform import Removal
from turbolift.errors import DeployError, PackagingError
from turbolift.image.interpreter import write_launcher
from turbolift.image.layout import Image, Layer, Layout, hex_of
from turbolift.image.unpack import unpack_layer, unpack_layers
from turbolift.spec import state_home

_OURS = frozenset(f"turbolift {kind}" for kind in ("third-party", "shim", "first-party"))


@dataclass(frozen=True, slots=True)
class Split:
    """The layers of a function's image: those of its base, and what was put on it (bottom first)."""

    base: tuple[Layer, ...]
    application: tuple[Layer, ...]

    @property
    def base_name(self) -> str:
        """The chain id of the base, in hex."""
        return chain_id([hex_of(one.diff_id) for one in self.base])

    def names(self) -> list[str]:
        """Return the folder names of all that the image needs unpacked."""
        return [self.base_name, *(hex_of(one.diff_id) for one in self.application)]


def split(image: Image) -> Split:
    """Tell the base's layers from turbolift's by the image's history. Raises PackagingError."""
    history = [one for one in image.config.get("history") or [] if not one.get("empty_layer")]
    if len(history) != len(image.layers):
        raise PackagingError(
            f"{image.digest}: its history has {len(history)} entries for {len(image.layers)} layers: not an "
            "image of 'python -m turbolift.image assemble'"
        )
    count = len(image.layers)
    while count and history[count - 1].get("created_by") in _OURS:
        count -= 1
    if not count:
        raise PackagingError(f"{image.digest}: has no base below its own layers")
    return Split(image.layers[:count], image.layers[count:])


def chain_id(diff_ids: list[str]) -> str:
    """Return the OCI chain id (hex) of layers with these diff ids (hex, bottom first)."""
    chain = diff_ids[0]
    for one in diff_ids[1:]:
        chain = hashlib.sha256(f"sha256:{chain} sha256:{one}".encode()).hexdigest()
    return chain


class Layers:
    """The unpacked layers of this user."""

    def __init__(self, say: Callable[[str], None], folder: Path | None = None) -> None:
        self.folder = folder or state_home() / "layers"
        self._say = say
        self._shared: int | None = None

    def hold(self) -> None:
        """Keep everybody from removing layers until this process ends, or `release`."""
        while self._shared is None:
            files.private_dir(self.folder)
            fd = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_SH)
            if files.is_at(fd, self.folder / ".lock"):
                self._shared = fd
            else:
                # Whoever removed the last layers removed the folder: there is a new one to be made.
                os.close(fd)

    def release(self) -> None:
        """Let go of the shared lock."""
        if self._shared is not None:
            os.close(self._shared)
            self._shared = None

    def path(self, name: str) -> Path:
        """Return the folder of an unpacked layer or base."""
        return self.folder / name

    def unpack(self, store: Layout, image: Image) -> Split:
        """See to it that all of `image` is unpacked; the shared lock must be held. Raises PackagingError."""
        parts = split(image)
        if not self.path(parts.base_name).is_dir():
            size = sum(one.size for one in parts.base)
            self._say(f"unpacking the base image {parts.base_name[:12]} ({size / 1e6:.1f} MB, once)")
            self._once(parts.base_name, partial(_unpack_base, store, parts.base))
        for one in parts.application:
            name = hex_of(one.diff_id)
            if not self.path(name).is_dir():
                self._say(f"unpacking layer {name[:12]} ({one.size / 1e6:.1f} MB)")
                self._once(name, partial(_unpack_layer, store, one))
        return parts

    def _once(self, name: str, fill: Callable[[Path], object]) -> None:
        part = self.folder / f".part-{name[:12]}-{secrets.token_hex(4)}"
        part.mkdir(mode=0o700)
        try:
            fill(part)
            with contextlib.suppress(OSError):
                # Another run may have been faster; what it unpacked has the same digest.
                part.rename(self.path(name))
            if not self.path(name).is_dir():
                raise DeployError(f"{self.path(name)}: cannot be made")
        finally:
            shutil.rmtree(part, ignore_errors=True)

    @contextlib.contextmanager
    def removing(self) -> Iterator[bool]:
        """Hold the exclusive lock for the block, if nobody deploys now: yields whether that is so."""
        try:
            fd = os.open(self.folder / ".lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            yield False
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield files.is_at(fd, self.folder / ".lock")
        except BlockingIOError:
            yield False
        finally:
            os.close(fd)

    def prune(self, used: set[str], *, dry_run: bool) -> list[Removal]:
        """Remove every layer that is not in `used` (names), and what killed runs left half unpacked."""
        removed: list[Removal] = []
        with self.removing() as alone:
            if not alone:
                return removed
            for path in sorted(self.folder.iterdir()):
                if path.name == ".lock" or path.name in used:
                    continue
                removed.append(Removal("unpacked layer", str(path), files.size_of(path)))
                if not dry_run:
                    files.remove(path)
            if not used and not dry_run and os.listdir(self.folder) == [".lock"]:
                files.remove(self.folder)
        return removed


def used_elsewhere(own: Path | None) -> set[str]:
    """Return the names of layers that deployments other than the one in the folder `own` use."""
    used: set[str] = set()
    for path in state_home().glob("*/*/layers-used/*.json"):
        if own is not None and path.parent.parent == own:
            continue
        with contextlib.suppress(OSError, ValueError):
            used.update(json.loads(path.read_text("utf-8")))
    return used


def _unpack_base(store: Layout, layers: tuple[Layer, ...], part: Path) -> None:
    unpack_layers(((store.verified(one), one.diff_id) for one in layers), part, special="skip")
    write_launcher(part)


def _unpack_layer(store: Layout, layer: Layer, part: Path) -> None:
    unpack_layer(store.verified(layer), part, diff_id=layer.diff_id)
