# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Bodies that are taken apart as they come in are the same as those that are read whole."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turbolift.errors import DecodeError
from turbolift.wire import FRAMES, decode_body, encode_body
from turbolift.wire.frames import Frames
from turbolift.wire.receive import DIRECT, STEP, FramedBody, PlainBody, body_of

SIZES = st.one_of(
    st.integers(0, 300), st.sampled_from([DIRECT - 1, DIRECT, DIRECT + 1, STEP, STEP + 1, 2 * STEP + 7])
)


def bytes_of(sizes: list[int], *, array: bool) -> bytes:
    rnd = random.Random(len(sizes))
    parts = [rnd.randbytes(size) for size in sizes]
    tree: Any = {"args": {"parts": [{"$part": i} for i in range(len(parts))]}}
    if array:
        tree["args"]["dtype"] = "<f8"
    return b"".join(encode_body(tree, parts or [b""])[1])


def fed(data: bytes, seed: int, *, size: int | None = None) -> Frames:
    """Receive `data` as a socket would give it: into the room that there is, or in pieces of its own."""
    rnd = random.Random(seed)
    first = rnd.choice([0, 1, 3, rnd.randrange(len(data) + 1)])
    body = FramedBody(len(data) if size is None else size, data[:first])
    at = first
    while at < len(data):
        if rnd.random() < 0.5:
            room = body.room()
            assert len(room) > 0
            count = min(rnd.choice([1, 5000, len(room)]), len(room), len(data) - at)
            room[:count] = data[at : at + count]
            # Transports let go of it only afterwards.
            body.took(count)
            del room
        else:
            count = body.put(data[at : at + rnd.choice([1, 7, 5000, 300_000])])
        at += count
        assert body.got == at
    return body.whole()


def outcome(content: Any) -> Any:
    try:
        tree, parts = decode_body(FRAMES, content)
    except DecodeError as error:
        return str(error)
    return tree, [bytes(part) for part in parts]


@settings(deadline=None)
@given(st.lists(SIZES, max_size=4), st.booleans(), st.integers(0, 999))
def test_the_same_as_read_whole(sizes: list[int], array: bool, seed: int) -> None:
    data = bytes_of(sizes, array=array)
    frames = fed(data, seed)
    assert outcome(frames) == outcome(data)
    assert len(frames) == len(data)
    assert b"".join(frames.pieces()) == data


@settings(deadline=None)
@given(st.lists(SIZES, max_size=3), st.integers(0, 999), st.floats(0, 1), st.integers(-9, 9))
def test_lengths_that_do_not_add_up(sizes: list[int], seed: int, where: float, much: int) -> None:
    data = bytes_of(sizes, array=False)
    at = round(where * len(data))
    data = data[: max(at + much, 1)] + data[max(at, 1) :] if much < 0 else data[: max(at, 1)]
    assert outcome(fed(data, seed)) == outcome(data)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=200), st.integers(0, 99))
def test_garbage(data: bytes, seed: int) -> None:
    assert outcome(fed(data, seed)) == outcome(data)


@pytest.mark.parametrize("size", [0, 1, DIRECT, STEP, 4 * STEP, 4 * STEP + 1, 9 * STEP + 3])
@pytest.mark.parametrize("known", [True, False])
def test_plain_bodies(size: int, known: bool) -> None:
    data = random.Random(size).randbytes(size)
    body = body_of("application/json", size if known else 20 * STEP, data[:1], known=known)
    assert isinstance(body, PlainBody)
    at = body.got
    while at < size:
        at += body.put(data[at : at + 777_777])
    assert body.whole() == data


@pytest.mark.parametrize("array", [False, True])
def test_a_large_part_is_the_very_memory_that_it_was_received_in(array: bool) -> None:
    frames = fed(bytes_of([2 * STEP], array=array), 1)
    (part,) = frames.parts
    if array:
        assert type(part) is bytearray
    else:
        assert type(part) is bytes
        # Bytes of bytes are themselves: what a function gets is not copied.
        assert bytes(part) is part
