# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Strategies: functions of any signature, and calls of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st

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


class Hint(NamedTuple):
    """As source, and its values. `plain`: a value of it is source by its repr."""

    source: str
    values: st.SearchStrategy[Any]
    plain: bool = True


PLAIN = st.sampled_from([Hint(*item) for item in HINTS.items()])


class Parameter(NamedTuple):
    name: str
    hint: Hint
    default: str | None


class Signature(NamedTuple):
    """What a function takes: positional alone, by either way, by keyword alone, ``*rest``, ``**others``."""

    only: list[Parameter]
    plain: list[Parameter]
    keyword: list[Parameter]
    rest: Hint | None
    others: Hint | None

    @property
    def source(self) -> str:
        """Between the parentheses."""

        def written(one: Parameter) -> str:
            return f"{one.name}: {one.hint.source}" + ("" if one.default is None else f" = {one.default}")

        parts = [*map(written, self.only), *(["/"] if self.only else []), *map(written, self.plain)]
        if self.rest:
            parts.append(f"*rest: {self.rest.source}")
        elif self.keyword:
            parts.append("*")
        parts += map(written, self.keyword)
        if self.others:
            parts.append(f"**others: {self.others.source}")
        return ", ".join(parts)

    @property
    def given(self) -> dict[str, str]:
        """The names that the function's body sees, and the hints of what they are."""
        found = {one.name: one.hint.source for one in (*self.only, *self.plain, *self.keyword)}
        if self.rest:
            found["rest"] = f"tuple[{self.rest.source}, ...]"
        if self.others:
            found["others"] = f"dict[str, {self.others.source}]"
        return found


class Function(NamedTuple):
    """A function that gives back how it was called, by its source; and one call of it."""

    source: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@st.composite
def signatures(draw: st.DrawFn, hints: st.SearchStrategy[Hint] = PLAIN) -> Signature:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=6))
    sizes = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    defaults = False
    parameters = []
    for at, name in enumerate(names):
        hint = draw(hints)
        default = None
        if draw(st.booleans()) or (defaults and at < sum(sizes)):
            defaults = True
            if hint.plain:
                default = repr(draw(hint.values))
            else:
                hint = Hint(f"typing.Optional[{hint.source}]", st.none() | hint.values, False)
                default = "None"
        parameters.append(Parameter(name, hint, default))
    more = st.none() | hints
    only, plain, keyword = (
        parameters[: sizes[0]],
        parameters[sizes[0] : sum(sizes)],
        parameters[sum(sizes) :],
    )
    return Signature(only, plain, keyword, draw(more), draw(more))


@st.composite
def calls(draw: st.DrawFn, signature: Signature) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments that a function of this signature takes, or nearly so."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    by_position = True
    for found in [*signature.only, *signature.plain]:
        is_only = found in signature.only
        if found.default is not None and draw(st.booleans()):
            by_position = False
            continue
        if is_only and not by_position:
            break  # what is only positional cannot follow what was left out
        value = draw(found.hint.values)
        if is_only or (by_position and draw(st.booleans())):
            args.append(value)
        else:
            by_position = False
            kwargs[found.name] = value
    if signature.rest and by_position and len(args) == len(signature.only) + len(signature.plain):
        args += draw(st.lists(signature.rest.values, max_size=3))
    for found in signature.keyword:
        if found.default is None or draw(st.booleans()):
            kwargs[found.name] = draw(found.hint.values)
    if signature.others:
        names = [
            "x",
            "y",
            "",
            "a b",
            "\xe9",
            "\udc00",
            "rest",
            "others",
            *(one.name for one in signature.only),
        ]
        free = st.sampled_from(names).filter(lambda name: name not in kwargs)
        kwargs |= draw(st.dictionaries(free, signature.others.values, max_size=3))
    return tuple(args), kwargs


@st.composite
def functions(draw: st.DrawFn) -> Function:
    signature = draw(signatures())
    args, kwargs = draw(calls(signature))
    return Function(f"def f({signature.source}) -> object:\n    return dict(locals())\n", args, kwargs)
