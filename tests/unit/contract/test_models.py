# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""pydantic models and attrs classes travel by their own fields, and arrive as they were."""

# mypy: disable-error-code="call-arg"
from __future__ import annotations

import datetime
import decimal
from typing import Any, Generic, TypeVar

import jsonschema
import pytest

from turbolift.contract import Payload, dumps, loads
from turbolift.errors import DecodeError, EncodeError

pytest.importorskip("pydantic")
pytest.importorskip("attrs")

import attrs
import pydantic

T = TypeVar("T")


class Line(pydantic.BaseModel):
    """One line."""

    sku: str
    price: decimal.Decimal = decimal.Decimal("1.10")
    tags: set[str] = pydantic.Field(default_factory=set, description="what it is about")


class Order(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(str_strip_whitespace=True)

    lines: list[Line]
    made: datetime.datetime = pydantic.Field(default_factory=datetime.datetime.now)
    note: str = pydantic.Field("", alias="Note", max_length=20)
    parent: Order | None = None

    @pydantic.field_validator("lines")
    @classmethod
    def not_empty(cls, lines: list[Line]) -> list[Line]:
        if not lines:
            raise ValueError("an order needs a line")
        return lines


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", frozen=True)

    a: int


class Counting(pydantic.BaseModel):
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def more(cls, n: int) -> int:
        return n + 1  # not idempotent


class Hidden(pydantic.BaseModel):
    a: int
    _seen: int = pydantic.PrivateAttr(0)


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


class Names(pydantic.RootModel[list[str]]): ...


def equal(a: Any, b: Any) -> bool:
    return (
        type(a) is type(b)
        and a == b
        and a.model_fields_set == b.model_fields_set
        and all(type(getattr(a, name)) is type(getattr(b, name)) for name in type(a).model_fields)
    )


MODELS: list[Any] = [
    Line(sku="a"),
    Line(sku="a", price=decimal.Decimal("2.50"), tags={"x", "y"}),
    Order(lines=[Line(sku="a")]),
    Order(lines=[Line(sku="a")], Note="ring twice", parent=Order(lines=[Line(sku="b")])),
    Open(a=1),
    Open(a=1, b=[1, {"c": None}], d="x"),
    Counting(n=1),
    Hidden(a=1),
    Page[int](items=[1, 2]),
    Names(["a", "b"]),
    Names.model_construct(root=["a"]),
]


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_models_arrive_as_they_were(model: Any, contract_for: Any, travel: Any) -> None:
    contract = contract_for(type(model))
    assert equal(travel(contract, model), model)
    payload = contract.encode_result(model)
    jsonschema.Draft202012Validator(contract.result).validate(loads(dumps(payload.json)))


def test_how_a_model_looks_as_json(contract_for: Any) -> None:
    contract = contract_for(Line)
    assert contract.encode_result(Line(sku="a")).json == {
        "sku": "a",
        "price": "1.10",
        "tags": [],
        "$unset": ["price", "tags"],
    }
    assert contract.encode_result(Line(sku="a", price=decimal.Decimal(1), tags=set())).json == {
        "sku": "a",
        "price": "1",
        "tags": [],
    }
    assert contract.decode_result(Payload({"sku": "a"}, [])) == Line(sku="a")
    properties = contract.result["$defs"]["Line"]["properties"]
    assert properties["tags"]["description"] == "what it is about"
    assert contract.result["$defs"]["Line"]["required"] == ["sku"]


def _private() -> Hidden:
    model = Hidden(a=1)
    model._seen = 5
    return model


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Line.model_construct(sku=1), "result.sku: expected str, got int"),
        (Order.model_construct(lines=[]), "result: Order is not valid by its own rules: 1 validation error"),
        (_private(), "result: Hidden has private attributes, which do not travel"),
        (Open(a=1, b=(1,)), "result.b: expected a value that is JSON already (under Any), got tuple"),
        (Open.model_validate({"a": 1, "$x": 1}), "result: the extra field '$x' cannot travel"),
        (Page[Any].model_construct(items=1), "result.items: expected list[Any], got int"),
    ],
)
def test_what_would_not_arrive_is_refused(value: Any, message: str, contract_for: Any) -> None:
    with pytest.raises(EncodeError) as error:
        contract_for(type(value)).encode_result(value)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("model", "tree", "message"),
    [
        (
            Order,
            {"lines": []},
            "result: Order refuses its fields: ValidationError: 1 validation error for Order",
        ),
        (Order, {"lines": [{"sku": 1}]}, "result.lines[0].sku: expected str, got a JSON integer"),
        (Line, {"sku": "a", "x": 1}, "result: Line has no field 'x' (its fields: sku, price, tags)"),
        (Line, {}, "result: Line lacks sku"),
        (
            Line,
            {"sku": "a", "$unset": ["x"]},
            "result: expected Line, with the names of some of its fields as $unset",
        ),
        (Open, {"a": 1, "b": float("inf")}, "result.b: a JSON number that is too large for a float"),
    ],
)
def test_broken_models_are_refused(model: Any, tree: Any, message: str, contract_for: Any) -> None:
    with pytest.raises(DecodeError) as error:
        contract_for(model).decode_result(Payload(tree, []))
    assert str(error.value).startswith(message)


def _upper(text: str) -> str:
    return text.upper()


@attrs.define
class Stop:
    name: str
    _secret: int = 0
    length: int = attrs.field(init=False, default=0)
    upper: str = attrs.field(default="", converter=_upper)

    def __attrs_post_init__(self) -> None:
        self.length = len(self.name)


@attrs.frozen(kw_only=True)
class Route(Generic[T]):
    stops: tuple[Stop, ...]
    extra: T
    parent: Route[T] | None = None


@attrs.define(slots=False)
class Open2:
    a: int


def test_attrs_classes_arrive_as_they_were(contract_for: Any, travel: Any) -> None:
    stop = Stop("a", secret=5, upper="x")
    stop.length = 9
    stop.upper = "lower"  # attrs runs the converter here too
    for hint, value in [
        (Stop, stop),
        (Route[int], Route(stops=(Stop("b"), stop), extra=1, parent=Route(stops=(), extra=2))),
        (Stop | None, None),
        (Stop | Line, stop),
    ]:
        assert travel(contract_for(hint), value) == value
    assert contract_for(Stop).encode_result(stop).json == {
        "name": "a",
        "_secret": 5,
        "length": 9,
        "upper": "LOWER",
    }
    strange = Open2(1)
    strange.b = 2  # type: ignore[attr-defined]
    with pytest.raises(EncodeError, match="Open2 has an attribute 'b' that is not one of its fields"):
        contract_for(Open2).encode_result(strange)
