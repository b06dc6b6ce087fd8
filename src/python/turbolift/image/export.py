# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The ``export`` command: one tar of an image, which ``docker load`` and ``podman load`` take.

It is an OCI layout and, by one more file (``manifest.json``), what ``docker save`` writes: engines of any age
read it.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

from turbolift.errors import PackagingError
from turbolift.image import layout, tar
from turbolift.image.archive import log
from turbolift.image.blob import FIXED_TIME
from turbolift.spec import canonical

_TAG = re.compile(r"(?P<name>[a-z0-9][a-z0-9._:/-]*?)(?::(?P<tag>[\w][\w.-]{0,127}))?")


def add(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "export",
        help="write one tar that docker load and podman load take",
        description="Write one image of a layout as a tar: docker load -i FILE, podman load -i FILE.",
    )
    parser.add_argument("--layout", type=Path, required=True, help="OCI layout with all blobs")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--function", metavar="MODULE:QUALNAME", help="the function whose image to take")
    which.add_argument("--digest", metavar="sha256:...", help="the digest of its manifest")
    parser.add_argument("--tag", required=True, metavar="NAME[:TAG]", help="what the engine will call it")
    parser.add_argument("--out", type=Path, required=True, help="the tar to write")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    source = layout.Layout(options.layout)
    digest = source.find(function=options.function, digest=options.digest)
    export(source, digest, options.tag, options.out)
    log(f"{options.out}: {digest} as {options.tag}")


def export(source: layout.Layout, digest: str, tag: str, out: Path) -> None:
    """Write the image with the manifest `digest` to the tar `out`, named `tag`.

    All blobs are verified first.
    """
    match = _TAG.fullmatch(tag)
    if match is None:
        raise PackagingError(f"--tag {tag}: not a name for an image (lower case, as shop/cart:dev)")
    reference = f"{match['name']}:{match['tag'] or 'latest'}"
    image = source.image(digest)
    files: dict[str, bytes | Path] = {
        _blob(digest): source.read(digest),
        _blob(image.manifest["config"]["digest"]): source.read(image.manifest["config"]["digest"]),
    }
    for layer in image.layers:
        files[_blob(layer.digest)] = source.verified(layer)
    descriptor = {
        "mediaType": image.manifest.get("mediaType", layout.MANIFEST),
        "digest": digest,
        "size": len(source.read(digest)),
        "annotations": {layout.REF_NAME: match["tag"] or "latest", "io.containerd.image.name": reference},
    }
    index = {"schemaVersion": 2, "mediaType": layout.INDEX, "manifests": [descriptor]}
    docker = [
        {
            "Config": _blob(image.manifest["config"]["digest"]),
            "RepoTags": [reference],
            "Layers": [_blob(one.digest) for one in image.layers],
        }
    ]
    files["oci-layout"] = canonical({"imageLayoutVersion": "1.0.0"})
    files["index.json"] = canonical(index)
    files["manifest.json"] = canonical(docker)
    part = out.with_name(f".{out.name}-{os.getpid()}")
    try:
        with part.open("wb") as file:
            tar.write(
                (tar.Entry(name, data=data) for name, data in files.items()), file.write, mtime=FIXED_TIME
            )
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest[7:]}"
