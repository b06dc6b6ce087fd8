# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Unpack image layers into a folder, as an unprivileged user, and never outside of it.

Names are resolved as a chroot would: a symlink in the folder that points to ``/usr`` means the folder's
``usr``. Absolute symlinks are rewritten as relative ones, so the result works wherever it is moved to.
Owners, setuid bits and device nodes are not kept: modes become 0755 or 0644.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib
import io
import os
import shutil
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Literal, cast

from turbolift.errors import PackagingError
from turbolift.image.layout import Image, Layout

Special = Literal["refuse", "skip"]

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_MAX_LINKS = 40
_CHUNK = 1 << 20
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@contextlib.contextmanager
def open_layer(blob: Path, *, diff_id: str | None = None) -> Iterator[tarfile.TarFile]:
    """Open a layer blob (plain, gzip or zstd tar) for reading once, front to back.

    With `diff_id`, the digest of the whole tar is compared when the block ends. Raises PackagingError for a
    damaged blob.
    """
    with blob.open("rb") as raw:
        reader = _Hashing(_decompressed(raw, blob))
        try:
            with tarfile.open(fileobj=cast("IO[bytes]", reader), mode="r|") as archive:
                yield archive
            reader.drain()
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise PackagingError(f"{blob}: not a readable layer: {error}") from None
        if diff_id is not None and f"sha256:{reader.digest.hexdigest()}" != diff_id:
            raise PackagingError(
                f"{blob}: unpacks to sha256:{reader.digest.hexdigest()}, but its image says {diff_id}"
            )


def unpack_layer(blob: Path, root: Path, *, diff_id: str | None = None, special: Special = "refuse") -> None:
    """Unpack the layer `blob` over what is in the folder `root`, and apply its whiteouts.

    `special` says what to do with device nodes and pipes. Raises PackagingError, naming the member, for
    absolute names, ``..``, special files, links to what is not there, and a tar that is not `diff_id`.
    """
    root = root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    made: set[Path] = set()
    with open_layer(blob, diff_id=diff_id) as archive:
        for member in archive:
            _unpack_member(archive, member, root, made, special, blob)
    _check_links(root, made, blob)


def unpack_layers(
    layers: Iterable[tuple[Path, str | None]], root: Path, *, special: Special = "refuse"
) -> None:
    """Unpack several layers, bottom first, given as (blob file, diff id)."""
    for blob, diff_id in layers:
        unpack_layer(blob, root, diff_id=diff_id, special=special)


def unpack_image(layout: Layout, image: Image, root: Path) -> None:
    """Unpack all layers of `image` into `root`, verified; special files are left out."""
    unpack_layers(((layout.verified(one), one.diff_id) for one in image.layers), root, special="skip")


def resolve_in(root: Path, name: str, *, follow_last: bool = True) -> Path:
    """Return the path of `name` in the file system `root`, with symlinks followed as if `root` were ``/``.

    Raises PackagingError where links go in circles. What does not exist resolves to where it would be.
    """
    pending = [part for part in reversed(name.split("/")) if part not in ("", ".")]
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            if done:
                done.pop()
            continue
        here = root.joinpath(*done, part)
        if (follow_last or pending) and here.is_symlink():
            links += 1
            if links > _MAX_LINKS:
                raise PackagingError(f"{name}: symbolic links go in circles in {root}")
            target = os.readlink(here)
            if target.startswith("/"):
                done.clear()
            pending += [one for one in reversed(target.split("/")) if one not in ("", ".")]
            continue
        done.append(part)
    return root.joinpath(*done)


