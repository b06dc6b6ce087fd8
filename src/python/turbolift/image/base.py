# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The ``base`` command: the base image from locked Debian packages.

The packages are read by this program itself: no dpkg, no chroot, no root, and no maintainer script runs. What
those would have done (merged ``/usr``, the certificate bundle, users) is in `recipe`.
"""

from __future__ import annotations

import argparse
import os
import posixpath
import re
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from turbolift import spec
from turbolift.errors import PackagingError
from turbolift.image import deb, layout, recipe
from turbolift.image.archive import Fetcher, LockedPackage, log
from turbolift.image.blob import write_layer
from turbolift.image.bytecode import compile_tree
from turbolift.image.rootfs import write_rootfs
from turbolift.image.tar import Entry, with_parents

PYTHON_ANNOTATION = "dev.turbolift.python"

_MERGED = re.compile(r"(bin|sbin|lib|lib64)(?=/)")
_LIBRARY = re.compile(r"usr/lib/python3[^/]*/.*\.py\Z")


def add(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "base",
        help="build the base image from hash-locked Debian packages",
        description="Build the base image (Debian's python3.11 on amd64) from the packages of a lock. No "
        "root, no Docker; the result has the digest that the lock says, or this fails. Packages come from "
        "--debs, else from --mirror, else from where this machine's apt gets its own.",
    )
    parser.add_argument("--lock", type=Path, required=True, help="the base lock (base-lock.json)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the OCI layout")
    parser.add_argument(
        "--rootfs", type=Path, help="folder for the unpacked file system, to run its Python from"
    )
    parser.add_argument("--debs", type=Path, help="folder of .deb files; downloads are kept here too")
    parser.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="URL",
        help="root of a Debian archive to try first (repeatable)",
    )
    parser.add_argument(
        "--unlocked",
        action="store_true",
        help="do not compare the result with the lock's digest, only print it",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    lock = spec.load("base-lock", options.lock)
    with tempfile.TemporaryDirectory(prefix="turbolift-debs-") as folder:
        fetcher = Fetcher(options.debs or Path(folder), options.mirror)
        image = build(lock, fetcher, options.out)
    if not options.unlocked and image.digest != lock["digest"]:
        raise PackagingError(
            f"{options.out}: the base came out as {image.digest}, but {options.lock} says {lock['digest']}. "
            "The packages are those of the lock, so it was made by another version of this program: refresh "
            "it (base-lock --help)"
        )
    if options.rootfs is not None:
        write_rootfs(layout.Layout(options.out), options.rootfs, python=recipe.PYTHON)
    log(f"base: {image.digest}")


def build(lock: dict[str, Any], fetcher: Fetcher, out: Path) -> layout.Image:
    """Build the base of `lock` as the OCI layout `out` and return its image; its digest is not compared."""
    if (lock["suite"], lock["architecture"]) != (recipe.SUITE, recipe.ARCHITECTURE):
        raise PackagingError(
            f"the lock is for {lock['suite']} on {lock['architecture']}; this program builds a base from "
            f"{recipe.SUITE} on {recipe.ARCHITECTURE}"
        )
    packages = [LockedPackage.from_json(one) for one in lock["packages"]]
    log(f"base: {len(packages)} packages, {sum(one.size for one in packages) / 1e6:.1f} MB")
    entries = package_entries((one.name, fetcher.get(one)) for one in packages)
    out.mkdir(parents=True, exist_ok=True)
    entries += _byte_code(entries, out.parent)
    epoch = lock["epoch"]
    blob = write_layer(entries, out / "blobs" / "sha256", mtime=epoch)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    config = {
        "architecture": recipe.ARCHITECTURE,
        "os": "linux",
        "created": created,
        "config": {
            "User": f"{recipe.USER}:{recipe.USER}",
            "Env": list(recipe.ENVIRONMENT),
            "Entrypoint": [recipe.PYTHON],
            "WorkingDir": "/home/nonroot",
        },
        "rootfs": {"type": "layers", "diff_ids": [blob.diff_id]},
        "history": [
            {"created": created, "created_by": "turbolift base", "comment": spec.digest(lock["packages"])}
        ],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": layout.MANIFEST,
        "config": layout.write_json_blob(out, config, layout.CONFIG),
        "layers": [blob.descriptor()],
        "annotations": {
            "org.opencontainers.image.title": f"turbolift-base-{recipe.SUITE}-python3.11",
            "org.opencontainers.image.created": created,
        },
    }
    descriptor = layout.write_json_blob(out, manifest, layout.MANIFEST)
    descriptor["platform"] = {"architecture": recipe.ARCHITECTURE, "os": "linux"}
    descriptor["annotations"] = {layout.REF_NAME: "base", PYTHON_ANNOTATION: recipe.PYTHON}
    layout.write_index(out, [descriptor])
    return layout.Layout(out).image()


def package_entries(packages: Iterable[tuple[str, bytes]]) -> list[Entry]:
    """Return what the image holds of `packages` (name, bytes of the .deb), byte code apart."""
    entries: dict[str, Entry] = {}
    owners: dict[str, str] = {}
    certificates: dict[str, bytes] = {}
    status: list[Entry] = []
    for name, data in packages:
        paragraph = deb.control(data, name).rstrip() + b"\nStatus: install ok installed\n\n"
        # Where distroless images keep it too: scanners find the packages there.
        status.append(Entry(f"var/lib/dpkg/status.d/{name}", data=paragraph))
        for member, content in deb.members(data, name):
            original = posixpath.normpath(member.name).lstrip("/")
            path = _merge_usr(original)
            if member.isdir() or path == ".":
                continue
            if path.startswith(recipe.CERTIFICATES) and path.endswith(".crt"):
                certificates[path] = content
                continue
            if not recipe.keep(path):
                continue
            if member.islnk():
                target = _merge_usr(posixpath.normpath(member.linkname).lstrip("/"))
                entry = Entry(path, mode=entries[target].mode, data=entries[target].data)
            elif member.issym():
                entry = Entry(path, "symlink", 0o777, link=_link(original, path, member.linkname))
            elif member.isreg():
                entry = Entry(path, mode=0o755 if member.mode & 0o111 else 0o644, data=content)
            else:
                raise PackagingError(f"{name}: {path}: neither a file nor a link")
            if path in entries and (entries[path].data, entries[path].link) != (entry.data, entry.link):
                raise PackagingError(f"{path}: is in {owners[path]} and, with other content, in {name}")
            entries[path] = entry
            owners[path] = name
    bundle = b"".join(body.rstrip(b"\n") + b"\n" for _, body in sorted(certificates.items()))
    for entry in [*recipe.own_entries(), *status, Entry(recipe.BUNDLE, data=bundle)]:
        entries[entry.path] = entry
    return list(entries.values())


def _merge_usr(path: str) -> str:
    return _MERGED.sub(r"usr/\1", path, count=1) if _MERGED.match(path) else path


def _link(original: str, path: str, target: str) -> str:
    """Return a symlink's target where merging ``/usr`` moved the link, or what it points to."""
    if target.startswith("/"):
        return "/" + _merge_usr(target.lstrip("/"))
    absolute = _merge_usr(
        posixpath.normpath(posixpath.join("/", posixpath.dirname(original), target)).lstrip("/")
    )
    return posixpath.relpath(f"/{absolute}", "/" + posixpath.dirname(path))


