# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Read a bundle: everything in it is checked before anything is done with it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turbolift import spec
from turbolift.deploy.platform import App, Release
from turbolift.errors import ConfigurationError, DocumentError
from turbolift.image.layout import Layout

_DEPLOYMENT = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle's images and its releases, each with the platform that was chosen for it."""

    images: Layout
    releases: tuple[Release, ...]
    apps: tuple[App, ...] = ()


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
    apps = [
        _app(path, index, f"$.apps[{number}]", entry, releases)
        for number, entry in enumerate(document.get("apps", ()))
    ]
    return Bundle(images, tuple(releases.values()), tuple(apps))


def version_of(image: str, document: dict[str, object]) -> str:
    """Return the version (64 hex digits) of a function with the image digest `image` and the spec `document`."""
    return hashlib.sha256(image.encode() + b"\n" + spec.canonical(document)).hexdigest()


def _broken(index: Path, place: str, message: str) -> DocumentError:
    return DocumentError(
        f"{index}: not a valid bundle index: at {place}: {message}; package again",
        source=str(index),
        path=place,
    )


def _spec(
    path: Path, index: Path, where: str, kind: spec.Kind, entry: dict[str, Any], identity: str
) -> dict[str, Any]:
    """Return the spec of a function or app, `identity` being its field in both."""
    name = entry["spec"]
    if name.startswith("/") or ".." in name.split("/"):
        raise _broken(index, f"{where}.spec", f"{name!r} is not a path inside the bundle")
    document = spec.load(kind, path / name)
    if document[identity] != entry[identity]:
        told = f"{name} is the spec of {document[identity]}, not of {entry[identity]}"
        raise _broken(index, f"{where}.spec", told)
    pinned = {**document, "pins": entry["pins"]} if "pins" in entry else document
    if version_of(entry["image"], pinned) != entry["version"]:
        raise _broken(
            index, f"{where}.version", f"{entry['version']} is not the version of its image and {name}"
        )
    return document


def _app(path: Path, index: Path, where: str, entry: dict[str, Any], releases: dict[str, Release]) -> App:
    document = _spec(path, index, where, "app-spec", entry, "app")
    pins = []
    for function, version in entry["pins"].items():
        release = releases.get(function)
        if release is None or release.version != version:
            told = f"{function} at {version[:10]} is not in the bundle"
            raise _broken(index, f"{where}.pins", told)
        pins.append(release)
    return App(Release(entry["app"], entry["version"], entry["image"], "k8s", document), tuple(pins))


def _release(path: Path, index: Path, where: str, entry: dict[str, str], platform: str | None) -> Release:
    document = _spec(path, index, where, "function-spec", entry, "function")
    return Release(
        entry["function"],
        entry["version"],
        entry["image"],
        platform or document["platform"]["kind"],
        document,
    )
