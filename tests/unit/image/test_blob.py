# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Layer blobs: the digest of a tiny one never changes, and any reader of gzip reads a large one."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import pytest

from turbolift.image import blob, tar

TINY = [
    tar.Entry("app/src/shop/cart.py", data=b"def total(n: int) -> int:\n    return n\n" * 20),
    tar.Entry("app/src/shop/data", "symlink", 0o777, link="cart.py"),
]


def test_golden_digest_of_a_tiny_layer(tmp_path: Path) -> None:
    layer = blob.write_layer(TINY, tmp_path)
    assert layer.diff_id == "sha256:afbb9ef13a4fe31b866e775952a8b84b670770120ee52f011611f6dd9c5da42b"
    assert layer.digest == "sha256:3f29b4b433fe19886074a94180cbc1f085b1730b6400603cc41d789d4126c852"
    data = (tmp_path / layer.digest[7:]).read_bytes()
    assert (len(data), "sha256:" + hashlib.sha256(data).hexdigest()) == (layer.size, layer.digest)
    assert gzip.decompress(data) == tar.to_bytes(TINY, mtime=blob.FIXED_TIME)
    assert os.listdir(tmp_path) == [layer.digest[7:]]


def test_a_large_layer_is_cut_into_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [*TINY, tar.Entry("noise", data=os.urandom(50_000))]
    whole = blob.write_layer(entries, tmp_path / "whole")
    monkeypatch.setattr(blob, "MEMBER", 4096)
    cut = blob.write_layer(entries, tmp_path / "cut")
    data = (tmp_path / "cut" / cut.digest[7:]).read_bytes()
    assert data.count(b"\x1f\x8b\x08\0\0\0\0\0\0\xff") > 10
    assert cut.diff_id == whole.diff_id
    assert "sha256:" + hashlib.sha256(gzip.decompress(data)).hexdigest() == cut.diff_id


def test_nothing_is_left_of_a_layer_that_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        blob.write_layer([tar.Entry("gone", data=tmp_path / "gone")], tmp_path / "blobs")
    assert os.listdir(tmp_path / "blobs") == []
