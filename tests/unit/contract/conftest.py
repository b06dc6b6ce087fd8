# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Helpers that all tests of the contract share: a trip over the wire, and equality."""

from __future__ import annotations

import base64
import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from turbolift.contract import Contract, Payload, contract_of, dumps, loads
from turbolift.contract.codec import EncodeRun
from unit.contract.same import same


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
