# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Look into OCI layouts as `package` writes them, without anything of turbolift."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

SITE_PACKAGES, SHIM, SOURCES = PREFIXES = ("app/site-packages", "app/shim", "app/src")


def read(path: Path) -> Any:
    """Return the JSON document in a file."""
    return json.loads(path.read_text("utf-8"))


def blob(layout: Path, digest: str) -> Path:
    """Return the file of a blob."""
    return layout / "blobs/sha256" / digest.removeprefix("sha256:")


def digest_of(layout: Path) -> str:
    """Return the manifest's digest of the one image in a layout."""
    (entry,) = read(layout / "index.json")["manifests"]
    digest: str = entry["digest"]
    return digest


def manifest_of(layout: Path) -> Any:
    """Return the manifest of the one image in a layout."""
    return read(blob(layout, digest_of(layout)))


def entries_of(layout: Path) -> dict[str, set[str]]:
    """Return the files and links of an image's own layers, those above the base: prefix -> paths below it."""
    found: dict[str, set[str]] = {prefix: set() for prefix in PREFIXES}
    for layer in manifest_of(layout)["layers"][1:]:
        with tarfile.open(blob(layout, layer["digest"]), "r:gz") as archive:
            for member in archive:
                if member.isdir():
                    continue
                prefix = next(prefix for prefix in found if member.name.startswith(f"{prefix}/"))
                found[prefix].add(member.name.removeprefix(f"{prefix}/"))
    return found


def without_byte_code(paths: set[str]) -> set[str]:
    """Return `paths` without byte code, each of which must have its source beside it."""
    sources = {path for path in paths if not path.endswith(".pyc")}
    for path in paths - sources:
        pure = PurePosixPath(path)
        assert pure.parent.name == "__pycache__", path
        assert str(pure.parent.parent / f"{pure.name.split('.')[0]}.py") in sources, path
    return sources
