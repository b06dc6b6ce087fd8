# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A deployment's images in the registry: pushed by digest, tagged so that `prune` finds what is its own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence

from turbolift.deploy import store
from turbolift.deploy.k8s.settings import Settings
from turbolift.deploy.platform import Release, Removal
from turbolift.errors import DeployError, RegistryError
from turbolift.image.connection import Connection
from turbolift.image.layout import Layout
from turbolift.image.push import MANIFESTS, Pushed, Target, has, push
from turbolift.image.registry import parse_reference

_LIMIT = 4 << 20


def tag_of(deployment: str, id: str, version: str) -> str:
    """Return the tag that says whose an image is. `id` tells deployments of one name in several clusters apart."""
    return f"{deployment}.{id}.{version[:20]}"


def push_releases(
    source: Layout, settings: Settings, id: str, releases: Sequence[Release], *, insecure: bool
) -> Pushed:
    """Push what the registry lacks of `releases`; an image that is not in `source` must be there already."""
    targets = []
    for release in releases:
        if store.has(source, release.image):
            reference = parse_reference(settings.repository(release.function))
            tag = tag_of(settings.deployment, id, release.version)
            targets.append(Target(release.image, reference, (tag,)))
        elif not is_there(settings, release, insecure=insecure):
            raise DeployError(
                f"{release.function}: the image of {release.version[:10]} was pruned, here and in "
                f"{settings.repository(release.function)}: deploy it again",
                function=release.function,
            )
    return push(source, targets, insecure=insecure)


def is_there(settings: Settings, release: Release, *, insecure: bool) -> bool:
    """Return whether the registry has the image of `release`."""
    return has(_connection(settings, release.function, insecure), release.image)


def prune(
    settings: Settings,
    id: str,
    functions: Iterable[str],
    keep: Iterable[Release],
    *,
    insecure: bool,
    dry_run: bool,
) -> list[Removal]:
    """Remove the images of `functions` that this deployment pushed and that none of `keep` needs; return them.

    An image that another deployment's tag names stays. What a registry does not delete is left, and not returned.
    """
    kept = list(keep)
    removed = []
    for function in sorted(set(functions)):
        ours = {one.version[:20]: one.image for one in kept if one.function == function}
        connection = _connection(settings, function, insecure)
        removed += _prune_one(connection, tag_of(settings.deployment, id, ""), ours, dry_run=dry_run)
    return removed


def _prune_one(connection: Connection, mine: str, keep: dict[str, str], *, dry_run: bool) -> list[Removal]:
    tags = {tag: _digest(connection, tag) for tag in _tags(connection)}
    old = {
        tag: digest for tag, digest in tags.items() if tag.startswith(mine) and tag[len(mine) :] not in keep
    }
    needed = {digest for tag, digest in tags.items() if tag not in old} | set(keep.values())
    gone = {digest for digest in old.values() if digest and digest not in needed}
    blobs: dict[str, int] = {}
    for digest in gone:
        blobs |= _blobs(connection, digest)
    for digest in needed:
        for blob in _blobs(connection, digest) if digest else {}:
            blobs.pop(blob, None)
    removed = []
    for digest in sorted(gone):
        if dry_run or _delete(connection, f"manifests/{digest}"):
            # Its size is that of its blobs, which are told one by one.
            removed.append(Removal("image", f"{connection.host}/{connection.repository}@{digest}", 0))
    if gone and len(removed) == len(gone):
        for blob, size in sorted(blobs.items()):
            if dry_run or _delete(connection, f"blobs/{blob}"):
                removed.append(
                    Removal("image blob", f"{connection.host}/{connection.repository}@{blob}", size)
                )
    return removed


def _connection(settings: Settings, function: str, insecure: bool) -> Connection:
    reference = parse_reference(settings.repository(function))
    return Connection(reference.host, reference.repository, insecure=insecure)


def _tags(connection: Connection) -> list[str]:
    with connection.open("GET", "tags/list?n=10000", accept=(404,)) as answer:
        if answer.status == 404:
            return []
        return [str(tag) for tag in json.loads(answer.read(_LIMIT)).get("tags") or []]


def _digest(connection: Connection, tag: str) -> str:
    where = f"manifests/{tag}"
    with connection.open("HEAD", where, headers={"Accept": MANIFESTS}, accept=(404,)) as answer:
        return str(answer.headers.get("Docker-Content-Digest", "")) if answer.status == 200 else ""


def _blobs(connection: Connection, digest: str) -> dict[str, int]:
    """Return digest and size of config and layers of the image `digest`; nothing where it is not there."""
    where = f"manifests/{digest}"
    with connection.open("GET", where, headers={"Accept": MANIFESTS}, accept=(404,)) as answer:
        if answer.status == 404:
            return {}
        manifest = json.loads(answer.read(_LIMIT))
    return {one["digest"]: one["size"] for one in (manifest["config"], *manifest["layers"])}


def _delete(connection: Connection, where: str) -> bool:
    """Delete a manifest or a blob; return whether it is gone. Not every registry lets its users do that."""
    with contextlib.suppress(RegistryError), connection.open("DELETE", where, accept=(404,)) as answer:
        return bool(answer.status < 300)
    return False
