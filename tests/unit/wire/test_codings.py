# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Compressed bodies come back as they were, or are refused before they take more memory than they may."""

from __future__ import annotations

import gzip
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turbolift.wire import FRAMES, JSON, encode_body
from turbolift.wire.codings import (
    CodingError,
    TooLargeError,
    chosen,
    codings,
    compress,
    decompress,
)
from turbolift.wire.frames import Frames

MEGA = 1024 * 1024
KNOWN = pytest.mark.parametrize("coding", codings())


def plain(body: Any) -> bytes:
    return b"".join(body.pieces()) if isinstance(body, Frames) else bytes(body)


@KNOWN
@settings(deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=50), st.sampled_from([1, 100, 50_000])), max_size=5),
    st.booleans(),
)
def test_bodies_come_back(coding: str, texts: list[tuple[bytes, int]], framed: bool) -> None:
    parts = [text * count for text, count in texts]
    kind, pieces = encode_body({"args": {}}, parts) if framed else (JSON, [b"x" * 100, *parts])
    packed = compress(coding, pieces)
    if packed is not None:
        found = decompress(coding, b"".join(packed), kind, 20 * MEGA)
        assert plain(found) == b"".join(pieces)
        assert isinstance(found, Frames) == (kind == FRAMES)


@KNOWN
def test_noise_is_not_compressed(coding: str) -> None:
    noise = random.Random(1).randbytes(3 * MEGA)
    assert compress(coding, [noise]) is None
    # It gives up early: the rest is not looked at.
    seen = []

    def pieces() -> Any:
        for at in range(0, len(noise), MEGA // 2):
            seen.append(at)
            yield noise[at : at + MEGA // 2]

    assert compress(coding, pieces()) is None
    assert len(seen) < 5


@KNOWN
@pytest.mark.parametrize("size", [MEGA, 100 * MEGA])
@pytest.mark.parametrize("kind", [JSON, FRAMES])
def test_a_bomb_is_refused_at_the_limit(coding: str, size: int, kind: str) -> None:
    packed = compress(coding, (bytes(MEGA) for _ in range(size // MEGA)))
    assert packed is not None
    bomb = b"".join(packed)
    assert len(bomb) < size // 100
    import tracemalloc

    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match=f"more than {MEGA - 1} bytes"):
            decompress(coding, bomb, kind, MEGA - 1)
        assert tracemalloc.get_traced_memory()[1] < 12 * MEGA
    finally:
        tracemalloc.stop()


@KNOWN
def test_a_body_as_large_as_the_limit_is_taken(coding: str) -> None:
    packed = compress(coding, [bytes(MEGA)])
    assert packed is not None
    assert decompress(coding, b"".join(packed), JSON, MEGA) == bytearray(MEGA)


@KNOWN
@settings(deadline=None)
@given(st.integers(0, 10_000), st.binary(max_size=3))
def test_broken_bodies_are_told(coding: str, where: int, put: bytes) -> None:
    text = b"some text that is well known" * 100
    packed = compress(coding, [text])
    assert packed is not None
    data = b"".join(packed)
    at = where % len(data)
    broken = data[:at] + put + data[at + len(put) :] if put else data[:at]
    try:
        found = decompress(coding, broken, JSON, MEGA)
    except CodingError:
        return
    # What is not seen (a flag of gzip's head, a checksum that zstd does not have) must not have grown.
    assert put
    assert len(plain(found)) <= MEGA


def test_several_members_are_one_body() -> None:
    data = gzip.compress(b"a" * 1000) + gzip.compress(b"") + gzip.compress(b"b" * 70_000)
    assert decompress("gzip", data, JSON, MEGA) == bytearray(b"a" * 1000 + b"b" * 70_000)
    with pytest.raises(CodingError):
        decompress("gzip", data + b"surplus", JSON, MEGA)


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("GZIP;q=0.5", "gzip"),
        ("gzip;q=0", ""),
        ("identity", ""),
        ("identity;q=1, gzip;q=0.5", ""),
        ("", ""),
        ("br", ""),
        ("*;q=0", ""),
        ("gzip;q=x", ""),
    ],
)
def test_what_is_chosen(accepted: str, expected: str) -> None:
    assert chosen(accepted) == expected


def test_the_best_is_chosen_where_all_are_taken() -> None:
    assert chosen("*") == codings()[0]
    assert chosen("deflate, gzip, br, zstd") == codings()[0]
    assert chosen("gzip;q=0.9, zstd;q=0.1") == "gzip"
