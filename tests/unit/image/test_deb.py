# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading packages, and what becomes of their files in the image."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable

import pytest

from turbolift.errors import PackagingError
from turbolift.image import deb
from turbolift.image.base import package_entries

Members = list[tuple[str, bytes, str]]


def tar(members: Members) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content, link in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o4755
            if link:
                info.type, info.linkname = (
                    (tarfile.LNKTYPE, link[5:]) if link.startswith("hard:") else (tarfile.SYMTYPE, link)
                )
            info.size = 0 if link else len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def package(
    members: Members, *, pack: Callable[[bytes], bytes] = lzma.compress, suffix: str = ".xz"
) -> bytes:
    parts = [
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", gzip.compress(tar([("./control", b"Package: some\n", "")]))),
        (f"data.tar{suffix}", pack(tar(members))),
    ]
    out = b"!<arch>\n"
    for name, body in parts:
        out += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(body):<10}`\n".encode()
            + body
            + b"\n" * (len(body) % 2)
        )
    return out


@pytest.mark.parametrize(
    ("pack", "suffix"), [(lzma.compress, ".xz"), (gzip.compress, ".gz"), (lambda data: data, "")]
)
def test_each_compression(pack: Callable[[bytes], bytes], suffix: str) -> None:
    data = package([("./usr/x", b"content", "")], pack=pack, suffix=suffix)
    assert deb.control(data, "some") == b"Package: some\n"
    assert [(one.name, content) for one, content in deb.members(data, "some")] == [("./usr/x", b"content")]


def test_zstd_without_a_decoder_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    data = package([("./usr/x", b"content", "")], pack=lambda one: b"\x28\xb5\x2f\xfd" + one, suffix=".zst")
    with pytest.raises(
        PackagingError, match=r"some \(data.tar.zst\): compressed with zstd, which needs .* zstandard"
    ):
        list(deb.members(data, "some"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04", "some: not a Debian package"),
        (b"!<arch>\n", "has no data.tar"),
        (b"!<arch>\n" + b"data.tar.xz".ljust(48) + b"size?     `\n", "damaged ar archive at byte 8"),
        (package([], pack=lambda one: b"junk"), r"cannot read its data.tar.xz"),
        (package([], suffix=".lz4"), "compressed in a way that is not known here: data.tar.lz4"),
    ],
)
def test_what_is_no_package_says_so(data: bytes, message: str) -> None:
    with pytest.raises(PackagingError, match=message):
        list(deb.members(data, "some"))


def test_usr_is_merged_and_links_are_mended() -> None:
    made = package(
        [
            ("./lib/x86_64-linux-gnu/libx.so.1.0", b"ELF", ""),
            ("./lib/x86_64-linux-gnu/libx.so.1", b"", "libx.so.1.0"),
            ("./usr/lib/x86_64-linux-gnu/libx.so", b"", "../../../lib/x86_64-linux-gnu/libx.so.1"),
            ("./bin/tool", b"#!", ""),
            ("./usr/bin/other", b"", "hard:./bin/tool"),
            ("./usr/bin/absolute", b"", "/bin/tool"),
            ("./usr/share/man/man1/tool.1", b"manual", ""),
            ("./usr/share/doc/some/copyright", b"free", ""),
            ("./usr/share/doc/some/README", b"read", ""),
            ("./usr/share/ca-certificates/mozilla/B.crt", b"B", ""),
            ("./usr/share/ca-certificates/mozilla/A.crt", b"A\n", ""),
        ]
    )
    entries = {one.path: one for one in package_entries([("some", made)])}
    library = "usr/lib/x86_64-linux-gnu"
    assert entries[f"{library}/libx.so.1"].link == "libx.so.1.0"
    assert entries[f"{library}/libx.so"].link == "libx.so.1"
    assert entries["usr/bin/other"].data == b"#!"
    assert entries["usr/bin/tool"].mode == 0o755, "setuid is not kept"
    assert entries["usr/bin/absolute"].link == "/usr/bin/tool"
    assert entries["etc/ssl/certs/ca-certificates.crt"].data == b"A\nB\n"
    assert entries["var/lib/dpkg/status.d/some"].data == b"Package: some\nStatus: install ok installed\n\n"
    assert "usr/share/doc/some/copyright" in entries
    assert not any("man1" in one or "README" in one or "mozilla" in one for one in entries)


def test_one_file_from_two_packages_is_refused() -> None:
    one, two = package([("./etc/x", b"1", "")]), package([("./etc/x", b"2", "")])
    package_entries([("one", one), ("same", one)])
    with pytest.raises(PackagingError, match="etc/x: is in one and, with other content, in two"):
        package_entries([("one", one), ("two", two)])
