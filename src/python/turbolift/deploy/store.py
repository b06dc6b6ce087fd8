# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The images that a deployment keeps: one OCI layout, each blob once, copied from bundles by digest."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from turbolift.deploy import files
from turbolift.deploy.platform import Removal
from turbolift.image.layout import Image, Layout, hex_of, sha256_file, write_index


def open_store(state: Path) -> Layout:
    """Return the store of the deployment whose folder is `state`; made if it is not there."""
    if not (state / "oci-layout").is_file():
        (state / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        write_index(state, [])
    return Layout(state)


def keep(source: Layout, store: Layout, digest: str) -> int:
    """Copy what `store` lacks of the image `digest` of `source`; return the bytes that were copied.

    Every blob is verified, those that are there already too. The manifest comes last: what has one is whole.
    """
    image = source.image(digest)
    small = [image.manifest["config"]["digest"], digest]
    sizes = {one.digest: one.size for one in image.layers}
    sizes |= {one: source.blob_path(one).stat().st_size for one in small}
    copied = 0
    for blob, size in sizes.items():
        target = store.blob_path(blob)
        if target.is_file() and target.stat().st_size == size and sha256_file(target) == blob:
            continue
        files.copy_verified(source.blob_path(blob), target, hex_of(blob))
        copied += size
    if copied:
        files.sync_dir(store.path / "blobs" / "sha256")
    return copied


def has(store: Layout, digest: str) -> bool:
    """Return whether the store has the image `digest`."""
    return store.blob_path(digest).is_file()


def blobs_of(store: Layout, image: Image) -> set[str]:
    """Return the file names of all blobs of `image`."""
    return {
        hex_of(one)
        for one in (image.digest, image.manifest["config"]["digest"], *(x.digest for x in image.layers))
    }


def prune(store: Layout, digests: Iterable[str], *, dry_run: bool) -> list[Removal]:
    """Remove the blobs that no image of `digests` needs; with `dry_run` only say which."""
    needed: set[str] = set()
    for digest in set(digests):
        if has(store, digest):
            needed |= blobs_of(store, store.image(digest))
    removed = []
    for path in sorted((store.path / "blobs" / "sha256").iterdir()):
        if path.name in needed:
            continue
        removed.append(Removal(_kind(path), str(path), files.size_of(path)))
        if not dry_run:
            files.remove(path)
    return removed


def _kind(path: Path) -> str:
    """Say what a blob is, for people."""
    try:
        if path.stat().st_size < 1 << 20 and isinstance(json.loads(path.read_bytes()), dict):
            return "image"
    except ValueError:
        pass
    return "layer blob"
