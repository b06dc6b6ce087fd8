# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The parts that every codec node is made of: the node, its errors, and the two runs (encode, decode).

A node is one type hint, compiled. Errors carry their path backwards, a segment per level on the way out, so
that a value without a fault pays nothing for paths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from turbolift.contract.jsontext import MAX_DEPTH

if TYPE_CHECKING:
    from turbolift.contract.schema import Defs

Buffer = bytes | bytearray | memoryview

_KINDS: dict[type, str] = {
    type(None): "null", bool: "bool", int: "int", float: "float", str: "str", list: "array", dict: "object"
}  # fmt: skip
_JSON_NAMES = {
    "null": "null", "bool": "a JSON boolean", "int": "a JSON integer", "float": "a JSON number",
    "str": "a JSON string", "array": "a JSON array", "object": "a JSON object", "part": "a raw part",
}  # fmt: skip


def kind_of(tree: Any) -> str:
    """What a JSON tree is: null, bool, int, float, str, array, object, or part (``{"$part": n}``)."""
    kind = _KINDS.get(type(tree), "")
    return "part" if kind == "object" and is_part(tree) else kind


def is_part(tree: Any) -> bool:
    return type(tree) is dict and len(tree) == 1 and "$part" in tree


def is_tagged(tree: Any) -> bool:
    """Whether a tree has the form ``{"$type": ..., "value": ...}``, which says which of several types a
    value is.
    """
    return type(tree) is dict and len(tree) == 2 and "$type" in tree and "value" in tree


def json_name(tree: Any) -> str:
    return _JSON_NAMES.get(kind_of(tree), type(tree).__name__)


ALL_KINDS = frozenset({"null", "bool", "int", "float", "str", "array", "object", "part"})


class Mismatch(Exception):
    """A value, or a JSON tree, does not fit its hint; `trail` collects path segments from the inside out."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.trail: list[str] = []

    def path(self, root: str) -> str:
        return (root + "".join(reversed(self.trail))).lstrip(".")


class Unsupported(Exception):
    """A hint cannot travel; `where` collects ``Class.field`` on the way out."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.where: list[str] = []


class EncodeRun:
    """One encoding: where raw parts are collected."""

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: list[Buffer] = []

    def add(self, part: Buffer) -> dict[str, int]:
        self.parts.append(part)
        return {"$part": len(self.parts) - 1}


class DecodeRun:
    """One decoding: the raw parts, each of which is used exactly once."""

    __slots__ = ("_parts", "_used")

    def __init__(self, parts: Sequence[Buffer]) -> None:
        self._parts = parts
        self._used: set[int] = set()

    def take(self, tree: Any) -> Buffer:
        number = tree["$part"]
        if type(number) is not int or not 0 <= number < len(self._parts):
            raise Mismatch(f"there is no raw part {number!r} (the message has {len(self._parts)})")
        if number in self._used:
            raise Mismatch(f"raw part {number} is used twice")
        self._used.add(number)
        return self._parts[number]

    def finish(self) -> None:
        if len(self._used) != len(self._parts):
            spare = sorted({*range(len(self._parts))} - self._used)
            raise Mismatch(f"raw parts that nothing refers to: {', '.join(map(str, spare))}")


Encode = Callable[[Any, EncodeRun, int], Any]
Decode = Callable[[Any, DecodeRun, int], Any]


class Node:
    """A compiled hint.

    ``name``: what errors and tags call it. ``types``: the exact Python types of its values (None: decided by
    looking). ``promoted``: types that Python's typing lets pass too (an int for float). ``kinds``: JSON
    kinds that are its own; ``weak``: kinds that it also gives or takes, and leaves to another member of a
    union that owns them.
    """

    name: str = ""
    types: tuple[type, ...] | None = None
    promoted: tuple[type, ...] = ()
    kinds: frozenset[str] = frozenset()
    weak: frozenset[str] = frozenset()
    may_look_tagged: bool = False
    """Whether it can give an object that looks like a union's tag."""
    fast: Any = None
    """A hint under which msgspec reads just what ``decode`` makes of a tree, or refuses it; ``encode`` then gives
    plain JSON, and neither touches its run. None where there is no such hint.
    """

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        """Return the JSON tree of `value`; Mismatch where it does not fit or would not arrive as it is."""
        raise NotImplementedError

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        """Return the value of a JSON tree; Mismatch where it does not fit."""
        raise NotImplementedError

    def schema(self, defs: Defs) -> dict[str, Any]:
        """JSON Schema (2020-12); what is shared or recursive goes to `defs`."""
        raise NotImplementedError

    def encode_many(self, values: Any, run: EncodeRun, depth: int) -> list[Any]:
        """Encode each of an iterable; leaves override it where a check of all at once is faster."""
        result: list[Any] = []
        append, encode = result.append, self.encode
        try:
            for value in values:
                append(encode(value, run, depth))
        except Mismatch as error:
            error.trail.append(f"[{len(result)}]")
            raise
        return result

    def decode_many(self, trees: list[Any], run: DecodeRun, depth: int) -> list[Any]:
        result: list[Any] = []
        append, decode = result.append, self.decode
        try:
            for tree in trees:
                append(decode(tree, run, depth))
        except Mismatch as error:
            error.trail.append(f"[{len(result)}]")
            raise
        return result

    def refuse_value(self, value: Any) -> Mismatch:
        """The error for a value of another type; a subclass gets told why it is not taken."""
        return refuse_value(self.name, value, self.types or ())

    def refuse_tree(self, tree: Any) -> Mismatch:
        return Mismatch(f"expected {self.name}, got {json_name(tree)}")


def refuse_value(name: str, value: Any, types: tuple[type, ...]) -> Mismatch:
    cls = type(value)
    base = next((t for t in types if issubclass(cls, t)), None)
    if base is None:
        return Mismatch(f"expected {name}, got {type_name(value)}")
    return Mismatch(f"expected {name}, got {type_name(value)} (it would arrive as a plain {base.__name__})")


def type_name(value: Any) -> str:
    """How an error calls the type of `value`: ``int``, ``IntEnum Color``, ``numpy.float64``."""
    cls = type(value)
    if cls.__module__ == "builtins":
        return cls.__qualname__
    root = cls.__module__.partition(".")[0]
    for base in cls.__mro__[1:]:
        if base.__module__ == "enum":
            return f"{base.__qualname__} {cls.__qualname__}"
    return f"{root}.{cls.__qualname__}" if root != "__main__" else cls.__qualname__


def too_deep() -> Mismatch:
    return Mismatch(f"nested more than {MAX_DEPTH} levels deep, or holds itself")


def short(value: Any) -> str:
    """``repr`` for an error: at most 60 characters, whatever the value is."""
    try:
        text = repr(value)
    except Exception:  # a very long int, or a class whose repr fails
        return f"<{type(value).__name__}>"
    return text if len(text) <= 60 else text[:57] + "..."
