# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Hints that refer to something: generics and their bases, aliases, Self, recursion, other modules."""

# mypy: disable-error-code="valid-type, arg-type, dict-item, list-item, misc"
from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    NamedTuple,
    ParamSpec,
    Self,
    TypedDict,
    TypeVar,
    TypeVarTuple,
)

import pytest

from turbolift.contract import contract_of
from turbolift.errors import EncodeError, UnsupportedTypeError

typing_extensions = pytest.importorskip("typing_extensions")

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V", int, str)
P = ParamSpec("P")
Ts = TypeVarTuple("Ts")
WithDefault = typing_extensions.TypeVar("WithDefault", default=int)


@dataclasses.dataclass
class Table(Generic[K, T]):
    rows: dict[K, list[T]]


@dataclasses.dataclass
class Prices(Table[str, T]):
    note: T | None = None


@dataclasses.dataclass
class IntPrices(Prices[int]):
    kind: ClassVar[str] = "ints"
    more: Final[int] = 1


@dataclasses.dataclass
class Task(Generic[P, T]):
    result: T


@dataclasses.dataclass
class Row(Generic[T, *Ts]):
    cells: tuple[T, *Ts]


@dataclasses.dataclass
class Linked(Generic[T]):
    item: T
    next: Linked[T] | None = None


@dataclasses.dataclass
class Chained:
    next: Self | None = None


@dataclasses.dataclass
class A:
    b: list[B]


@dataclasses.dataclass
class B:
    a: A | None


class Named(NamedTuple, Generic[T]):
    item: T


class Keyed(TypedDict, Generic[T]):
    item: T


class Base(TypedDict):
    a: int


class Child(Base, total=False):
    b: str
    c: typing.Required[str]


@dataclasses.dataclass
class Custom:
    """A dataclass with an ``__init__`` of its own."""

    a: int
    b: str

    def __init__(self, text: str) -> None:
        self.a = len(text)
        self.b = text


@dataclasses.dataclass
class Outer:
    @dataclasses.dataclass
    class Inner:
        a: int

    inner: Inner


Json = typing_extensions.TypeAliasType(
    "Json", "dict[str, Json] | list[Json] | str | int | float | bool | None"
)
Deep = typing_extensions.TypeAliasType("Deep", "list[Deep | None]")
Parts = TypedDict("Parts", {"$part": int})
ListOf = typing_extensions.TypeAliasType("ListOf", list[T], type_params=(T,))


CASES: list[tuple[Any, list[Any], list[Any]]] = [
    (
        IntPrices,
        [IntPrices({"a": [1]}, 5)],
        [IntPrices({"a": ["x"]}), IntPrices({}, "x"), IntPrices({1: []})],
    ),
    (Prices[str], [Prices({"a": ["x"]}, "y")], [Prices({"a": [1]})]),
    (Prices, [Prices({"a": ["x", 1]}, None)], [Prices({"a": [(1,)]})]),
    (Task[[int, str], float], [Task(1.5)], [Task("x")]),
    (Task[..., float], [Task(1.5)], [Task("x")]),
    (Row[int, str, bool], [Row((1, "a", True))], [Row((1, "a")), Row((1, "a", "b"))]),
    (Row[int], [Row((1,))], [Row((1, 2))]),
    (Linked[int], [Linked(1, Linked(2))], [Linked(1, Linked("x"))]),
    (Linked[Linked[str]], [Linked(Linked("a"), Linked(Linked("b")))], [Linked("a")]),
    (Chained, [Chained(Chained())], [Chained(A([]))]),
    (A, [A([B(A([])), B(None)])], [A([B(1)])]),
    (Named[int], [Named(1)], [Named("x")]),
    (Keyed[int], [{"item": 1}], [{"item": "x"}, {}]),
    (Child, [{"a": 1, "c": ""}, {"c": "", "a": 1, "b": ""}], [{"a": 1}, {"c": ""}]),
    (Custom, [Custom("abc")], []),
    (Outer, [Outer(Outer.Inner(1))], [Outer(1)]),
    (V, [1, "a"], [1.5]),
    (WithDefault, [1], ["a"]),
    (T, [1, "a", None], [(1,)]),
    (
        Json,
        [{"a": [1, 1.0, True, None, {"b": []}]}, "x", {"$type": "int", "value": 1}],
        [(1,), {1: 1}, {"a": b""}],
    ),
    (Deep, [[None, [None, []]]], [[1]]),
    (Json | None, [None, {"$part": 0}, {"a": {"$type": 1, "value": [None]}}], [(1,)]),
    (dict[str, Any] | None, [{"$part": 0}, {"$type": "x", "value": 1}], [[1]]),
    (bytes | dict[str, int] | None, [b"x", {"$part": 0}, {"a": 1}], [bytearray()]),
    (bytes | Any, [b"x", {"$part": 0}, {"a": 1}], [bytearray()]),
    (Parts | bytes, [{"$part": 0}, b"x"], [{}]),
    (ListOf[int], [[1]], [["a"], [[1]]]),
    (ListOf[ListOf[int]], [[[1]]], [[1]]),
    (Annotated[int, "a", {"not": "hashable"}], [1], ["a"]),
    (list["A"], [[A([])]], [[B(None)]]),
    (typing.List, [[1, "a"]], [(1,)]),  # noqa: UP006
    (typing.Tuple, [(1, "a")], [[1]]),  # noqa: UP006
    (typing.Tuple[()], [()], [(1,)]),  # noqa: UP006
    (tuple[int, *tuple[str, ...]], [(1,), (1, "a", "b")], [(), (1, 2)]),
    (Mapping[str, int], [{"a": 1}], [{"a": "b"}]),
    (int | Annotated[int, "x"], [1], ["x"]),
    (Fraction | Annotated[Fraction, "x"] | None, [Fraction(1, 3)], [1.5]),
    (Linked[list[int]] | Annotated[Linked[list[int]], "x"] | None, [Linked([1]), None], [Linked(1)]),
    (list[int | str] | Annotated[list[str | int], "x"], [[1, "a"]], [[None]]),
]


