# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Law 1 over functions: whatever the signature, and however it is called, the function is called there as here."""

from __future__ import annotations

import json
from math import inf
from typing import Any, NamedTuple

from hypothesis import given, note, settings
from hypothesis import strategies as st

from turbolift.contract import Payload, contract_of, dumps, loads
from turbolift.errors import DecodeError

# Hints as source, and their values: plain ones, which are written in one pass, and others.
HINTS: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(),
    "float": st.floats(allow_nan=False) | st.integers(),
    "str": st.text(st.characters(codec="utf-8"), max_size=5),
    "bool": st.booleans(),
    "None": st.none(),
    "list[int]": st.lists(st.integers(), max_size=3),
    "tuple[str, ...]": st.lists(st.text("ab:{", max_size=3), max_size=3).map(tuple),
    "tuple[int, bool]": st.tuples(st.integers(), st.booleans()),
    "int | None": st.none() | st.integers(),
    "bytes": st.binary(max_size=4),
    "dict[str, int]": st.dictionaries(st.text("xy:", max_size=2), st.integers(), max_size=2),
    "int | str": st.integers() | st.text(max_size=3),
}
NAMES = [
    "a",
    "b",
    "args",
    "kwargs",
    "self",
    "_",
    "__",
    "_0",
    "_tree",
    "call",
    "result",
    "type",
    "f",
    "values",
]


class Parameter(NamedTuple):
    name: str
    hint: str
    default: Any
    has_default: bool


class Function(NamedTuple):
    """A function that gives back how it was called, by its source; and one call of it."""

    source: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@st.composite
def functions(draw: st.DrawFn) -> Function:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=6))
    sizes = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    only, plain, keyword = names[: sizes[0]], names[sizes[0] : sum(sizes)], names[sum(sizes) :]
    defaults = False
    parameters: dict[str, Parameter] = {}
    for name in [*only, *plain, *keyword]:
        hint = draw(st.sampled_from([*HINTS]))
        has_default = draw(st.booleans()) or (defaults and name not in keyword)
        defaults = defaults or has_default
        parameters[name] = Parameter(name, hint, draw(HINTS[hint]), has_default)
    more = draw(st.sampled_from(["", *HINTS]))
    others = draw(st.sampled_from(["", *HINTS]))

    def written(name: str) -> str:
        found = parameters[name]
        return f"{name}: {found.hint}" + (f" = {found.default!r}" if found.has_default else "")

    parts = [*map(written, only), *(["/"] if only else []), *map(written, plain)]
    if more:
        parts.append(f"*rest: {more}")
    elif keyword:
        parts.append("*")
    parts += map(written, keyword)
    if others:
        parts.append(f"**others: {others}")
    source = f"def f({', '.join(parts)}) -> object:\n    return dict(locals())\n"

    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    by_position = True
    for name in [*only, *plain]:
        found = parameters[name]
        if found.has_default and draw(st.booleans()):
            by_position = False
            continue
        if name in only and not by_position:
            break  # what is only positional cannot follow what was left out
        value = draw(HINTS[found.hint])
        if name in only or (by_position and draw(st.booleans())):
            args.append(value)
        else:
            by_position = False
            kwargs[name] = value
    if more and by_position and len(args) == len(only) + len(plain):
        args += draw(st.lists(HINTS[more], max_size=3))
    for name in keyword:
        found = parameters[name]
        if not found.has_default or draw(st.booleans()):
            kwargs[name] = draw(HINTS[found.hint])
    if others:
        free = st.sampled_from(["x", "y", *only]).filter(lambda name: name not in kwargs)
        kwargs |= draw(st.dictionaries(free, HINTS[others], max_size=3))
    return Function(source, tuple(args), kwargs)


@settings(deadline=None)
@given(functions(), st.booleans())
def test_a_call_arrives_as_it_was_made(made: Function, reverse: bool) -> None:
    namespace: dict[str, Any] = {"__name__": __name__, "inf": inf}
    exec(made.source, namespace)
    function = namespace["f"]
    note(f"{made.source}f(*{made.args!r}, **{made.kwargs!r})")
    try:
        local = function(*made.args, **made.kwargs)
    except TypeError:
        return  # no call of it; what binding says of it is another test's
    contract = contract_of(function)

    sent = contract.encode_args(contract.bind(made.args, made.kwargs))
    args, kwargs = contract.decode_args(Payload(loads(dumps(sent.json)), sent.parts))
    assert repr(function(*args, **kwargs)) == repr(local)

    quick = contract.quick.call(made.args, made.kwargs)
    if quick is not None:
        assert repr(loads(quick)) == repr({"args": sent.json})
    tree = dict(reversed(sent.json.items())) if reverse else sent.json
    given_ = contract.quick.arguments(dumps({"args": tree}))
    if given_ is not None:
        assert repr(dict(sorted(function(**given_).items()))) == repr(dict(sorted(local.items())))


@settings(deadline=None)
@given(functions(), st.data())
def test_a_damaged_call_is_no_other_call(made: Function, data: st.DataObject) -> None:
    """One pass says of a text what the steps say, or nothing."""
    namespace: dict[str, Any] = {"__name__": __name__, "inf": inf}
    exec(made.source, namespace)
    try:
        namespace["f"](*made.args, **made.kwargs)
    except TypeError:
        return
    contract = contract_of(namespace["f"])
    sent = contract.encode_args(contract.bind(made.args, made.kwargs))
    text = dumps({"args": sent.json})
    at = data.draw(st.integers(0, len(text) - 1))
    piece = data.draw(
        st.sampled_from([b"", b":", b",", b'"a":1,', b'"', b"{", b"}", b"0", b".5", b"1e999", b" "])
    )
    damaged = text[:at] + piece + text[at + data.draw(st.integers(0, 2)) :]
    note(repr(damaged))
    found = contract.quick.arguments(damaged)
    if found is None:
        return
    tree = loads(damaged)
    assert tree.keys() == {"args"}
    assert json.loads(damaged) == tree
    try:
        args, kwargs = contract.decode_args(Payload(tree["args"], ()))
    except DecodeError as error:
        raise AssertionError(f"taken in one pass, but {error}") from error
    assert args == ()
    assert repr(kwargs) == repr(found)
