# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Binding: Python's own rules and errors; decoding gives back the same call."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypedDict, Unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift.contract import Payload, contract_of, dumps, loads
from turbolift.errors import DecodeError, EncodeError


# Each gives back how it was called.
def plain(a: int, b: str = "b") -> dict[str, Any]:
    return locals()


def positional(a: int, b: int = 2, /) -> dict[str, Any]:
    return locals()


def keywords(*, a: int, b: int = 2) -> dict[str, Any]:
    return locals()


def mixed(a: int, b: int = 2, /, c: int = 3, *args: int, d: int = 4, **more: int) -> dict[str, Any]:
    return locals()


def stars(*args: int) -> dict[str, Any]:
    return locals()


def double(**a: int) -> dict[str, Any]:
    return locals()


def same_names(a: int, /, **kwargs: int) -> dict[str, Any]:
    return locals()


def nothing() -> dict[str, Any]:
    return locals()


class Options(TypedDict, total=False):
    x: int
    y: str


def unpacked(*args: *tuple[int, str], **options: Unpack[Options]) -> dict[str, Any]:
    return locals()


class Cart:
    @staticmethod
    def total(a: int, *, currency: str = "EUR") -> dict[str, Any]:
        return locals()


FUNCTIONS: list[Callable[..., Any]] = [
    plain,
    positional,
    keywords,
    mixed,
    stars,
    double,
    same_names,
    nothing,
    unpacked,
    Cart.total,
]


def _calls() -> st.SearchStrategy[tuple[tuple[int, ...], dict[str, int]]]:
    names = st.sampled_from(["a", "b", "c", "d", "args", "kwargs", "more", "self", "currency", "_ABSENT"])
    args = st.lists(st.integers(), max_size=5).map(tuple)
    return st.tuples(args, st.dictionaries(names, st.integers(), max_size=4))


@pytest.mark.parametrize("fn", FUNCTIONS, ids=lambda fn: fn.__qualname__)
@given(call=_calls())
def test_binds_as_python_does(fn: Callable[..., Any], call: tuple[tuple[int, ...], dict[str, int]]) -> None:
    args, kwargs = call
    contract = contract_of(fn)
    try:
        local = fn(*args, **kwargs)
    except TypeError as error:
        with pytest.raises(TypeError, match=f"^{re.escape(str(error))}$"):
            contract.bind(args, kwargs)
        return
    bound = contract.bind(args, kwargs)
    assert bound.items() <= local.items()
    try:
        payload = contract.encode_args(bound)
    except EncodeError:  # an int where the hint says str
        return
    args, kwargs = contract.decode_args(Payload(loads(dumps(payload.json)), payload.parts))
    assert fn(*args, **kwargs) == local


@pytest.mark.parametrize(
    ("fn", "tree", "message"),
    [
        (plain, {}, "a: missing; test_bind:plain needs it"),
        (plain, [], "the arguments must be a JSON object, by parameter name"),
        (plain, {"a": 1, "z": 2}, "z: test_bind:plain has no such parameter (its parameters: a, b)"),
        (plain, {"a": "1"}, 'a: expected int, got a JSON string that is not of the form "0x..."'),
        (plain, {"a": 1.0}, "a: expected int, got a JSON number"),
        (plain, {"a": 1, "b": None}, "b: expected str, got null"),
        (mixed, {"a": 1, "args": [1, None]}, "args[1]: expected int, got null"),
        (mixed, {"a": 1, "more": {"z": []}}, "more['z']: expected int, got a JSON array"),
        (
            mixed,
            {"a": 1, "more": {"c": 1}},
            "c: given twice, as a parameter and among the further keyword arguments",
        ),
        (unpacked, {"options": {"z": 1}}, "options: Options has no field 'z' (its fields: x, y)"),
    ],
)
def test_wrong_arguments_say_where(fn: Callable[..., Any], tree: Any, message: str) -> None:
    with pytest.raises(DecodeError) as error:
        contract_of(fn).decode_args(Payload(tree, []))
    assert str(error.value).replace(f"{__name__}:", "test_bind:") == message


def test_a_foreign_client_may_leave_out_a_default_before_a_given_one() -> None:
    assert contract_of(positional).decode_args(Payload({"a": 1, "b": 5}, [])) == ((1, 5), {})
    assert contract_of(mixed).decode_args(Payload({"a": 1, "args": [9]}, [])) == ((1, 2, 3, 9), {})
    assert contract_of(mixed).decode_args(Payload({"a": 1, "more": {"a": 7}}, [])) == ((1,), {"a": 7})


def test_parts_are_used_once_each() -> None:
    def function(a: bytes, b: bytes) -> None: ...

    contract = contract_of(function)
    payload = contract.encode_args(contract.bind((b"one", b"two"), {}))
    assert payload == ({"a": {"$part": 0}, "b": {"$part": 1}}, [b"one", b"two"])
    for tree, parts, message in [
        ({"a": {"$part": 0}, "b": {"$part": 0}}, [b"x"], "b: raw part 0 is used twice"),
        ({"a": {"$part": 0}, "b": {"$part": 1}}, [b"x"], "b: there is no raw part 1 (the message has 1)"),
        (
            {"a": {"$part": True}, "b": "eA=="},
            [b"x", b"y"],
            "a: there is no raw part True (the message has 2)",
        ),
        ({"a": "eA==", "b": "eQ=="}, [b"x"], "raw parts that nothing refers to: 0"),
        ({"a": "eA=", "b": "eQ=="}, [], "a: expected bytes, got a JSON string that is not base64"),
    ]:
        with pytest.raises(DecodeError) as error:
            contract.decode_args(Payload(tree, parts))
        assert str(error.value) == message
    assert contract.decode_args(Payload({"a": "eA==", "b": ""}, [])) == ((), {"a": b"x", "b": b""})


def test_defaults_are_in_the_schema_where_they_are_json() -> None:
    def function(a: int = 1, b: str | None = None, c: set[str] = frozenset(), d: bytes = b"") -> None:  # type: ignore[assignment]
        ...

    properties = contract_of(function).parameters["properties"]
    assert json.dumps(properties["a"]["default"]) == "1"
    assert properties["b"]["default"] is None
    assert "default" not in properties["c"]
    assert "default" not in properties["d"]
