# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Codecs of Enum, Flag and Literal."""

from __future__ import annotations

import base64
from enum import Enum, Flag
from typing import Any

from turbolift.contract.codec import DecodeRun, EncodeRun, Mismatch, Node, short, type_name
from turbolift.contract.scalars import int_from_text, int_to_tree
from turbolift.contract.schema import PYTHON_TYPE, Defs


class EnumNode(Node):
    """A member travels by its name: values may be anything, and two names of one value are one member."""

    kinds = frozenset({"str"})

    def __init__(self, cls: type[Enum], title: str) -> None:
        self._cls = cls
        self.name = title
        self.types = (cls,)
        # Exact types of members may be subclasses where an enum's members carry their own.
        self._names = {member.name: member for member in cls}
        self.types = tuple({cls, *map(type, self._names.values())})

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if not isinstance(value, self._cls):
            raise self.refuse_value(value)
        name = value.name
        if self._names.get(name) is not value:
            raise Mismatch(f"{name!r} is no canonical member of {self.name}")
        return name

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is not str:
            raise self.refuse_tree(tree)
        member = self._names.get(tree)
        if member is None:
            known = ", ".join(self._names) if len(self._names) <= 20 else f"{len(self._names)} names"
            raise Mismatch(f"expected {self.name} (one of {known}), got {short(tree)}")
        return member

    def schema(self, defs: Defs) -> dict[str, Any]:
        ref, new = defs.ref(self, self.name)
        if new:
            schema = {"title": self._cls.__name__, "enum": [*self._names], PYTHON_TYPE: "enum"}
            defs.put(ref, schema | _doc(self._cls))
        return ref


class FlagNode(Node):
    """A Flag travels by its value, an int."""

    kinds = frozenset({"int"})
    weak = frozenset({"str"})

    def __init__(self, cls: type[Flag], title: str) -> None:
        self._cls = cls
        self.name = title
        self.types = (cls,)

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not self._cls:
            raise self.refuse_value(value)
        number = value.value
        if type(number) is not int:
            raise Mismatch(f"{self.name} has a value that is no plain int: {type_name(number)}")
        return int_to_tree(number)

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is str:
            tree = int_from_text(tree)
        elif type(tree) is not int:
            raise self.refuse_tree(tree)
        try:
            member = self._cls(tree)
        except Exception:
            member = None
        if member is None or type(member) is not self._cls or member.value != tree:
            raise Mismatch(
                f"expected {self.name}, got {short(tree)}, which has bits that are no member"
            ) from None
        return member

    def schema(self, defs: Defs) -> dict[str, Any]:
        ref, new = defs.ref(self, self.name)
        if new:
            names = ", ".join(f"{member.value}: {member.name}" for member in self._cls)
            schema = {
                "title": self._cls.__name__,
                "type": ["integer", "string"],
                "pattern": "^-?0x[0-9a-f]+$",
                "description": f"Sum of {names}." if names else "Always 0.",
                PYTHON_TYPE: "flag",
            }
            defs.put(ref, schema | _doc(self._cls))
        return ref


def _doc(cls: type) -> dict[str, str]:
    doc = cls.__dict__.get("__doc__")
    # "An enumeration." is what CPython writes by itself.
    return {"description": doc.strip()} if doc and doc != "An enumeration." else {}


_KIND_OF = {str: "str", int: "int", bool: "bool", type(None): "null", list: "array", dict: "object"}


class LiteralNode(Node):
    """``Literal[...]``: JSON scalars as they are, enum members by name, bytes as base64; 1, True and "1"
    stay apart.
    """

    def __init__(self, values: tuple[Any, ...]) -> None:
        self._trees: dict[tuple[type, Any], Any] = {}
        self._values: dict[tuple[type, Any], Any] = {}
        # Plain values first: they keep their own form, whatever the others look like.
        for value in sorted(values, key=lambda v: type(v) not in _KIND_OF):
            key = (type(value), value)
            if key in self._trees:
                continue
            tree = self._tree(value)
            if (type(tree), tree) in self._values:
                tree = f"{type(value).__name__}.{tree}"
            while (type(tree), tree) in self._values:
                tree += "'"
            self._trees[key] = tree
            self._values[type(tree), tree] = value
        self.types = tuple(dict.fromkeys(type(value) for value in values))
        self.kinds = frozenset(_KIND_OF[cls] for cls, _ in self._values)
        self.name = f"Literal[{', '.join(map(_shown, values))}]"

    @staticmethod
    def _tree(value: Any) -> Any:
        if isinstance(value, Enum):
            return value.name
        if type(value) is bytes:
            return base64.b64encode(value).decode("ascii")
        return int_to_tree(value) if type(value) is int else value

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        try:
            return self._trees[type(value), value]
        except (KeyError, TypeError):
            got = _shown(value) if type(value) in (self.types or ()) else type_name(value)
            raise Mismatch(f"expected {self.name}, got {got}") from None

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        try:
            return self._values[type(tree), tree]
        except (KeyError, TypeError):
            raise self.refuse_tree(tree) from None

    def schema(self, defs: Defs) -> dict[str, Any]:
        schema: dict[str, Any] = {"enum": [*self._trees.values()]}
        if any(type(value) not in _KIND_OF for value in self._values.values()):
            schema[PYTHON_TYPE] = self.name
        return schema


def _shown(value: Any) -> str:
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    return short(value)
