# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Law 1: a value arrives equal, with the same type at every level, or is refused before it is sent.

Hints are composed at random from every supported form; a value of each is drawn, sent and compared.
"""

# mypy: disable-error-code="valid-type, misc, no-any-return, var-annotated"
from __future__ import annotations

import collections.abc as abc
import typing
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turbolift.contract import Payload, dumps, loads
from turbolift.errors import DecodeError, EncodeError, UnsupportedTypeError
from unit.contract.shapes import Box
from unit.contract.values import SCALARS, any_json, typed_values


def _check(hint: Any, value: Any, contract_for: Any, travel: Any, same: Any, as_base64: Any) -> None:
    contract = contract_for(hint)
    arrived = travel(contract, value)
    assert same(arrived, value), f"{hint}: sent {value!r}, arrived {arrived!r}"
    document = loads(dumps(as_base64(contract, value)))
    jsonschema.Draft202012Validator(contract.result).validate(document)
    jsonschema.Draft202012Validator(contract.parameters).validate({"value": document})


@pytest.mark.parametrize("sample", range(len(SCALARS)), ids=[str(hint)[:40] for hint, _ in SCALARS])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_each_scalar(
    sample: int, data: st.DataObject, contract_for: Any, travel: Any, same: Any, as_base64: Any
) -> None:
    hint, values = SCALARS[sample]
    _check(hint, data.draw(values), contract_for, travel, same, as_base64)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_random_hints(data: st.DataObject, contract_for: Any, travel: Any, same: Any, as_base64: Any) -> None:
    hint, values = data.draw(typed_values())
    _check(hint, data.draw(values), contract_for, travel, same, as_base64)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_value_of_another_hint_is_kept_or_refused(
    data: st.DataObject, contract_for: Any, travel: Any, same: Any
) -> None:
    """Whatever is given under whatever hint: it arrives the same, or EncodeError says why not."""
    hint, _ = data.draw(typed_values(2))
    _, values = data.draw(typed_values(1))
    value = data.draw(values)
    try:
        arrived = travel(contract_for(hint), value)
    except EncodeError:
        return
    assert same(arrived, value), f"{hint}: sent {value!r}, arrived {arrived!r}"


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), tree=any_json, parts=st.lists(st.binary(max_size=3), max_size=2))
def test_decoding_anything_gives_a_value_of_the_hint_or_decode_error(
    data: st.DataObject, tree: Any, parts: list[bytes], contract_for: Any, travel: Any, same: Any
) -> None:
    hint, values = data.draw(typed_values(2))
    contract = contract_for(hint)
    if data.draw(st.booleans()):
        tree = data.draw(_mutated(contract.encode_result(data.draw(values)).json))
    try:
        value = contract.decode_result(Payload(tree, parts))
    except DecodeError:
        return
    # What decodes is of the hint: it can be sent, and is kept.
    assert same(travel(contract, value), value)


@st.composite
def _mutated(draw: st.DrawFn, tree: Any) -> Any:
    """A tree with one place changed."""
    if type(tree) is list and tree and draw(st.booleans()):
        at = draw(st.integers(0, len(tree) - 1))
        return [*tree[:at], draw(_mutated(tree[at])), *tree[at + 1 :]]
    if type(tree) is dict and tree and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(tree)))
        return {**tree, key: draw(_mutated(tree[key]))}
    if type(tree) is str and draw(st.booleans()):
        at = draw(st.integers(0, len(tree)))
        return (
            tree[:at]
            + draw(st.sampled_from(["0", "-", ":", "[", "]", "é", "E", "/", " ", ""]))
            + tree[at + 1 :]
        )
    return draw(
        st.sampled_from(
            [
                None,
                True,
                0,
                -1,
                1.5,
                "",
                "x",
                "NaN",
                [],
                {},
                [1, 2],
                {"$part": 0},
                {"$type": "int", "value": 1},
            ]
        )
    )


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_hints_compile_or_say_why_not(data: st.DataObject, contract_for: Any) -> None:
    """Mixed with hints that cannot travel, any composition still ends in a contract or in
    UnsupportedTypeError.
    """
    hint, _ = data.draw(typed_values(1))
    bad = data.draw(
        st.sampled_from([abc.Callable[[], int], abc.Iterator[int], type[int], re_pattern, type(Ellipsis)])
    )
    outer = data.draw(
        st.sampled_from(
            [
                list[bad],
                dict[str, bad],
                typing.Union[(hint, bad)],  # noqa: UP007
                tuple[int, bad],
                Box[bad],
            ]
        )
    )
    with pytest.raises(UnsupportedTypeError, match="cannot travel"):
        contract_for(outer)


re_pattern = typing.Pattern[str]
