# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""JSON text is strict both ways, bounded in depth, and says where it is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from turbolift.contract import MAX_DEPTH, dumps, loads
from turbolift.errors import DecodeError, EncodeError

_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_trees)
@example({"a": [-0.0, 10**600, "\ud800", "é\U0001f600"]})
def test_what_is_written_is_read_back(tree: Any) -> None:
    text = dumps(tree)
    assert text.isascii()
    back = loads(text)
    assert back == tree
    assert repr(back) == repr(tree)


@settings(deadline=None)
@given(
    st.binary()
    | st.text().map(str.encode)
    | st.text(alphabet='[]{}",:\\0123456789.eE-+naINtrufls \n').map(str.encode)
)
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"1" * 5_000)
def test_reading_anything_gives_json_or_decode_error(data: bytes) -> None:
    try:
        tree = loads(data)
    except DecodeError:
        return
    assert tree == json.loads(data) or tree != tree


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "not strict JSON: key 'a' twice in one object at line 1, column 10"),
        (
            '{\n "a": 1,\n "b": {"c": 1, "\\u0063": 2}}',
            "not strict JSON: key 'c' twice in one object at line 3, column 16",
        ),
        ("[1,\n NaN]", "not strict JSON: NaN is not JSON at line 2, column 2"),
        ('["NaN", -Infinity]', "not strict JSON: -Infinity is not JSON at line 1, column 9"),
        ("[1,\n 2,\n x]", "not JSON: Expecting value at line 3, column 2"),
        ("", "not JSON: Expecting value at line 1, column 1"),
        ("{} {}", "not JSON: Extra data at line 1, column 4"),
        (b'"\xff"', "not JSON: not UTF-8 at byte 1"),
        ('"\ufeff', "not JSON: Unterminated string starting at at line 1, column 1"),
    ],
)
def test_a_broken_text_says_where(text: str | bytes, message: str) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    for form in (data, bytearray(data), memoryview(data)):
        with pytest.raises(DecodeError) as error:
            loads(form)
        assert str(error.value) == message


def test_depth_is_bounded_both_ways() -> None:
    def nested(levels: int) -> Any:
        tree: Any = 0
        for i in range(levels):
            tree = [tree] if i % 2 else {"[": tree}
        return tree

    assert loads(dumps(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(EncodeError, match="nested more than"):
        dumps(nested(MAX_DEPTH + 50))
    with pytest.raises(DecodeError, match="nested more than"):
        loads(json.dumps(nested(MAX_DEPTH + 50)))
    # Brackets in strings, and many brackets side by side, are no depth.
    wide = [['[[[[{{{{\\"[[[['] for _ in range(1000)]
    assert loads(dumps(wide)) == wide


def test_a_tree_that_holds_itself_is_refused() -> None:
    tree: list[Any] = []
    tree.append(tree)
    with pytest.raises(EncodeError, match="holds itself"):
        dumps(tree)


@pytest.mark.parametrize(
    "tree",
    [float("nan"), [float("inf")], {1: 2}, {"a": {None: 1}}, (1,), [b""], {"a": {1}}, object(), [[(1,)]]],
)
def test_what_json_would_change_is_refused(tree: Any) -> None:
    with pytest.raises(EncodeError, match="not JSON"):
        dumps(tree)
