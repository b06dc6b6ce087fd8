# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Long lists, encoded and decoded slice by slice, are the same as by the whole; all doubts end with None."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from turbolift.contract import Contract, contract_of, heavy, is_heavy

pytest.importorskip("msgspec")


def floats(values: list[float], name: str = "", more: list[int] = []) -> list[float]:  # noqa: B006
    return values


def ints(values: tuple[int, ...], rows: list[list[float]] = []) -> tuple[int, ...]:  # noqa: B006
    return values


def texts(values: list[str], flags: list[bool] = []) -> list[str]:  # noqa: B006
    return values


FLOATS, INTS, TEXTS = contract_of(floats), contract_of(ints), contract_of(texts)

rnd = random.Random(3)
LONG_FLOATS = [rnd.choice([rnd.random(), rnd.uniform(-1e300, 1e300), -0.0, 1e-320]) for _ in range(120_000)]
LONG_INTS = tuple(rnd.choice([rnd.randrange(-9, 9), rnd.randrange(-(2**63), 2**64)]) for _ in range(150_000))
LONG_TEXTS = [str(i) + '"[,' * (i % 3) for i in range(110_000)]


def exactly(value: Any) -> Any:
    """What tells values apart that are equal: types, and the sign of zero."""
    if isinstance(value, (list, tuple)):
        return type(value), [*map(exactly, value)]
    return type(value), value, math.copysign(1, value) if isinstance(value, (int, float)) else 0


@pytest.mark.parametrize(
    ("contract", "args", "kwargs"),
    [
        (FLOATS, (LONG_FLOATS,), {}),
        (FLOATS, (LONG_FLOATS, "ab[1,2]"), {"more": [1, 2]}),
        (FLOATS, (), {"more": [*LONG_INTS], "values": [*LONG_FLOATS, 1, 2.5]}),
        (FLOATS, ([1.5],), {"more": [7] * 110_000}),
        (INTS, (LONG_INTS,), {}),
        (INTS, (LONG_INTS, [LONG_FLOATS, [1.0], LONG_FLOATS[::-1]]), {}),
        (TEXTS, (LONG_TEXTS, [True, False] * 110_000), {}),
    ],
)
def test_calls(contract: Contract, args: Any, kwargs: Any) -> None:
    quick = contract.quick
    assert quick.is_heavy(args, kwargs)
    whole = quick.call(args, kwargs)
    pieces = quick.later(args, kwargs)()
    assert pieces is not None
    assert len(pieces) > 4
    assert b"".join(pieces) == whole
    read = quick.arguments(whole)
    assert read is not None
    positional, named = contract.decode_args(contract.encode_args(contract.bind(args, kwargs)))
    assert positional == ()
    assert {n: exactly(v) for n, v in read.items()} == {n: exactly(v) for n, v in named.items()}


@pytest.mark.parametrize(
    ("contract", "value"), [(FLOATS, LONG_FLOATS), (INTS, LONG_INTS), (TEXTS, LONG_TEXTS)]
)
def test_results(contract: Contract, value: Any) -> None:
    quick = contract.quick
    pieces = quick.long_result(value)
    assert pieces is not None
    assert b"".join(pieces) == quick.returned(value)
    found = quick.result(b"".join(pieces))
    assert found is not None
    assert exactly(found[0]) == exactly(value)


def test_what_is_called_is_what_was_there_at_the_call() -> None:
    values = [1.5] * 110_000
    later = FLOATS.quick.later((values,), {})
    values[:] = [2.5] * 110_000
    pieces = later()
    assert pieces is not None
    assert FLOATS.quick.arguments(b"".join(pieces)) == {"values": [1.5] * 110_000}


def test_not_a_number_goes_by_the_exact_steps() -> None:
    values = [*LONG_FLOATS, math.nan, math.inf]
    pieces = FLOATS.quick.later((values,), {})()
    payload = FLOATS.encode_args({"values": values})
    assert payload.json["values"][-2:] == ["NaN", "Infinity"]
    assert pieces is None or b"".join(pieces).endswith(b'"NaN","Infinity"]}}')


@pytest.mark.parametrize(
    "args",
    [([*LONG_FLOATS, "x"],), ([*LONG_FLOATS, None],), ([LONG_FLOATS],), (LONG_FLOATS, 3), ()],
)
def test_wrong_calls_are_left_to_the_exact_steps(args: Any) -> None:
    assert FLOATS.quick.later(args, {})() is None


RUN = b",".join(b"%d.5" % i for i in range(20_000))


@pytest.mark.parametrize(
    "text",
    [
        b"[%b,]" % RUN,
        b"[,%b]" % RUN,
        b"[%b,,%b]" % (RUN, RUN),
        b"[%b 1]" % RUN,
        b"[%b" % RUN,
        b"[%b}" % RUN,
        b"[%b,1e]" % RUN,
        b"[%b,01]" % RUN,
        b"[%b,-]" % RUN,
        b"[%b,1.]" % RUN,
        b"[%b,nul]" % RUN,
        b'"[%b]"' % RUN,
        b"[[%b]]" % RUN,
        b"[%b]]" % RUN,
        b'[%b],"values":[1]' % RUN,
        b'[%b],"more":[%b]' % (RUN, RUN),
    ],
)
def test_broken_texts_are_left_to_the_exact_steps(text: bytes) -> None:
    body = b'{"args":{"values":%b}}' % text
    assert FLOATS.quick._arguments is not None
    assert heavy.arguments(body, FLOATS.quick._arguments, {"values": list[int | float]}) is None


def test_runs_are_found_wherever_they_are() -> None:
    text = b'{"a":[%b],"b":[1,2],"c":[[%b],[ %b\n]]}' % (RUN, RUN, RUN)
    runs = heavy.Runs(text)
    assert len(runs) == 3
    assert len(runs.skeleton) < 200


@pytest.mark.parametrize("unit", [b"[", b"[1,", b"[1111111,", b"[[1]],", b'["]', b"[" + b"1" * 65])
def test_a_text_that_looks_like_many_is_given_up(unit: bytes) -> None:
    runs = heavy.Runs(unit * 2_000_000)
    assert not runs
    assert runs.skeleton == unit * 2_000_000


class Thing:
    def __init__(self) -> None:
        self.name = "x" * 100
        self.values = [1] * 100


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, False), (1.5, False), (None, False), ("x" * 1000, False), (b"x" * 10_000_000, False), ([], False), ({}, False),
        ("x" * 3_000_000, True), ([1.0] * 300_000, True), ([[1.0] * 700] * 500, True), ({"a": [1] * 300_000}, True),
        ([{"name": "x" * 100}] * 30_000, True), ([Thing()] * 9000, True), ([Thing()] * 5, False), ([b"x" * 100_000] * 100, False),
    ],
)  # fmt: skip
def test_what_is_heavy(value: Any, expected: bool) -> None:
    assert is_heavy(value) is expected
