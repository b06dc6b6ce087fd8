# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Unpack wheels side by side, as they lie in ``site-packages``, and say where two of them collide.

Everything a wheel puts on ``sys.path`` is kept, tests and ``.pyi`` files too: some packages read them at run
time. Scripts, headers and the ``data`` of a wheel have no place on ``sys.path``: they are left out, and the
report lists what was.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from turbolift.errors import PackagingError
from turbolift.image.lockfile import normalise

_NAMESPACE = (b"extend_path", b"declare_namespace")
# Many sdists pack these beside their package by mistake; nobody imports them from site-packages.
_SLOPPY = re.compile(r"(tests?|docs?|examples?|benchmarks?)/|[^/]*(?<!\.py)(?<!\.pth)(?<!\.so)\Z")


@dataclass(slots=True)
class Wheel:
    """A wheel file: name and version as it says, sha256 of the file, its ``Requires-Dist`` lines.

    ``files`` and ``size`` count what was unpacked, ``left_out`` what was not; both are filled by `unpack`.
    """

    path: Path
    name: str
    version: str
    sha256: str
    requires: tuple[str, ...]
    files: int = 0
    size: int = 0
    left_out: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Return what the report says of it."""
        return {
            "name": normalise(self.name),
            "version": self.version,
            "wheel": self.path.name,
            "sha256": self.sha256,
            "files": self.files,
            "bytes": self.size,
            "left_out": self.left_out,
        }


def open_wheel(path: Path) -> Wheel:
    """Read a wheel's metadata and hash."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        with zipfile.ZipFile(path) as archive:
            names = [one for one in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", one)]
            if len(names) != 1:
                raise PackagingError(f"{path.name}: not a wheel: {len(names)} METADATA files")
            headers = HeaderParser().parsestr(archive.read(names[0]).decode("utf-8", "replace"))
    except zipfile.BadZipFile as error:
        raise PackagingError(f"{path.name}: not a wheel: {error}") from None
    requires = tuple(headers.get_all("Requires-Dist") or ())
    return Wheel(path, str(headers["Name"]), str(headers["Version"]), digest, requires)


def unpack(wheels: Sequence[Wheel], tree: Path) -> list[str]:
    """Unpack `wheels` into the folder `tree`; return a line for each harmless collision that was settled.

    Raises PackagingError, naming both distributions and the file, where two bring one file with different
    content.
    """
    owners: dict[str, tuple[Wheel, bytes]] = {}
    notes = []
    tree.mkdir(parents=True, exist_ok=True)
    for wheel in sorted(wheels, key=lambda one: normalise(one.name)):
        with zipfile.ZipFile(wheel.path) as archive:
            for info, path in _files(wheel, archive):
                data = archive.read(info)
                digest = hashlib.sha256(data).digest()
                if path in owners:
                    first, known = owners[path]
                    if digest != known:
                        notes.append(_settle(tree, path, first, wheel, data))
                    continue
                target = tree / path
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(data)
                except (FileExistsError, NotADirectoryError, IsADirectoryError):
                    raise PackagingError(
                        f"{wheel.name} {wheel.version}: {path} is a folder in another distribution"
                    ) from None
                target.chmod(0o755 if (info.external_attr >> 16) & 0o111 else 0o644)
                owners[path] = (wheel, digest)
                wheel.files += 1
                wheel.size += len(data)
    return notes


def _files(wheel: Wheel, archive: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    """Yield the members that go on ``sys.path``, with their names there, sorted."""
    found = []
    for info in archive.infolist():
        if info.is_dir():
            continue
        parts = info.filename.split("/")
        if info.filename.startswith("/") or {"", ".", ".."} & set(parts) or "\\" in info.filename:
            raise PackagingError(f"{wheel.path.name}: {info.filename!r}: a name that leaves the wheel")
        path = info.filename
        if parts[0].endswith(".data") and len(parts) > 2:
            if parts[1] not in ("purelib", "platlib"):
                wheel.left_out.append(path)
                continue
            path = "/".join(parts[2:])
        if path.endswith(".pyc"):
            wheel.left_out.append(info.filename)
            continue
        found.append((info, path))
    wheel.left_out.sort()
    yield from sorted(found, key=lambda one: one[1])


def _settle(tree: Path, path: str, first: Wheel, second: Wheel, data: bytes) -> str:
    if path.endswith("/__init__.py"):
        kept = (tree / path).read_bytes()
        if all(any(mark in one for mark in _NAMESPACE) for one in (kept, data)):
            return (
                f"{path}: a namespace package of {first.name} and {second.name}; that of {first.name} is kept"
            )
    if _SLOPPY.match(path):
        return (
            f"{path}: in {first.name} and, with other content, in {second.name}; that of {first.name} is kept"
        )
    raise PackagingError(
        f"{first.name} {first.version} and {second.name} {second.version} both bring {path}, with different "
        "content: only one of them can be in an image. Drop one of the two from what the function imports, "
        "or use versions that do not collide"
    )
