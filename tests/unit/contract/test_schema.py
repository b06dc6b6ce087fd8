# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The JSON Schemas, and the digest of them: what it depends on, and what it does not."""

from __future__ import annotations

import dataclasses
import enum
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)

import jsonschema
import pytest

from turbolift.contract import contract_of

T = TypeVar("T")


@dataclasses.dataclass
class Line:
    """One line of an order."""

    sku: str
    quantity: int = dataclasses.field(default=1, metadata={"description": "how many"})


@dataclasses.dataclass
class Order:
    lines: list[Line]
    parent: Order | None = None


@dataclasses.dataclass
class Box(Generic[T]):
    item: T


class Color(enum.Enum):
    """A color."""

    RED = 1
    BLUE = 2


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Pair(NamedTuple):
    left: int
    right: str = ""


def order(
    order: Order, color: Color, note: Annotated[str, "for the driver"] = "", box: Box[int] | None = None
) -> list[Line]:
    """Place an order."""
    raise NotImplementedError


def test_the_schema_of_a_function_reads_well() -> None:
    contract = contract_of(order)
    assert contract.parameters == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{__name__}:order",
        "type": "object",
        "description": "Place an order.",
        "properties": {
            "order": {"$ref": "#/$defs/Order"},
            "color": {"$ref": "#/$defs/Color"},
            "note": {"type": "string", "description": "for the driver", "default": ""},
            "box": {"anyOf": [{"$ref": "#/$defs/Box_int"}, {"type": "null"}], "default": None},
        },
        "required": ["order", "color"],
        "additionalProperties": False,
        "$defs": {
            "Order": {
                "title": "Order",
                "type": "object",
                "properties": {
                    "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
                    "parent": {"anyOf": [{"$ref": "#/$defs/Order"}, {"type": "null"}]},
                },
                "required": ["lines"],
                "additionalProperties": False,
                "x-python-type": "dataclass",
            },
            "Line": {
                "title": "Line",
                "description": "One line of an order.",
                "type": "object",
                "properties": {
                    "sku": {"type": "string"},
                    "quantity": {
                        "type": ["integer", "boolean", "string"],
                        "pattern": "^-?0x[0-9a-f]+$",
                        "x-python-type": "int",
                        "description": "how many",
                    },
                },
                "required": ["sku"],
                "additionalProperties": False,
                "x-python-type": "dataclass",
            },
            "Color": {
                "title": "Color",
                "description": "A color.",
                "enum": ["RED", "BLUE"],
                "x-python-type": "enum",
            },
            "Box_int": {
                "title": "Box[int]",
                "type": "object",
                "properties": {
                    "item": {
                        "type": ["integer", "boolean", "string"],
                        "pattern": "^-?0x[0-9a-f]+$",
                        "x-python-type": "int",
                    }
                },
                "required": ["item"],
                "additionalProperties": False,
                "x-python-type": "dataclass",
            },
        },
    }
    assert contract.result["type"] == "array"
    jsonschema.Draft202012Validator.check_schema(contract.parameters)
    jsonschema.Draft202012Validator.check_schema(contract.result)


def _digest(
    hint: Any, *, default: Any = dataclasses.MISSING, result: Any = None, doc: str = "", name: str = "value"
) -> str:
    namespace: dict[str, Any] = {}
    written = name if default is dataclasses.MISSING else f"{name}=default"
    exec(f"def function({written}): ...", {"default": default}, namespace)
    function: Callable[..., Any] = namespace["function"]
    function.__annotations__ = {name: hint, "return": result}
    function.__module__ = __name__
    function.__doc__ = doc
    return contract_of(function).digest


@dataclasses.dataclass
class _Unlike:
    sku: str
    quantity: int


HINTS: list[Any] = [
    None,
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    bytearray,
    Any,
    Decimal,
    datetime,
    list[int],
    set[int],
    frozenset[int],
    tuple[int, ...],
    tuple[int],
    tuple[()],
    tuple,
    list,
    dict,
    dict[str, int],
    dict[int, int],
    int | None,
    int | str,
    float | str,
    Literal["a"],
    Literal["a", "b"],
    Literal[1],
    Literal[True],
    Color,
    Line,
    _Unlike,
    Order,
    Movie,
    Pair,
    Box[int],
    Box[str],
    list[Line],
    Line | Order,
]


def test_the_digest_tells_all_types_apart() -> None:
    digests = {_digest(hint): hint for hint in HINTS}
    assert len(digests) == len(HINTS)
    assert len({_digest(str, result=hint) for hint in HINTS}) == len(HINTS)
    assert _digest(int) != _digest(int, name="other")
    assert _digest(int) != _digest(int, default=1)


def test_the_digest_does_not_depend_on_what_is_for_people() -> None:
    assert _digest(int, default=1) == _digest(int, default=2)
    assert _digest(int) == _digest(int, doc="What it does.")
    assert _digest(int) == _digest(Annotated[int, "what it is"])
    assert _digest(Union[int, str]) == _digest(Union[str, int])  # noqa: UP007
    assert _digest(Optional[int]) == _digest(None | int)  # noqa: UP045
    assert _digest(Literal["a", "b"]) == _digest(Literal["b", "a"])


def test_a_field_that_is_called_title_counts() -> None:
    class One(TypedDict):
        title: str

    class Other(TypedDict):
        title: int

    Other.__name__ = Other.__qualname__ = One.__qualname__
    assert _digest(One) != _digest(Other)


# The digest is in every image and in every route table: these must never change, on any CPython.
LITERAL_DIGESTS = {
    "order": "sha256:e11a10d7f8da6f23b2498875c53a37734d4e3cf85fc6a8e80604be8fd048d229",
    "every": "sha256:a9aefd6fd36b09a479de943e1b8862323707c3bb48b0ed27f3796ff999c030e9",
}


def every(
    a: int,
    b: float | None,
    c: dict[str, list[Decimal]],
    d: Literal["x", 1, True],
    e: Movie,
    f: Pair | Line,
    *args: set[datetime],
    g: Box[Color],
    **kwargs: tuple[int, ...],
) -> Any:
    raise NotImplementedError


def test_digests_are_stable() -> None:
    assert {fn.__name__: contract_of(fn).digest for fn in (order, every)} == LITERAL_DIGESTS


def test_importing_the_contract_room_is_cheap() -> None:
    code = (
        "import sys; import turbolift.contract; "
        "heavy = {'inspect', 'dataclasses', 'typing_extensions', 'numpy', 'pydantic', 'msgspec', 'decimal', "
        "'pathlib', 'datetime', 'hashlib'} & set(sys.modules); print(sorted(heavy))"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(run.stdout.replace("'", '"')) == []


@pytest.mark.parametrize("hint", HINTS, ids=str)
def test_every_schema_is_a_schema(hint: Any, contract_for: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(contract_for(hint).parameters)
    jsonschema.Draft202012Validator.check_schema(contract_for(hint).result)
