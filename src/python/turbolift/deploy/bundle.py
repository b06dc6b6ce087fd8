# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Read a bundle: everything in it is checked before anything is done with it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from turbolift import spec
from turbolift.deploy.platform import Release
from turbolift.errors import ConfigurationError, DocumentError
from turbolift.image.layout import Layout

_DEPLOYMENT = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle's images and its releases, each with the platform that was chosen for it."""

    images: Layout
    releases: tuple[Release, ...]


def check_deployment(name: str) -> str:
    """Return `name` if it can name a deployment. Raises ConfigurationError."""
    if not _DEPLOYMENT.match(name):
        raise ConfigurationError(
            f"--deployment {name!r}: it must be of a-z, 0-9 and -, as the name of the target, and start and "
            "end with a letter or digit"
        )
    return name


def read(path: Path, *, platform: str | None = None) -> Bundle:
    """Read the bundle in the folder `path`.

    The platform of a release is `platform`, else the bundle's own, else that of the function's tag. Raises
    DocumentError or PackagingError naming file and place.
    """
    index = path / "bundle.json"
    document = spec.load("bundle", index)
    images = Layout(path)
    releases: dict[str, Release] = {}
    for number, entry in enumerate(document["functions"]):
        where = f"$.functions[{number}]"
        function = entry["function"]
        if function in releases:
            raise DocumentError(
                f"{index}: at {where}: {function} is in the bundle twice", source=str(index), path=where
            )
        releases[function] = _release(path, index, where, entry, platform or document["platform"])
    return Bundle(images, tuple(releases.values()))


def version_of(image: str, document: dict[str, object]) -> str:
    """Return the version (64 hex digits) of a function with the image digest `image` and the spec `document`."""
    return hashlib.sha256(image.encode() + b"\n" + spec.canonical(document)).hexdigest()


def _release(path: Path, index: Path, where: str, entry: dict[str, str], platform: str | None) -> Release:
    def broken(field: str, message: str) -> DocumentError:
        place = f"{where}.{field}"
        return DocumentError(
            f"{index}: not a valid bundle index: at {place}: {message}; package again",
            source=str(index),
            path=place,
        )

    name = entry["spec"]
    if name.startswith("/") or ".." in name.split("/"):
        raise broken("spec", f"{name!r} is not a path inside the bundle")
    document = spec.load("function-spec", path / name)
    if document["function"] != entry["function"]:
        raise broken("spec", f"{name} is the spec of {document['function']}, not of {entry['function']}")
    if version_of(entry["image"], document) != entry["version"]:
        raise broken("version", f"{entry['version']} is not the version of its image and {name}")
    return Release(
        entry["function"],
        entry["version"],
        entry["image"],
        platform or document["platform"]["kind"],
        document,
    )
