# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Push images from a layout to a registry, by digest: each blob once, in parallel, the manifests last.

No Docker daemon takes part: it would write other bytes, and so another digest. A blob that the registry has is
not sent; one that another repository of the registry has is mounted from there.
"""

from __future__ import annotations

import contextlib
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from turbolift.errors import PackagingError, RegistryError
from turbolift.image import layout
from turbolift.image.connection import Connection
from turbolift.image.registry import DOCKER_INDEX, DOCKER_MANIFEST, Reference

_AT_ONCE = 6
_TRIES = 3
MANIFESTS = ", ".join((layout.MANIFEST, layout.INDEX, DOCKER_MANIFEST, DOCKER_INDEX))

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Target:
    """One image to be pushed: the digest of its manifest, the repository, and tags to give it there."""

    digest: str
    repository: Reference
    tags: tuple[str, ...] = ()


@dataclass(slots=True)
class Pushed:
    """What a push did: blobs that were sent, mounted from another repository, or there already; bytes sent;
    manifests that were written.
    """

    sent: int = 0
    mounted: int = 0
    present: int = 0
    size: int = 0
    manifests: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(
        self, *, sent: int = 0, mounted: int = 0, present: int = 0, size: int = 0, manifests: int = 0
    ) -> None:
        """Count, from any thread."""
        with self._lock:
            self.sent += sent
            self.mounted += mounted
            self.present += present
            self.size += size
            self.manifests += manifests


def push(source: layout.Layout, targets: Iterable[Target], *, insecure: bool = False) -> Pushed:
    """Push every image of `targets` that is not there yet; return what was done.

    HTTPS, but plain HTTP for a loopback address, or where `insecure`. Credentials are Docker's. Raises
    RegistryError naming the URL, PackagingError for a layout that is broken.
    """
    wanted = list(dict.fromkeys(targets))
    done = Pushed()
    connections = _Connections(insecure)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        there = _map(pool, lambda one: has(connections[one.repository], one.digest), wanted)
        missing = [one for one, found in zip(wanted, there, strict=True) if not found]
        blobs = _blobs(source, wanted, missing)
        _map(pool, lambda one: _bring(source, one, connections, done), blobs)
        # A registry takes a manifest only when it has all that the manifest names; and who reads it must be able
        # to pull at once.
        _map(pool, lambda one: _write(source, one, connections, done, new=one in missing), wanted)
    return done


def has(connection: Connection, digest: str) -> bool:
    """Return whether the repository has the manifest `digest`."""
    where = f"manifests/{digest}"
    with connection.open("HEAD", where, headers={"Accept": MANIFESTS}, accept=(404,)) as answer:
        return bool(answer.status == 200)


class _Connections:
    """A connection to each repository that is asked for."""

    def __init__(self, insecure: bool) -> None:
        self._insecure = insecure
        self._made: dict[str, Connection] = {}
        self._lock = threading.Lock()

    def __getitem__(self, repository: Reference) -> Connection:
        with self._lock:
            if repository.name not in self._made:
                self._made[repository.name] = Connection(
                    repository.host, repository.repository, insecure=self._insecure
                )
            return self._made[repository.name]


@dataclass(slots=True)
class _Blob:
    """A blob that has to be in `repositories` of one registry, and those where it is for certain."""

    digest: str
    size: int
    repositories: list[Reference]
    homes: list[str]


def _blobs(source: layout.Layout, wanted: Sequence[Target], missing: Sequence[Target]) -> list[_Blob]:
    found: dict[tuple[str, str], _Blob] = {}
    for target in [*missing, *(one for one in wanted if one not in missing)]:
        for digest, size in _parts(source, target.digest):
            key = (target.repository.host, digest)
            if target in missing:
                blob = found.setdefault(key, _Blob(digest, size, [], []))
                if target.repository not in blob.repositories:
                    blob.repositories.append(target.repository)
            elif key in found:
                # What has the manifest has its blobs: they can be mounted from there.
                found[key].homes.append(target.repository.repository)
    # The large ones first: nobody waits for one of them at the end.
    return sorted(found.values(), key=lambda blob: -blob.size)


def _parts(source: layout.Layout, digest: str) -> list[tuple[str, int]]:
    """Return digest and size of config and layers of an image."""
    manifest = source.image(digest).manifest
    return [(one["digest"], one["size"]) for one in (manifest["config"], *manifest["layers"])]


def _bring(source: layout.Layout, blob: _Blob, connections: _Connections, done: Pushed) -> None:
    """See to it that `blob` is in all of its repositories: sent once, then mounted."""
    home = blob.homes[0] if blob.homes else ""
    for repository in blob.repositories:
        connection = connections[repository]
        where = f"blobs/{blob.digest}"
        with connection.open("HEAD", where, accept=(404,)) as answer:
            there = answer.status == 200
        if there:
            done.add(present=1)
        elif _send(source, blob, connection, home):
            done.add(sent=1, size=blob.size)
        else:
            done.add(mounted=1)
        home = home or repository.repository


def _send(source: layout.Layout, blob: _Blob, connection: Connection, home: str) -> bool:
    """Upload `blob`, or have it mounted from the repository `home`; return whether it was uploaded."""
    path = _verified(source, blob)
    mount = {"mount": blob.digest, "from": home} if home and home != connection.repository else {}
    query = f"?{urllib.parse.urlencode(mount)}" if mount else ""
    for attempt in range(1, _TRIES + 1):
        with connection.open("POST", f"blobs/uploads/{query}", body=lambda: b"") as answer:
            if answer.status == 201:
                return False
            place = answer.headers.get("Location")
        if not place:
            raise RegistryError(
                f"{connection.url}/blobs/uploads/: answered without a Location", url=connection.url
            )
        # A broken upload cannot be resumed for certain: each try begins a new one.
        try:
            _upload(connection, urllib.parse.urljoin(f"{connection.url}/blobs/uploads/", place), blob, path)
            return True
        except RegistryError as error:
            if attempt == _TRIES or (error.status is not None and error.status < 500):
                raise
    raise AssertionError(blob)


def _upload(connection: Connection, place: str, blob: _Blob, path: Path) -> None:
    glue = "&" if urllib.parse.urlsplit(place).query else "?"
    url = f"{place}{glue}{urllib.parse.urlencode({'digest': blob.digest})}"
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
    with contextlib.ExitStack() as opened:

        def body() -> IO[bytes]:
            return opened.enter_context(path.open("rb"))

        connection.open("PUT", url, headers=headers, body=body, tries=1).close()


def _verified(source: layout.Layout, blob: _Blob) -> Path:
    path = source.blob_path(blob.digest)
    if not path.is_file() or path.stat().st_size != blob.size or layout.sha256_file(path) != blob.digest:
        raise PackagingError(f"{path}: missing or damaged: not {blob.size} bytes with the sha256 of its name")
    return path


def _write(
    source: layout.Layout, target: Target, connections: _Connections, done: Pushed, *, new: bool
) -> None:
    """Write the manifest under its digest where it is `new`, and under its tags."""
    data = source.read(target.digest)
    media_type = source.image(target.digest).manifest.get("mediaType", layout.MANIFEST)
    connection = connections[target.repository]
    names = [] if not new else [target.digest]
    names += [tag for tag in target.tags if new or _tagged(connection, tag) != target.digest]
    for name in names:
        headers = {"Content-Type": media_type}
        with connection.open("PUT", f"manifests/{name}", headers=headers, body=lambda: data) as answer:
            told = answer.headers.get("Docker-Content-Digest", target.digest)
        if told != target.digest:
            raise RegistryError(
                f"{connection.url}/manifests/{name}: the registry stored {told}: it changes what it is given",
                url=connection.url,
            )
    done.add(manifests=int(new))


def _tagged(connection: Connection, tag: str) -> str:
    """Return the digest that `tag` has in the registry; empty where there is no such tag."""
    where = f"manifests/{tag}"
    with connection.open("HEAD", where, headers={"Accept": MANIFESTS}, accept=(404,)) as answer:
        return str(answer.headers.get("Docker-Content-Digest", "")) if answer.status == 200 else ""


def _map(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Return `work` of each item; on an error the rest is not begun, and the first one is raised."""
    futures: list[Any] = [pool.submit(work, one) for one in items]
    try:
        return [future.result() for future in futures]
    except BaseException:
        for future in futures:
            future.cancel()
        raise
