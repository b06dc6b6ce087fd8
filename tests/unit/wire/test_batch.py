# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Batches: what is written is read again, and broken ones are refused by name."""

from __future__ import annotations

from contextlib import suppress
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift.errors import DecodeError
from turbolift.wire import FRAMES, JSON, PROBLEM
from turbolift.wire.batch import (
    MOST,
    code_of,
    join_answers,
    join_calls,
    pack_call,
    read_answers,
    read_calls,
)

TRACE = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"

calls = st.lists(
    st.tuples(
        st.text("0123456789abcdef", min_size=32, max_size=32),
        st.none() | st.floats(0, 1e6),
        st.sampled_from([JSON, FRAMES]),
        st.binary(max_size=50),
    ),
    max_size=6,
)


def packed(rows: list[tuple[str, float | None, str, bytes]]) -> bytes:
    heads = [
        pack_call(key.encode(), TRACE, inf if left is None else left, code_of(kind), len(body))
        for key, left, kind, body in rows
    ]
    return join_calls(heads, [body for *_, body in rows])


@given(calls)
def test_calls_come_back(rows: list[tuple[str, float | None, str, bytes]]) -> None:
    found = read_calls(packed(rows))
    assert [(c.key.decode(), c.remaining, c.content_type, c.body) for c in found] == rows
    assert all(call.trace == TRACE for call in found)


@given(
    st.lists(
        st.tuples(st.integers(0, 599), st.sampled_from([JSON, FRAMES, PROBLEM]), st.binary(max_size=50)),
        max_size=6,
    ),
    st.floats(0, 100),
)
def test_answers_come_back(rows: list[tuple[int, str, bytes]], seconds: float) -> None:
    text = join_answers(rows, seconds)
    spent, found, end = read_answers(text)
    assert (spent, end) == (seconds, len(text))
    assert [(a.status, a.content_type, a.body) for a in found] == rows
    assert [a.number for a in found] == list(range(len(rows)))


@given(st.binary(max_size=400) | st.builds(bytes.__add__, calls.map(packed), st.binary(max_size=5)))
def test_any_bytes_are_a_batch_or_refused(body: bytes) -> None:
    with suppress(DecodeError):
        found = read_calls(body)
        again = packed([(c.key.decode(), c.remaining, c.content_type, bytes(c.body)) for c in found])
        assert len(again) == len(body)
    with suppress(DecodeError):
        read_answers(body)


@given(calls.filter(bool), st.data())
def test_a_batch_cut_short_is_refused(
    rows: list[tuple[str, float | None, str, bytes]], data: st.DataObject
) -> None:
    whole = packed(rows)
    with pytest.raises(DecodeError, match="batch"):
        read_calls(whole[: data.draw(st.integers(0, len(whole) - 1))])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        (MOST + 1).to_bytes(4, "big") + bytes(200 * (MOST + 1)),
        packed([("k" * 32, 1.0, JSON, b"{}")]) + b"x",
        join_calls([pack_call(b"k" * 32, TRACE, -1.0, 0, 0)], [b""]),
        join_calls([pack_call(b"k" * 32, TRACE, float("nan"), 0, 0)], [b""]),
        join_calls([pack_call(b"k" * 32, TRACE, 1.0, 2, 0)], [b""]),
        join_calls([pack_call(b"k" * 32, TRACE, 1.0, 200, 0)], [b""]),
        join_calls([pack_call(b"\xff" * 32, TRACE, 1.0, 0, 0)], [b""]),
    ],
)
def test_what_is_wrong_with_calls(body: bytes) -> None:
    with pytest.raises(DecodeError, match="batch"):
        read_calls(body)
