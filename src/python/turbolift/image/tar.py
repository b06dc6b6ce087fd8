# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Write tar archives whose bytes depend on nothing but their entries.

``tarfile`` is not used for writing: its headers carry what the machine says (names of users, float times) and
its format has changed between Pythons. This is plain ustar, with a pax header for a name or link over 100
bytes or a file of 8 GiB.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

BLOCK = 512
_CHUNK = 1 << 20
_OCTAL_LIMIT = 1 << 33

Kind = Literal["file", "dir", "symlink"]
_TYPES: dict[Kind, bytes] = {"file": b"0", "dir": b"5", "symlink": b"2"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of an archive.

    ``path`` is relative, with ``/``, without ``.`` and ``..``; ``data`` is a file's bytes, or the file to
    read them from; ``link`` is where a symlink points to. Owner is root unless given.
    """

    path: str
    kind: Kind = "file"
    mode: int = 0o644
    data: bytes | Path = b""
    link: str = ""
    uid: int = 0
    gid: int = 0

    def __post_init__(self) -> None:
        parts = self.path.split("/")
        if "" in parts or "." in parts or ".." in parts or "\0" in self.path:
            raise ValueError(f"not a clean relative path: {self.path!r}")
        if (self.kind == "symlink") != bool(self.link):
            raise ValueError(f"{self.path}: a symlink needs a target, and only a symlink has one")

    def read(self) -> bytes:
        """Return a file's bytes."""
        return self.data if isinstance(self.data, bytes) else self.data.read_bytes()


def with_parents(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Return `entries` by path, in the archive's order, with the missing folders above them (0755, root).

    Raises ValueError where a path is given twice, or is a file and a folder at once.
    """
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry.path in found:
            raise ValueError(f"{entry.path}: given twice")
        found[entry.path] = entry
    for path in list(found):
        for parent in PurePosixPath(path).parents:
            name = str(parent)
            if name == ".":
                continue
            if found.setdefault(name, Entry(name, "dir", 0o755)).kind != "dir":
                raise ValueError(f"{name}: is no folder, but {path} is in it")
    return {path: found[path] for path in sorted(found, key=_encode)}


def write(entries: Iterable[Entry], out: Callable[[bytes], object], *, mtime: int) -> None:
    """Pass the archive of `entries` to `out`, piece by piece; members are dated `mtime` (since 1970).

    Members are sorted by the bytes of their paths; missing folders are added.
    """
    for entry in with_parents(entries).values():
        for piece in _member(entry, mtime):
            out(piece)
    out(bytes(2 * BLOCK))


def to_bytes(entries: Iterable[Entry], *, mtime: int) -> bytes:
    """Return the archive of `entries` as one byte string."""
    buffer = io.BytesIO()
    write(entries, buffer.write, mtime=mtime)
    return buffer.getvalue()


def _encode(name: str) -> bytes:
    # Not os.fsencode: the locale has no say.
    return name.encode("utf-8", "surrogateescape")


def _member(entry: Entry, mtime: int) -> Iterator[bytes]:
    name = _encode(entry.path + "/" * (entry.kind == "dir"))
    link = _encode(entry.link)
    size = 0
    if entry.kind == "file":
        size = len(entry.data) if isinstance(entry.data, bytes) else entry.data.stat().st_size
    pax = {}
    if len(name) > 100:
        pax[b"path"] = name
    if len(link) > 100:
        pax[b"linkpath"] = link
    if size >= _OCTAL_LIMIT:
        pax[b"size"] = b"%d" % size
    if pax:
        records = b"".join(_pax_record(key, value) for key, value in sorted(pax.items()))
        yield (
            _header(b"././@PaxHeader", 0o644, 0, 0, len(records), 0, b"x", b"")
            + records
            + _padding(len(records))
        )
    yield _header(
        name[:100],
        entry.mode & 0o7777,
        entry.uid,
        entry.gid,
        size if size < _OCTAL_LIMIT else 0,
        mtime,
        _TYPES[entry.kind],
        link[:100],
    )
    if entry.kind != "file":
        return
    if isinstance(entry.data, bytes):
        yield entry.data
    else:
        done = 0
        with entry.data.open("rb") as file:
            while chunk := file.read(_CHUNK):
                done += len(chunk)
                yield chunk
        if done != size:
            raise ValueError(f"{entry.data}: changed while it was read ({size} bytes, then {done})")
    yield _padding(size)


def _header(
    name: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, kind: bytes, link: bytes
) -> bytes:
    block = bytearray(
        struct.pack(
            "100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x",
            name,
            b"%07o\0" % mode,
            b"%07o\0" % uid,
            b"%07o\0" % gid,
            b"%011o\0" % size,
            b"%011o\0" % mtime,
            b" " * 8,
            kind,
            link,
            b"ustar\0",
            b"00",
            b"",
            b"",
            b"0000000\0",
            b"0000000\0",
            b"",
        )
    )
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _pax_record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)
