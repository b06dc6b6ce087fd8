# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Strategies: hints of every supported form, composed at random, and values of them; and a hint as source."""

# mypy: disable-error-code="valid-type, misc, no-any-return, var-annotated"
from __future__ import annotations

import collections
import collections.abc as abc
import datetime
import decimal
import enum
import fractions
import ipaddress
import pathlib
import types
import typing
import uuid
import zoneinfo
from typing import Any, Literal

from hypothesis import strategies as st

from unit.contract.shapes import (
    B,
    Bits,
    Box,
    Color,
    Leaf,
    Loose,
    Mode,
    Movie,
    Pair,
    Point,
    Size,
    Special,
    Tree,
    UserId,
    Word,
)

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
any_json: st.SearchStrategy[Any] = st.recursive(
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
    (Any, any_json),
    (object, any_json),
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


def written(hint: Any) -> str:
    """Return a hint as source, with the modules of all names in full."""
    if hint is None or hint is types.NoneType:
        return "None"
    if hint is ...:
        return "..."
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return f"typing.Annotated[{written(arguments[0])}, 'what it is']"
    if origin is Literal:
        return f"typing.Literal[{', '.join(map(_literal, arguments))}]"
    if origin in (typing.Union, types.UnionType):
        return f"typing.Union[{', '.join(map(written, arguments))}]"
    if origin is not None:
        star = "*" if getattr(hint, "__unpacked__", False) else ""
        inner = ", ".join(map(written, arguments)) or "()"
        return f"{star}{written(origin)}[{inner}]"
    name = getattr(hint, "__qualname__", None) or getattr(hint, "__name__", None) or hint._name
    return name if hint.__module__ == "builtins" else f"{hint.__module__}.{name}"


def _literal(value: Any) -> str:
    return f"{written(type(value))}.{value.name}" if isinstance(value, enum.Enum) else repr(value)
