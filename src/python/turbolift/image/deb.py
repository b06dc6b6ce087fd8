# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Read Debian packages (``.deb``: an ``ar`` archive of compressed tars) without dpkg."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Iterator

from turbolift.errors import PackagingError
from turbolift.image.unpack import zstd_reader

_MAGIC = b"!<arch>\n"


def control(data: bytes, name: str) -> bytes:
    """Return the control paragraph of the package `data`; `name` names it in errors."""
    with _tar(data, "control.tar", name) as archive:
        for member in archive:
            if member.name in ("control", "./control"):
                file = archive.extractfile(member)
                if file is not None:
                    return file.read()
    raise PackagingError(f"{name}: not a Debian package: it has no control file")


def members(data: bytes, name: str) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Yield what the package `data` installs, as (member, content of a regular file)."""
    with _tar(data, "data.tar", name) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            yield member, file.read() if file is not None else b""


def _tar(data: bytes, prefix: str, name: str) -> tarfile.TarFile:
    for part, body in _parts(data, name):
        if not part.startswith(prefix):
            continue
        try:
            return tarfile.open(fileobj=io.BytesIO(_decompress(part, body, name)))
        except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
            raise PackagingError(f"{name}: cannot read its {part}: {error}") from None
    raise PackagingError(f"{name}: not a Debian package: it has no {prefix}")


def _parts(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    if data[:8] != _MAGIC:
        raise PackagingError(f"{name}: not a Debian package (no ar archive)")
    offset = 8
    while offset + 60 <= len(data):
        part = data[offset : offset + 16].decode("ascii", "replace").strip().rstrip("/")
        try:
            size = int(data[offset + 48 : offset + 58])
        except ValueError:
            raise PackagingError(f"{name}: a damaged ar archive at byte {offset}") from None
        yield part, data[offset + 60 : offset + 60 + size]
        offset += 60 + size + size % 2


def _decompress(part: str, body: bytes, name: str) -> bytes:
    if part.endswith(".xz"):
        return lzma.decompress(body)
    if part.endswith(".gz"):
        return gzip.decompress(body)
    if part.endswith(".zst"):
        return zstd_reader(io.BytesIO(body), f"{name} ({part})").read()
    if part.endswith(".tar"):
        return body
    raise PackagingError(f"{name}: compressed in a way that is not known here: {part}")
