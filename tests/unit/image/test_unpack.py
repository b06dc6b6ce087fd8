# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Unpacking: what was packed comes back, nothing lands outside, whiteouts are obeyed."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift.errors import PackagingError
from turbolift.image import tar
from turbolift.image.blob import write_layer
from turbolift.image.unpack import resolve_in, unpack_layer, unpack_layers

Members = list[tuple[tarfile.TarInfo, bytes]]
TarMaker = Callable[[Members], Path]


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def listing(root: Path) -> dict[str, str]:
    """Return what is in a folder: ``path -> content``, ``-> target`` or ``/``."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = "/" if path.is_dir() else path.read_text()
    return found


@given(
    st.dictionaries(
        st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join),
        st.tuples(st.binary(max_size=100), st.booleans()),
        max_size=6,
    )
)
def test_what_was_packed_comes_back(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, tuple[bytes, bool]]
) -> None:
    kept = {
        path: value for path, value in files.items() if not any(one.startswith(f"{path}/") for one in files)
    }
    folder = tmp_path_factory.mktemp("law")
    entries = [tar.Entry(path, mode=0o755 if run else 0o644, data=data) for path, (data, run) in kept.items()]
    layer = write_layer(entries, folder / "blobs")
    unpack_layer(folder / "blobs" / layer.digest[7:], folder / "root", diff_id=layer.diff_id)
    back = {
        path.relative_to(folder / "root").as_posix(): (path.read_bytes(), bool(path.stat().st_mode & 0o111))
        for path in (folder / "root").rglob("*")
        if path.is_file()
    }
    assert back == kept


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([(member("/etc/x"), b"")], "a name that leaves the layer"),
        ([(member("../x"), b"")], "a name that leaves the layer"),
        ([(member("a/../../x"), b"")], "a name that leaves the layer"),
        ([(member("dev/null", tarfile.CHRTYPE), b"")], "device nodes and pipes"),
        ([(member("pipe", tarfile.FIFOTYPE), b"")], "device nodes and pipes"),
        ([(member("h", tarfile.LNKTYPE, "../../etc/passwd"), b"")], "a name that leaves the layer"),
        ([(member("h", tarfile.LNKTYPE, "nothing"), b"")], "a hard link to nothing, which is no file"),
        ([(member("a"), b"1"), (member("a/b"), b"2")], "is a file, and a folder too"),
        (
            [
                (member("s/t", tarfile.DIRTYPE), b""),
                (member("s/t/u", tarfile.SYMTYPE, "../.."), b""),
                (member("out", tarfile.SYMTYPE, "s/t/u/../x"), b""),
            ],
            "a symbolic link that leaves the layer",
        ),
        (
            [
                (member("a", tarfile.SYMTYPE, "b"), b""),
                (member("b", tarfile.SYMTYPE, "a"), b""),
                (member("a/x"), b""),
            ],
            "go in circles",
        ),
    ],
)
def test_what_leaves_the_folder_is_refused(
    tmp_path: Path, tar_file: TarMaker, members: Members, message: str
) -> None:
    root = tmp_path / "in" / "root"
    with pytest.raises(PackagingError, match=message):
        unpack_layer(tar_file(members), root)
    assert os.listdir(tmp_path / "in") == ["root"]


def test_a_link_is_followed_as_in_a_chroot(tmp_path: Path, tar_file: TarMaker) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    blob = tar_file(
        [
            (member("usr/lib", tarfile.DIRTYPE), b""),
            (member("lib", tarfile.SYMTYPE, "/usr/lib"), b""),
            (member("evil", tarfile.SYMTYPE, f"../../../..{outside}"), b""),
            (member("lib/x.so"), b"x"),
            (member("evil/escaped"), b"y"),
        ]
    )
    unpack_layer(blob, tmp_path / "root")
    assert os.readlink(tmp_path / "root/lib") == "usr/lib"
    assert (tmp_path / "root/usr/lib/x.so").read_text() == "x"
    assert os.listdir(outside) == []
    assert resolve_in(tmp_path / "root", "evil/escaped").read_text() == "y"
    (tmp_path / "root").rename(tmp_path / "moved")
    assert (tmp_path / "moved/lib/x.so").read_text() == "x"


def test_modes_are_plain(tmp_path: Path, tar_file: TarMaker) -> None:
    blob = tar_file(
        [
            (member("su", mode=0o4755), b"x"),
            (member("w", mode=0o666), b"x"),
            (member("d", tarfile.DIRTYPE, mode=0o700), b""),
        ]
    )
    old = os.umask(0o077)
    try:
        unpack_layer(blob, tmp_path / "root")
    finally:
        os.umask(old)
    assert (tmp_path / "root/su").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "root/w").stat().st_mode & 0o7777 == 0o644
    assert (tmp_path / "root/d").stat().st_mode & 0o7777 == 0o755


def test_whiteouts(tmp_path: Path, tar_file: TarMaker) -> None:
    lower = tar_file(
        [
            (member("etc/keep"), b"1"),
            (member("etc/drop"), b"2"),
            (member("opt/old/deep"), b"3"),
            (member("opt/gone/x"), b"4"),
            (member("file"), b"5"),
            (member("link", tarfile.SYMTYPE, "file"), b""),
        ]
    )
    upper = tar_file(
        [
            (member("etc/.wh.drop"), b""),
            (member("etc/.wh.never-was"), b""),
            (member("opt/new/y"), b"6"),
            (member("opt/.wh..wh..opq"), b""),
            (member("link"), b"7"),
            (member("file", tarfile.DIRTYPE), b""),
            (member("hard", tarfile.LNKTYPE, "etc/keep"), b""),
        ]
    )
    unpack_layers([(lower, None), (upper, None)], tmp_path / "root")
    assert listing(tmp_path / "root") == {
        "etc": "/",
        "etc/keep": "1",
        "file": "/",
        "hard": "1",
        "link": "7",
        "opt": "/",
        "opt/new": "/",
        "opt/new/y": "6",
    }


def test_special_files_can_be_left_out(tmp_path: Path, tar_file: TarMaker) -> None:
    blob = tar_file([(member("dev/null", tarfile.CHRTYPE), b""), (member("a"), b"1")])
    unpack_layer(blob, tmp_path / "root", special="skip")
    assert listing(tmp_path / "root") == {"a": "1", "dev": "/"}


def test_a_wrong_diff_id_is_refused(tmp_path: Path) -> None:
    layer = write_layer([tar.Entry("a")], tmp_path)
    blob = tmp_path / layer.digest[7:]
    with pytest.raises(PackagingError, match=f"unpacks to {layer.diff_id}, but its image says sha256:00"):
        unpack_layer(blob, tmp_path / "root", diff_id="sha256:" + "00" * 32)


@pytest.mark.parametrize("cut", [3, 60, -20])
def test_a_damaged_blob_is_refused(tmp_path: Path, cut: int) -> None:
    layer = write_layer([tar.Entry("a", data=os.urandom(5000))], tmp_path)
    blob = tmp_path / layer.digest[7:]
    blob.write_bytes(blob.read_bytes()[:cut])
    with pytest.raises(PackagingError, match="not a readable layer"):
        unpack_layer(blob, tmp_path / "root")
