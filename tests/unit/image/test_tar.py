# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The tar writer: the bytes that it always wrote, and what the standard library reads from them."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift.image.tar import Entry, Kind, to_bytes, with_parents

MTIME = 1735689600

_segments = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60
).filter(lambda text: text not in (".", ".."))
_paths = st.lists(_segments, min_size=1, max_size=5).map("/".join)
_modes = st.sampled_from([0o644, 0o755, 0o600, 0o1777])
_entries = st.one_of(
    st.builds(Entry, _paths, st.just("file"), _modes, st.binary(max_size=1500)),
    st.builds(Entry, _paths, st.just("dir"), _modes),
    st.builds(Entry, _paths, st.just("symlink"), st.just(0o777), st.just(b""), _paths),
)


def test_golden_bytes() -> None:
    entries = [
        Entry("app/src/shop/cart.py", data=b"def total():\n    return 1\n"),
        Entry("app/bin/run", mode=0o755, data=b"#!/bin/sh\n"),
        Entry("app/latest", "symlink", 0o777, link="src"),
        Entry("tmp", "dir", 0o1777),
        Entry("home/nonroot", "dir", 0o700, uid=65532, gid=65532),
        Entry("d/" + "long" * 40 + "/é.txt", data=b"x" * 513),
    ]
    data = to_bytes(entries, mtime=MTIME)
    assert len(data) % 512 == 0
    assert (
        hashlib.sha256(data).hexdigest() == "26df45b12c132712f72798ae23f67be3d2f467fb336e17c53fc06f6fc0ce382d"
    )


@given(st.lists(_entries, max_size=8, unique_by=lambda one: one.path))
def test_the_standard_library_reads_what_was_written(entries: list[Entry]) -> None:
    folders = {one.path for one in entries if one.kind == "dir"}
    paths = {one.path for one in entries}
    if any(
        "/".join(path.split("/")[:n]) in paths - folders
        for path in paths
        for n in range(1, path.count("/") + 1)
    ):
        with pytest.raises(ValueError, match="is no folder"):
            to_bytes(entries, mtime=MTIME)
        return
    data = to_bytes(entries, mtime=MTIME)
    read = {}
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            kind: Kind = "dir" if member.isdir() else "symlink" if member.issym() else "file"
            content = file.read() if file else b""
            read[member.name] = Entry(
                member.name, kind, member.mode, content, member.linkname, member.uid, member.gid
            )
            assert (member.mtime, member.uname, member.gname) == (MTIME, "", "")
    assert read == with_parents(entries)
    assert list(read) == sorted(read, key=str.encode)


@given(st.permutations(["b", "a/c", "a", "a-b", "é", "A"]))
def test_order_of_entries_does_not_matter(paths: list[str]) -> None:
    entries = [Entry(path, "dir" if path == "a" else "file", 0o755) for path in paths]
    assert to_bytes(entries, mtime=0) == to_bytes(sorted(entries, key=lambda one: one.path), mtime=0)


def test_a_file_is_read_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"0123456789" * 300_000)
    assert to_bytes([Entry("big", data=path)], mtime=0) == to_bytes(
        [Entry("big", data=path.read_bytes())], mtime=0
    )


@pytest.mark.parametrize("path", ["", "/a", "a//b", "a/../b", "./a", "a/", "a\0b"])
def test_unclean_paths_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a clean relative path"):
        Entry(path)


def test_a_path_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="a: given twice"):
        to_bytes([Entry("a"), Entry("a", data=b"1")], mtime=0)
