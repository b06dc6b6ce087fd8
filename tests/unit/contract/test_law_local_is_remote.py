# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Law 1: a value arrives equal, with the same type at every level, or is refused before it is sent.

Hints are composed at random from every supported form; a value of each is drawn, sent and compared.
"""

# mypy: disable-error-code="valid-type, misc, no-any-return, var-annotated"
from __future__ import annotations

import collections
import collections.abc as abc
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import pathlib
import typing
import uuid
import zoneinfo
from typing import Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turbolift.contract import Payload, dumps, loads
from turbolift.errors import DecodeError, EncodeError, UnsupportedTypeError

T = TypeVar("T")
B = TypeVar("B", bound=int)


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"
    MIXED = (1, "x")
    CRIMSON = 1


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 10**30


class Word(enum.StrEnum):
    YES = "yes"
    NO = "no"


class Mode(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Bits(enum.IntFlag):
    A = 1
    B = 8


@dataclasses.dataclass
class Leaf:
    number: int
    text: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float


@dataclasses.dataclass(kw_only=True)
class Special(Leaf):
    tags: list[str] = dataclasses.field(default_factory=list)
    derived: int = dataclasses.field(init=False, default=0)
    doubled: int = 0

    def __post_init__(self) -> None:
        self.derived = self.number * 2
        self.doubled *= 2  # not idempotent: what arrives must be what was sent, not doubled again


@dataclasses.dataclass
class Tree:
    value: int
    children: list[Tree] = dataclasses.field(default_factory=list)
    parent: Tree | None = None


@dataclasses.dataclass
class Box(Generic[T]):
    item: T
    more: dict[str, T]


class Pair(NamedTuple):
    left: int
    right: str = "right"


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Loose(TypedDict, total=False):
    value: str


UserId = NewType("UserId", int)

_text = st.text(st.characters(codec=None), max_size=8).filter(
    lambda s: s.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") == s
)
_text = _text | st.sampled_from(["$type", "value", "$part"])  # what the codec's own objects look like
_ints = st.integers() | st.integers(-(10**700), 10**700) | st.sampled_from([2**63, -(2**64), 10**4000])
_floats = st.floats()
_zones = st.none() | st.sampled_from(
    [
        datetime.UTC,
        datetime.timezone(datetime.timedelta(hours=5, minutes=30)),
        datetime.timezone(datetime.timedelta(seconds=-3723, microseconds=5)),
        datetime.timezone(datetime.timedelta(hours=1), "CET"),
        zoneinfo.ZoneInfo("Europe/Paris"),
        zoneinfo.ZoneInfo("America/New_York"),
    ]
)
_folds = st.sampled_from([0, 1])
_datetimes = st.builds(lambda d, z, f: d.replace(tzinfo=z, fold=f), st.datetimes(), _zones, _folds)
_times = st.builds(lambda t, z, f: t.replace(tzinfo=z, fold=f), st.times(), _zones, _folds)
_decimals = st.decimals() | st.sampled_from(
    [decimal.Decimal(t) for t in ("sNaN123", "-NaN", "1E+999999", "-0E-30", "1.10", "Infinity", "-0")]
)
_paths = st.lists(st.sampled_from(["a", "..", "b c", "é", "/", "c:"]), max_size=4)
_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | _ints | _floats | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)

SCALARS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (None, st.none()),
    (bool, st.booleans()),
    (int, _ints | st.booleans()),
    (float, _floats | st.integers() | st.booleans()),
    (complex, st.complex_numbers() | st.complex_numbers(allow_nan=True, allow_infinity=True) | st.floats()),
    (str, _text),
    (bytes, st.binary(max_size=6)),
    (bytearray, st.binary(max_size=6).map(bytearray)),
    (Any, _json),
    (object, _json),
    (Color, st.sampled_from(Color)),
    (Size, st.sampled_from(Size)),
    (Word, st.sampled_from(Word)),
    (Mode, st.integers(0, 7).map(Mode)),
    (Bits, st.integers(0, 2**70).map(Bits)),
    (
        Literal["a", 1, True, None, b"a", Color.RED, "RED"],
        st.sampled_from(["a", 1, True, None, b"a", Color.RED, "RED"]),
    ),
    (Literal["auto"], st.just("auto")),
    (decimal.Decimal, _decimals),
    (fractions.Fraction, st.fractions() | st.just(fractions.Fraction(10**4000, 3))),
    (uuid.UUID, st.uuids()),
    (datetime.datetime, _datetimes),
    (datetime.date, st.dates()),
    (datetime.time, _times),
    (datetime.timedelta, st.timedeltas()),
    (zoneinfo.ZoneInfo, st.sampled_from(["UTC", "Asia/Kolkata"]).map(zoneinfo.ZoneInfo)),
    (pathlib.Path, _paths.map(lambda p: pathlib.Path(*p))),
    (pathlib.PurePosixPath, _paths.map(lambda p: pathlib.PurePosixPath(*p))),
    (
        pathlib.PurePath,
        _paths.map(lambda p: pathlib.PurePosixPath(*p)) | _paths.map(lambda p: pathlib.Path(*p)),
    ),
    (range, st.builds(range, st.integers(-5, 5), _ints, st.integers(1, 3))),
    (
        slice,
        st.builds(slice, st.none() | st.integers(), st.none() | st.integers(), st.none() | st.integers()),
    ),
    (ipaddress.IPv4Address, st.ip_addresses(v=4)),
    (ipaddress.IPv6Address, st.ip_addresses(v=6)),
    (ipaddress.IPv4Interface, st.ip_addresses(v=4).map(lambda a: ipaddress.IPv4Interface(f"{a}/12"))),
    (ipaddress.IPv6Network, st.ip_addresses(v=6).map(ipaddress.IPv6Network)),
    (Leaf, st.builds(Leaf, _ints, _text)),
    (Point, st.builds(Point, _floats, _floats)),
    (
        Special,
        st.builds(Special, number=st.integers(), text=_text, tags=st.lists(_text), doubled=st.integers()),
    ),
    (
        Tree,
        st.recursive(
            st.builds(Tree, st.integers()),
            lambda t: st.builds(Tree, st.integers(), st.lists(t, max_size=2), st.none() | t),
            max_leaves=5,
        ),
    ),
    (Pair, st.builds(Pair, _ints, _text)),
    (Movie, st.fixed_dictionaries({"title": _text}, optional={"year": _ints})),
    (Loose, st.fixed_dictionaries({}, optional={"value": _text})),
    (UserId, _ints),
    (B, _ints),
    (typing.LiteralString, _text),
]

# Values that can be hashed, and are equal to themselves after a trip (a NaN as a key is only itself).
_KEYS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, _text),
    (int, st.integers()),
    (bool, st.booleans()),
    (Color, st.sampled_from(Color)),
    (uuid.UUID, st.uuids()),
    (datetime.date, st.dates()),
    (pathlib.PurePosixPath, _paths.map(lambda p: pathlib.PurePosixPath(*p))),
    (decimal.Decimal, st.decimals(allow_nan=False)),
    (bytes, st.binary(max_size=4)),
    (float, st.floats(allow_nan=False) | st.integers()),
    (Point, st.builds(Point, st.floats(allow_nan=False), st.floats(allow_nan=False))),
    (Pair, st.builds(Pair, st.integers(), _text)),
    (tuple[int, str], st.tuples(st.integers(), _text)),
    (int | str, st.integers() | _text),
    (str | uuid.UUID, _text | st.uuids()),
    (Literal[1, "1", b"MQ=="], st.sampled_from([1, "1", b"MQ=="])),
    (frozenset[int], st.frozensets(st.integers(), max_size=3)),
]

Typed = tuple[Any, st.SearchStrategy[Any]]


def _lists(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(inner, max_size=3)


@st.composite
def _deques(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> collections.deque[Any]:
    return collections.deque(draw(_lists(inner)), draw(st.sampled_from([None, 3, 10])))


@st.composite
def typed_values(draw: st.DrawFn, depth: int = 3) -> Typed:
    """A hint, and a strategy of its values."""
    forms = (
        ["scalar"]
        if depth == 0
        else [
            "scalar",
            "list",
            "tuple",
            "variadic",
            "dict",
            "set",
            "frozenset",
            "deque",
            "union",
            "union",
            "optional",
            "box",
            "sequence",
            "iterable",
            "mapping",
            "ordered",
            "counter",
            "default",
            "annotated",
            "middle",
        ]
    )
    form = draw(st.sampled_from(forms))
    inner = typed_values(depth - 1)
    if form == "scalar":
        return draw(st.sampled_from(SCALARS))
    if form in ("set", "frozenset", "dict", "mapping", "ordered", "counter", "default"):
        key_hint, keys = draw(st.sampled_from(_KEYS))
        if form == "set":
            return set[key_hint], st.sets(keys, max_size=3)
        if form == "frozenset":
            return frozenset[key_hint], st.frozensets(keys, max_size=3)
        if form == "counter":
            counts = st.dictionaries(keys, st.integers(-3, 3), max_size=3)
            return collections.Counter[key_hint], counts.map(collections.Counter)
        hint, values = draw(inner)
        dicts = st.dictionaries(keys, values, max_size=3)
        ordered = dicts.map(collections.OrderedDict)
        default = st.builds(collections.defaultdict, st.sampled_from([None, list, int, dict]), dicts)
        if form == "dict":
            return dict[key_hint, hint], dicts
        if form == "ordered":
            return collections.OrderedDict[key_hint, hint], ordered
        if form == "default":
            return collections.defaultdict[key_hint, hint], default
        return abc.Mapping[key_hint, hint], dicts | ordered | default
    hint, values = draw(inner)
    items = _lists(values)
    if form == "list":
        return list[hint], items
    if form == "variadic":
        return tuple[hint, ...], items.map(tuple)
    if form == "deque":
        return collections.deque[hint], _deques(values)
    if form == "sequence":
        return abc.Sequence[hint], items | items.map(tuple)
    if form == "iterable":
        return abc.Iterable[hint], items | items.map(tuple) | _deques(values)
    if form == "optional":
        return typing.Optional[hint], st.none() | values  # noqa: UP045
    if form == "annotated":
        return typing.Annotated[hint, "what it is", object()], values
    if form == "box":
        boxes = st.builds(Box, values, st.dictionaries(_text, values, max_size=2))
        return Box[hint], boxes
    if form == "middle":
        mixed = st.tuples(st.booleans(), items, st.uuids()).map(lambda t: (t[0], *t[1], t[2]))
        return tuple[bool, *tuple[hint, ...], uuid.UUID], mixed
    others = draw(st.lists(typed_values(depth - 1), min_size=1, max_size=3))
    if form == "tuple":
        return (
            tuple[(hint, *(h for h, _ in others))],
            st.tuples(values, *(s for _, s in others)),
        )
    return typing.Union[(hint, *(h for h, _ in others))], st.one_of(values, *(s for _, s in others))


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
@given(data=st.data(), tree=_json, parts=st.lists(st.binary(max_size=3), max_size=2))
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
