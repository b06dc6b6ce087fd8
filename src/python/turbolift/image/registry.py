# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Read images from a registry (OCI distribution protocol), by digest, with Docker's credentials."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turbolift.errors import PackagingError
from turbolift.image import layout
from turbolift.image.connection import Connection
from turbolift.image.credentials import docker_credentials

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"

_ACCEPT = ", ".join((layout.MANIFEST, layout.INDEX, DOCKER_MANIFEST, DOCKER_INDEX))
_REFERENCE = re.compile(
    r"(?P<host>[^/@]+)/(?P<repository>[a-z0-9][a-z0-9._/-]*?)(?::(?P<tag>[\w][\w.-]*))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_TRIES = 3
_CHUNK = 1 << 20
_MANIFEST_LIMIT = 4 << 20


@dataclass(frozen=True, slots=True)
class Reference:
    """An image in a registry: ``host/repository``, and a tag or a digest or both."""

    host: str
    repository: str
    tag: str
    digest: str

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"

    @property
    def name(self) -> str:
        """``host/repository``."""
        return f"{self.host}/{self.repository}"


def parse_reference(text: str) -> Reference:
    """Parse ``HOST/REPOSITORY[:TAG][@sha256:...]``; raises PackagingError."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise PackagingError(
            f"{text!r}: not an image in a registry: write HOST/REPOSITORY@sha256:<64 hex digits>"
        )
    host = match["host"]
    if not ("." in host or ":" in host or host == "localhost"):
        raise PackagingError(
            f"{text!r}: name the registry too: {host!r} is no host (HOST/REPOSITORY@sha256:...)"
        )
    return Reference(host, match["repository"], match["tag"] or "", match["digest"] or "")


class Registry:
    """A connection to one repository of a registry, for reading.

    HTTPS, but plain HTTP for a loopback address, or where `insecure`. Raises RegistryError naming the URL.
    """

    def __init__(self, reference: Reference, *, insecure: bool = False) -> None:
        self._reference = reference
        self._connection = Connection(reference.host, reference.repository, insecure=insecure)
        self._url = self._connection.url

    def resolve(self, tag: str) -> str:
        """Return the digest that `tag` has now."""
        with self._get(f"manifests/{tag}", accept=_ACCEPT) as answer:
            return layout.sha256(answer.read(_MANIFEST_LIMIT))

    def manifest(self, digest: str) -> tuple[bytes, str]:
        """Return (bytes, media type) of a manifest or index, verified."""
        with self._get(f"manifests/{digest}", accept=_ACCEPT) as answer:
            data = answer.read(_MANIFEST_LIMIT)
            media_type = answer.headers.get_content_type()
        if layout.sha256(data) != digest:
            raise PackagingError(f"{self._url}/manifests/{digest}: what came has {layout.sha256(data)}")
        return data, json.loads(data).get("mediaType", media_type)

    def blob(self, digest: str, size: int, path: Path) -> None:
        """Download a blob to the file `path`, verified; nothing is left there on failure."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}-{os.getpid()}")
        problem = ""
        try:
            for _ in range(_TRIES):
                got = hashlib.sha256()
                done = 0
                try:
                    with self._get(f"blobs/{digest}") as answer, part.open("wb") as file:
                        while chunk := answer.read(_CHUNK):
                            got.update(chunk)
                            done += len(chunk)
                            file.write(chunk)
                except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
                    problem = str(error) or type(error).__name__
                    continue
                if done == size and f"sha256:{got.hexdigest()}" == digest:
                    part.replace(path)
                    return
                problem = f"{done} bytes with sha256:{got.hexdigest()} came, not {size} bytes"
        finally:
            part.unlink(missing_ok=True)
        raise PackagingError(f"{self._url}/blobs/{digest}: {problem}")

    def _get(self, path: str, *, accept: str = "*/*") -> Any:
        return self._connection.open("GET", path, headers={"Accept": accept})


__all__ = [
    "DOCKER_INDEX",
    "DOCKER_MANIFEST",
    "Reference",
    "Registry",
    "docker_credentials",
    "parse_reference",
]
