# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Bodies and headers: what is written is read again, and broken input is refused by name."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift.errors import DecodeError
from turbolift.wire import (
    FRAMES,
    JSON,
    decode_body,
    encode_body,
    function_path,
    new_traceparent,
    parse_deadline,
    write_deadline,
)

trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(trees, st.lists(st.binary(max_size=200), max_size=5))
def test_bodies_come_back(tree: object, parts: list[bytes]) -> None:
    content_type, pieces = encode_body({"args": tree}, parts)
    assert content_type == (FRAMES if parts else JSON)
    body = b"".join(pieces)
    decoded, views = decode_body(content_type, body)
    assert decoded == {"args": tree}
    assert [bytes(view) for view in views] == parts
    # The same from a view, with parameters on the content type.
    assert decode_body(content_type.upper() + "; charset=utf-8", memoryview(body))[0] == decoded


def test_parts_are_sent_without_a_copy() -> None:
    part = bytearray(b"large")
    _, pieces = encode_body({}, [part])
    assert any(piece is part for piece in pieces)


def test_parts_of_wide_items_are_counted_in_bytes() -> None:
    part: Any = memoryview(b"\0" * 16).cast("d")
    content_type, pieces = encode_body({}, [part])
    body = b"".join(bytes(piece) for piece in pieces)
    assert bytes(decode_body(content_type, body)[1][0]) == b"\0" * 16


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=3), st.data())
def test_a_truncated_body_is_refused_or_shorter(parts: list[bytes], data: st.DataObject) -> None:
    content_type, pieces = encode_body({"a": 1}, parts)
    body = b"".join(pieces)
    cut = data.draw(st.integers(0, len(body) - 1))
    try:
        _, views = decode_body(content_type, body[:cut])
    except DecodeError:
        return
    # Cut exactly between two parts: whole parts only, and fewer of them.
    assert [bytes(view) for view in views] == parts[: len(views)]
    assert len(views) < len(parts)


@given(st.binary(max_size=100))
def test_garbage_never_breaks_out(body: bytes) -> None:
    for content_type in (JSON, FRAMES, "text/plain", ""):
        with suppress(DecodeError):
            decode_body(content_type, body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\0\0", "too short"),
        (b"\0\0\0\x09{}", "ends inside its JSON"),
        (b"\0\0\0\x02{}\0", "inside the length of part 0"),
        (b"\0\0\0\x02{}\0\0\0\0\0\0\0\x05ab", "inside part 0"),
        (b"\xff\xff\xff\xff{}", "ends inside its JSON"),
    ],
)
def test_what_is_wrong_with_a_frame(body: bytes, said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        decode_body(FRAMES, body)


@given(st.floats(0, 1e9))
def test_deadlines(seconds: float) -> None:
    read = parse_deadline(write_deadline(seconds))
    assert read == pytest.approx(seconds, abs=1e-6)


def test_no_and_negative_deadlines() -> None:
    assert parse_deadline(write_deadline(None)) is None
    assert parse_deadline(write_deadline(-3)) == 0


@pytest.mark.parametrize(
    "value", ["", "-1", "1e3", "nan", "inf", "1.", ".5", "1 ", "+1", "٣", "1" * 400, "1\n"]
)
def test_deadlines_that_are_none(value: str) -> None:
    with pytest.raises(ValueError, match="plain decimal"):
        parse_deadline(value)


def test_traces() -> None:
    first = new_traceparent()
    version, trace, span, flags = first.split("-")
    assert (version, len(trace), len(span), flags) == ("00", 32, 16, "01")
    child = new_traceparent(first)
    assert child.split("-")[1] == trace
    assert child.split("-")[2] != span
    for broken in (
        "",
        "x",
        "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "0" * 16 + "-01",
    ):
        assert new_traceparent(broken).split("-")[1] not in ("0" * 32, "1" * 32)
    unsampled = "00-" + "1" * 32 + "-" + "2" * 16 + "-00"
    assert new_traceparent(unsampled).endswith("-00")


def test_paths() -> None:
    assert function_path("shop.cart:Cart.total") == "/v1/functions/shop.cart:Cart.total"
    assert function_path("müll:ä") == "/v1/functions/m%C3%BCll:%C3%A4"
