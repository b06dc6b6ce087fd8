# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The ``layer`` command: one layer blob from a folder.

A layer is written as ``OUT/blobs/sha256/<hex>`` and described by ``OUT/layer.json``: ``{"kind", "mediaType",
"digest", "size", "diff_id"}``. A folder without files gives no blob, and ``null``: `assemble` skips it.
"""

from __future__ import annotations

import argparse
import json
import os
import posixpath
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turbolift import spec
from turbolift.errors import PackagingError
from turbolift.image.archive import log
from turbolift.image.blob import write_layer
from turbolift.image.bytecode import compile_tree
from turbolift.image.tar import Entry

KINDS = ("third-party", "shim", "first-party")


def add(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "layer",
        help="make one deterministic layer from a folder",
        description="Pack a folder as a layer: sorted, owned by root, one date, modes 0644 or 0755, with "
        "byte code compiled by the base's own Python. A first-party file that the base's Python cannot "
        "compile is an error.",
    )
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--tree", type=Path, required=True, help="the folder")
    parser.add_argument("--prefix", required=True, help="where its content goes in the image, as app/src")
    parser.add_argument("--base-rootfs", type=Path, required=True, help="the unpacked base (base --rootfs)")
    parser.add_argument("--python", help="the interpreter's path in the base (default: the newest in it)")
    parser.add_argument(
        "--paths", type=Path, help="JSON: path below --tree -> the path that messages name (the repository's)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for layer.json and the blob")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    document = build(
        options.kind,
        options.tree,
        options.prefix,
        options.base_rootfs,
        options.out,
        python=options.python,
        named=json.loads(options.paths.read_bytes()) if options.paths is not None else {},
    )
    log(f"{options.kind}: {document['digest'] if document else 'nothing, no layer'}")


def build(
    kind: str,
    tree: Path,
    prefix: str,
    rootfs: Path,
    out: Path,
    *,
    python: str | None = None,
    named: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """Write the layer of `tree` and its ``layer.json`` into `out`; return what the latter says.

    `named` says by which name messages call a file (path below `tree` -> name; else that path).
    """
    prefix = prefix.strip("/")
    entries = tree_entries(tree, prefix)
    document: dict[str, Any] | None = None
    out.mkdir(parents=True, exist_ok=True)
    if entries:
        with tempfile.TemporaryDirectory(prefix="turbolift-layer-") as folder:
            byte_code = Path(folder)
            entries += _byte_code(kind, tree, prefix, entries, rootfs, byte_code, python, named or {})
            blob = write_layer(entries, out / "blobs" / "sha256")
        document = {"kind": kind, **blob.descriptor(), "diff_id": blob.diff_id}
    (out / "layer.json").write_bytes(spec.canonical(document))
    return document


def tree_entries(tree: Path, prefix: str) -> list[Entry]:
    """Return the files and links below `tree` as entries below `prefix`; old byte code is left out.

    Raises PackagingError for a symlink that leaves the tree, and for what is neither file, folder nor link.
    """
    if not tree.is_dir():
        raise PackagingError(f"{tree}: no such folder")
    entries = []
    for folder, folders, files in os.walk(tree):
        folders[:] = [one for one in folders if one != "__pycache__"]
        links = [one for one in folders if os.path.islink(os.path.join(folder, one))]
        for name in [*files, *links]:
            path = Path(folder, name)
            relative = path.relative_to(tree).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                entries.append(
                    Entry(f"{prefix}/{relative}", "symlink", 0o777, link=_link(tree, path, relative))
                )
            elif not stat.S_ISREG(mode):
                raise PackagingError(f"{path}: neither a file nor a link: it cannot be in an image")
            elif not name.endswith(".pyc"):
                entries.append(
                    Entry(f"{prefix}/{relative}", mode=0o755 if mode & 0o111 else 0o644, data=path)
                )
    return sorted(entries, key=lambda one: one.path)


def _link(tree: Path, path: Path, relative: str) -> str:
    target = os.readlink(path)
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(relative), target))
    real, root = os.path.realpath(path), os.path.realpath(tree)
    if target.startswith("/") or joined.startswith("..") or not f"{real}/".startswith(f"{root}/"):
        raise PackagingError(
            f"{path}: a symbolic link to {target}, outside of what is packaged: copy the file instead"
        )
    return target


def _byte_code(
    kind: str,
    tree: Path,
    prefix: str,
    entries: Sequence[Entry],
    rootfs: Path,
    out: Path,
    python: str | None,
    named: Mapping[str, str],
) -> list[Entry]:
    names = [
        one.path[len(prefix) + 1 :] for one in entries if one.kind == "file" and one.path.endswith(".py")
    ]
    if not names:
        return []
    done = compile_tree(rootfs, tree, names, out, prefix=prefix, python=python)
    if done.broken and kind != "third-party":
        listed = "\n  ".join(
            f"{named.get(one.name, one.name)}:{f'{one.line}:' if one.line else ''} {one.message}"
            for one in done.broken
        )
        raise PackagingError(
            f"the base image's Python {done.version} cannot compile:\n  {listed}\nwrong Python version for "
            "the base image, or a syntax error: write for its Python, or choose another base"
        )
    return [Entry(f"{prefix}/{path.relative_to(out).as_posix()}", data=path) for path in out.rglob("*.pyc")]
