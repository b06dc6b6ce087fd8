# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Helpers that all tests of the contract share: a trip over the wire, and equality of value and type at
every level.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import datetime
import decimal
import math
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

import pytest

from turbolift.contract import Contract, Payload, contract_of, dumps, loads
from turbolift.contract.codec import EncodeRun


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal with the same types at every level (NaN is itself; 0.0 is not -0.0)."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, decimal.Decimal):
        return bool(a.as_tuple() == b.as_tuple())
    if isinstance(a, datetime.datetime | datetime.time):
        zones = type(a.tzinfo) is type(b.tzinfo) and repr(a.tzinfo) == repr(b.tzinfo)
        return bool(zones and a.isoformat() == b.isoformat() and a.fold == b.fold)
    if isinstance(a, dict):
        if isinstance(a, defaultdict) and a.default_factory is not b.default_factory:
            return False
        return len(a) == len(b) and all(
            same(k, m) and same(v, w) for (k, v), (m, w) in zip(a.items(), b.items(), strict=True)
        )
    if isinstance(a, list | tuple | deque):
        if isinstance(a, deque) and a.maxlen != b.maxlen:
            return False
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, set | frozenset):
        rest = list(b)
        for item in a:
            found = next((i for i, other in enumerate(rest) if same(item, other)), None)
            if found is None:
                return False
            rest.pop(found)
        return not rest
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    return bool(a == b)


class _Run(EncodeRun):
    """Remembers which ``{"$part": n}`` are parts, and no dicts of the user's that look so."""

    def __init__(self) -> None:
        super().__init__()
        self.placeholders: list[dict[str, int]] = []

    def add(self, part: Any) -> dict[str, int]:
        self.placeholders.append(super().add(part))
        return self.placeholders[-1]


def as_base64(contract: Contract, value: Any) -> Any:
    """The result `value` as a client without raw parts writes it."""
    run = _Run()
    parts: dict[int, str] = {}
    tree = contract._result.encode(value, run, 0)
    for placeholder, part in zip(run.placeholders, run.parts, strict=True):
        parts[id(placeholder)] = base64.b64encode(part).decode()

    def replaced(tree: Any) -> Any:
        if isinstance(tree, list):
            return [replaced(item) for item in tree]
        if isinstance(tree, dict):
            return parts[id(tree)] if id(tree) in parts else {k: replaced(v) for k, v in tree.items()}
        return tree

    return replaced(tree)


def contract_for(hint: Any) -> Contract:
    """The contract of a function that takes and gives one value of this hint."""

    def function(value: Any) -> Any:
        return value

    function.__annotations__ = {"value": hint, "return": hint}
    return contract_of(function)


def travel(contract: Contract, value: Any) -> Any:
    """Send a value as an argument and back as a result, as text and raw parts; return what arrives."""
    before = copy.deepcopy(value)
    sent = contract.encode_args(contract.bind((value,), {}))
    received = Payload(loads(dumps(sent.json)), [memoryview(bytes(part)) for part in sent.parts])
    args, kwargs = contract.decode_args(received)
    (arrived,) = (*args, *kwargs.values())
    travel_quickly(contract, value, sent.json, arrived)
    sent = contract.encode_result(arrived)
    arrived = contract.decode_result(Payload(loads(dumps(sent.json)), sent.parts))
    assert same(value, before), "encoding changed the caller's value"
    return arrived


def travel_quickly(contract: Contract, value: Any, tree: Any, arrived: Any) -> None:
    """The quick codec does what the exact one does, or nothing."""
    quick = contract.quick
    name = next(iter(contract.signature.parameters))
    for text in (quick.call((value,), {}), quick.call((), {name: value})):
        if text is None:
            continue
        assert text.isascii()
        assert repr(loads(text)) == repr({"args": tree})
        given = quick.arguments(text)
        assert given is None or (given.keys() == {name} and same(given[name], arrived))
    given = quick.arguments(dumps({"args": tree}))
    assert given is None or (given.keys() == {name} and same(given[name], arrived))
    answer = quick.returned(value)
    if answer is not None:
        expected = {"result": contract.encode_result(value).json}
        assert repr(loads(answer)) == repr(expected)
        for text in (answer, dumps(expected)):
            found = quick.result(text)
            assert found is None or same(found[0], arrived)


@pytest.fixture(name="contract_for", scope="session")
def contract_for_fixture() -> Callable[[Any], Contract]:
    return contract_for


@pytest.fixture(name="travel", scope="session")
def travel_fixture() -> Callable[[Contract, Any], Any]:
    return travel


@pytest.fixture(name="same", scope="session")
def same_fixture() -> Callable[[Any, Any], bool]:
    return same


@pytest.fixture(name="as_base64", scope="session")
def as_base64_fixture() -> Callable[[Contract, Any], Any]:
    return as_base64