def _unpack_member(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    root: Path,
    made: set[Path],
    special: Special,
    blob: Path,
) -> None:
    name = _clean(member.name, blob)
    if not name:
        return
    folder, _, base = name.rpartition("/")
    parent = _folder(root, folder, blob)
    if base == _OPAQUE:
        for child in parent.iterdir():
            if child not in made and not any(child in one.parents for one in made):
                _remove(child)
        return
    if base.startswith(_WHITEOUT):
        _remove(parent / base[len(_WHITEOUT) :])
        return
    path = parent / base
    if member.isdir():
        if path.is_symlink() or not path.is_dir():
            _remove(path)
            _make_folder(path)
        made.add(path)
        return
    if not (member.isreg() or member.issym() or member.islnk()):
        if special == "refuse":
            raise PackagingError(f"{blob}: {member.name}: device nodes and pipes are not allowed in a layer")
        return
    if member.islnk():
        source = resolve_in(root, _clean(member.linkname, blob), follow_last=False)
        if source.is_symlink() or not source.is_file():
            raise PackagingError(
                f"{blob}: {member.name}: a hard link to {member.linkname}, which is no file in it"
            )
        if source == path:
            return
        _remove(path)
        path.hardlink_to(source)
    elif member.issym():
        _remove(path)
        path.symlink_to(_relative_target(root, path, member.linkname))
    else:
        _remove(path)
        content = archive.extractfile(member)
        assert content is not None
        with path.open("xb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
        path.chmod(0o755 if member.mode & 0o111 else 0o644)
        os.utime(path, (member.mtime, member.mtime))
    made.add(path)


def _clean(name: str, blob: Path) -> str:
    """Return a member's name without ``.``; refuse absolute names, ``..`` and NUL."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise PackagingError(f"{blob}: {name!r}: a name that leaves the layer")
    return "/".join(parts)


def _folder(root: Path, name: str, blob: Path) -> Path:
    """Return the real folder of a member, made if it is missing."""
    path = resolve_in(root, name)
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for path in reversed(missing):
        try:
            _make_folder(path)
        except (FileExistsError, NotADirectoryError):
            raise PackagingError(f"{blob}: {name}: is a file, and a folder too") from None
    return path


def _make_folder(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)  # whatever the umask says


def _relative_target(root: Path, link: Path, target: str) -> str:
    """Return `target` such that it stays in `root`: it becomes relative, with no ``..`` too many."""
    here = link.parent.relative_to(root).as_posix()
    joined = target if target.startswith("/") else f"/{here}/{target}"
    depth = 0
    escapes = False
    for part in joined.split("/"):
        if part == "..":
            depth -= 1
            escapes = escapes or depth < 0
        elif part not in ("", "."):
            depth += 1
    if not target.startswith("/") and not escapes:
        return target
    # normpath stops at the root, like a chroot.
    return os.path.relpath(os.path.normpath(joined), f"/{here}")


def _check_links(root: Path, made: set[Path], blob: Path) -> None:
    """Refuse a link that leaves `root` by way of another link (``a/../..`` where ``a`` is a link)."""
    for path in made:
        if path.is_symlink():
            real = os.path.realpath(path)
            if real != str(root) and not real.startswith(f"{root}/"):
                raise PackagingError(
                    f"{blob}: {path.relative_to(root)}: a symbolic link that leaves the layer"
                )


def _remove(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    else:
        path.unlink()


def _decompressed(raw: IO[bytes], blob: Path) -> IO[bytes]:
    magic = raw.read(4)
    raw.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if magic == _ZSTD_MAGIC:
        return zstd_reader(raw, str(blob))
    return raw


def zstd_reader(raw: IO[bytes], what: str) -> IO[bytes]:
    """Return a reader of what the zstd stream `raw` decompresses to; `what` names it in the error."""
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError:
        raise PackagingError(
            f"{what}: compressed with zstd, which needs the package zstandard beside this tool: install it, "
            "or use packages and images compressed with gzip or xz"
        ) from None
    return cast("IO[bytes]", zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))


class _Hashing(io.RawIOBase):
    """A reader that hashes what passes."""

    def __init__(self, source: IO[bytes]) -> None:
        self.digest = hashlib.sha256()
        self._source = source

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.digest.update(data)
        return data

    def drain(self) -> None:
        while self.read(_CHUNK):
            pass
