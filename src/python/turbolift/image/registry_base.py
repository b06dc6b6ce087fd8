# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The ``registry-base`` command: take the base image from a registry, by digest."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from turbolift import spec
from turbolift.errors import PackagingError
from turbolift.image import layout
from turbolift.image.archive import log
from turbolift.image.base import PYTHON_ANNOTATION
from turbolift.image.interpreter import find_python
from turbolift.image.platform import complete_platform
from turbolift.image.registry import DOCKER_INDEX, Reference, Registry, parse_reference
from turbolift.image.rootfs import write_rootfs

BASE_NAME_ANNOTATION = "dev.turbolift.base.name"

_PLATFORM = {"os": "linux", "architecture": "amd64"}


def add(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "registry-base",
        help="take the base image from a registry, by digest",
        description="Download a base (linux/amd64, with a CPython of 3.11 or later and glibc or musl) by its "
        "digest, verify every blob, and unpack it so that its Python runs on this machine. A tag alone is "
        "refused: it may mean another image tomorrow. Credentials are those of docker login.",
    )
    parser.add_argument("--reference", required=True, metavar="HOST/REPOSITORY@sha256:...")
    parser.add_argument("--out", type=Path, required=True, help="folder for the OCI layout")
    parser.add_argument("--rootfs", type=Path, required=True, help="folder for the unpacked file system")
    parser.add_argument("--python", help="the interpreter's path in the image (default: the newest in it)")
    parser.add_argument(
        "--complete-platform",
        type=Path,
        metavar="FILE",
        help="write the base's platform here, for third-party",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    reference = parse_reference(options.reference)
    if not reference.digest:
        raise PackagingError(unpinned(reference))
    pull(reference, options.out, options.rootfs, python=options.python)
    if options.complete_platform is not None:
        platform = complete_platform(options.rootfs, python=options.python)
        options.complete_platform.write_bytes(spec.canonical(platform))


def unpinned(reference: Reference) -> str:
    """Return the advice for a reference without a digest, with its tag's digest if that can be asked."""
    tag = reference.tag or "latest"
    advice = f"{reference}: a tag can mean another image tomorrow; pin the base by its digest: "
    try:
        digest = Registry(reference).resolve(tag)
    except PackagingError:
        return (
            f"{advice}{reference.name}@sha256:<64 hex digits>. To find it: skopeo inspect --format "
            f"'{{{{.Digest}}}}' docker://{reference.name}:{tag}, or docker pull {reference.name}:{tag} and "
            "read its last lines"
        )
    return f"{advice}now it would be {reference.name}@{digest}"


def pull(reference: Reference, out: Path, rootfs: Path, *, python: str | None = None) -> layout.Image:
    """Download `reference` (with a digest) as the layout `out`, unpack it into `rootfs`; return the image."""
    registry = Registry(reference)
    digest = reference.digest
    data, media_type = registry.manifest(digest)
    if media_type in (layout.INDEX, DOCKER_INDEX):
        digest = _for_platform(reference, json.loads(data))
        data, media_type = registry.manifest(digest)
    manifest = json.loads(data)
    if "layers" not in manifest or "config" not in manifest:
        raise PackagingError(f"{reference}: not the manifest of an image ({media_type})")
    blobs = out / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    (blobs / digest[7:]).write_bytes(data)
    wanted = [manifest["config"], *manifest["layers"]]
    log(
        f"{reference.name}: {len(manifest['layers'])} layers, {sum(one['size'] for one in wanted) / 1e6:.1f} "
        "MB"
    )
    for one in wanted:
        path = blobs / layout.hex_of(one["digest"])
        if not (path.is_file() and layout.sha256_file(path) == one["digest"]):
            registry.blob(one["digest"], one["size"], path)
    descriptor: dict[str, Any] = {
        "mediaType": media_type,
        "digest": digest,
        "size": len(data),
        "platform": _PLATFORM,
        "annotations": {BASE_NAME_ANNOTATION: reference.name},
    }
    layout.write_index(out, [descriptor])
    base = layout.Layout(out)
    image = base.image()
    have = {key: image.config.get(key) for key in _PLATFORM}
    if have != _PLATFORM:
        raise PackagingError(f"{reference}: is for {have['os']}/{have['architecture']}, not for linux/amd64")
    write_rootfs(base, rootfs, python=python)
    descriptor["annotations"][PYTHON_ANNOTATION] = python or find_python(rootfs)
    layout.write_index(out, [descriptor])
    log(f"base: {digest} with {descriptor['annotations'][PYTHON_ANNOTATION]}")
    return image


def _for_platform(reference: Reference, index: dict[str, Any]) -> str:
    found = []
    for one in index.get("manifests", []):
        platform = one.get("platform") or {}
        if all(platform.get(key) == value for key, value in _PLATFORM.items()):
            return str(one["digest"])
        found.append(f"{platform.get('os')}/{platform.get('architecture')}")
    raise PackagingError(f"{reference}: has no image for linux/amd64; it has: {', '.join(found) or 'none'}")