def _byte_code(entries: Sequence[Entry], work: Path) -> list[Entry]:
    """Return the byte code of the standard library, compiled by the entries' own Python.

    It runs from a new folder in `work`, and not from the system's temporary folder, where programs may be
    forbidden.
    """
    with tempfile.TemporaryDirectory(prefix=".turbolift-base-", dir=work) as folder:
        root, out = Path(folder, "root"), Path(folder, "pyc")
        _materialise(entries, root)
        sources = [one.path for one in entries if one.kind == "file" and _LIBRARY.match(one.path)]
        compile_tree(root, root, sources, out, python=recipe.PYTHON)
        return [
            Entry(path.relative_to(out).as_posix(), data=path.read_bytes()) for path in out.rglob("*.pyc")
        ]


def _materialise(entries: Sequence[Entry], root: Path) -> None:
    root.mkdir()
    for entry in with_parents(entries).values():
        path = root / entry.path
        if entry.kind == "dir":
            path.mkdir(parents=True, exist_ok=True)
        elif entry.kind == "symlink":
            here = "/" + posixpath.dirname(entry.path)
            link = entry.link if not entry.link.startswith("/") else os.path.relpath(entry.link, here)
            path.symlink_to(link)
        else:
            path.write_bytes(entry.read())
            path.chmod(entry.mode)