@pytest.mark.parametrize(("hint", "good", "bad"), CASES, ids=[str(case[0])[:50] for case in CASES])
def test_hints_mean_what_they_say(hint: Any, good: list[Any], bad: list[Any], travel: Any, same: Any) -> None:
    def function(value: Any) -> Any: ...

    function.__annotations__ = {"value": hint, "return": hint}
    contract = contract_of(function)
    for value in good:
        assert same(travel(contract, value), value)
    for value in bad:
        with pytest.raises(EncodeError):
            contract.encode_args({"value": value})


def test_equal_names_of_two_modules_do_not_mix(travel: Any) -> None:
    """A class's hints are read in its own module, whatever the function's module calls so."""
    other = types.ModuleType("other_shop")
    sys.modules["other_shop"] = other
    try:
        exec(
            "from __future__ import annotations\nimport dataclasses\nT = str\n"
            "@dataclasses.dataclass\nclass A:\n    b: T\n@dataclasses.dataclass\nclass Holder:\n    a: A\n",
            other.__dict__,
        )

        def function(value: Any) -> Any: ...

        function.__annotations__ = {"value": other.Holder, "return": A | other.A}
        contract = contract_of(function)
        assert contract.encode_args({"value": other.Holder(other.A("x"))}).json == {
            "value": {"a": {"b": "x"}}
        }
        tags = {contract.encode_result(value).json["$type"] for value in (A([]), other.A("x"))}
        assert tags == {f"{__name__}.A", "other_shop.A"}
        value = other.A("x")
        assert contract.decode_result(contract.encode_result(value)) == value
    finally:
        del sys.modules["other_shop"]


def test_self_of_a_static_method_is_its_class() -> None:
    class Cart:
        @staticmethod
        def merge(a: int) -> None: ...

    Cart.merge.__annotations__["a"] = Self
    with pytest.raises(UnsupportedTypeError, match="Cart cannot travel"):
        contract_of(Cart.merge, owner=Cart)


def test_functions_of_current_syntax() -> None:
    if sys.version_info < (3, 12):
        pytest.skip("needs the syntax of CPython 3.12")
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(
        "import dataclasses\n"
        "type Pairs[X] = list[tuple[str, X]]\n"
        "type Nested = int | list[Nested]\n"
        "@dataclasses.dataclass\nclass Box[X]:\n    item: X\n    more: 'list[X]'\n"
        "def f[Y: int](a: Pairs[int], b: Nested, c: Box[str], d: Y) -> list[Y]: ...",
        namespace,
    )
    f: Callable[..., Any] = namespace["f"]
    box = namespace["Box"]
    contract = contract_of(f)
    bound = {"a": [("x", 1)], "b": [1, [2]], "c": box("a", ["b"]), "d": 1}
    assert contract.decode_args(contract.encode_args(bound)) == ((), bound)
    for name, value in [
        ("a", [("x", "y")]),
        ("b", [["x"]]),
        ("c", box(1, [])),
        ("c", box("a", [1])),
        ("d", "x"),
    ]:
        with pytest.raises(EncodeError):
            contract.encode_args({**bound, name: value})


def test_an_unknown_name_in_an_alias_is_refused(contract_for: Any) -> None:
    bad = typing_extensions.TypeAliasType("bad", "list[Nowhere]")
    with pytest.raises(UnsupportedTypeError, match="Nowhere"):
        contract_for(bad)
