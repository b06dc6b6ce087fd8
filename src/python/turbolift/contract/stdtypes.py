# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Codecs of the standard library's value types that travel as text or as a short array.

Nothing here imports the modules of those types: the compiler hands in the classes that a hint names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from turbolift.contract.codec import DecodeRun, EncodeRun, Mismatch, Node, short
from turbolift.contract.scalars import IntNode, check_text, int_from_text, int_to_tree
from turbolift.contract.schema import PYTHON_TYPE, Defs

_INT = IntNode()


class TextNode(Node):
    """A type whose ``str()`` is its whole value, and whose class reads that back."""

    kinds = frozenset({"str"})

    def __init__(
        self,
        cls: type,
        name: str,
        *,
        pattern: str = "",
        format: str = "",
        write: Callable[[Any], str] = str,
        read: Callable[[str], Any] | None = None,
        verify: bool = False,
    ) -> None:
        self.name = name
        self.types = (cls,)
        self._cls = cls
        self._pattern = pattern
        self._matches = re.compile(pattern).fullmatch if pattern else None
        self._format = format
        self._write = write
        self._read: Callable[[str], Any] = read or cls
        self._verify = verify

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not self._cls:
            raise self.refuse_value(value)
        text = check_text(self._write(value))
        if self._verify and self._read(text) != value:
            raise Mismatch(f"{self.name} {text!r} would not be read back as what it is")
        return text

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is not str:
            raise self.refuse_tree(tree)
        if self._matches is not None and self._matches(tree) is None:
            raise Mismatch(f"expected {self.name}, got {short(tree)}")
        try:
            value = self._read(tree)
        except Exception as error:
            raise Mismatch(f"expected {self.name}, got {short(tree)}: {error}") from None
        if type(value) is not self._cls:
            raise Mismatch(f"expected {self.name}, got {short(tree)}")
        return value

    def schema(self, defs: Defs) -> dict[str, Any]:
        schema = {"type": "string"}
        if self._format:
            schema["format"] = self._format
        if self._pattern:
            schema["pattern"] = f"^({self._pattern})$"
        return schema | {PYTHON_TYPE: self.name}


DECIMAL = r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|-?Infinity|-?s?NaN[0-9]*"
UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_INT_TEXT = "-?(0x[0-9a-f]+|[0-9]+)"
FRACTION = f"{_INT_TEXT}/(0x[0-9a-f]+|[0-9]+)"


def write_fraction(value: Any) -> str:
    return f"{int_to_tree(value.numerator)}/{int_to_tree(value.denominator)}"


def read_fraction(cls: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        above, below = (int_from_text(t) if "x" in t else int(t) for t in text.split("/"))
        return cls(above, below)

    return read


class IntsNode(Node):
    """range and slice: ``[start, stop, step]``; a slice may have nulls."""

    kinds = frozenset({"array"})

    def __init__(self, cls: type[range] | type[slice]) -> None:
        self._cls: Any = cls
        self._optional = cls is slice
        self.name = cls.__name__
        self.types = (cls,)

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not self._cls:
            raise self.refuse_value(value)
        result: list[Any] = []
        for attribute in ("start", "stop", "step"):
            item = getattr(value, attribute)
            try:
                result.append(None if item is None and self._optional else _INT.encode(item, run, depth))
            except Mismatch as error:
                error.trail.append(f".{attribute}")
                raise
        return result

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is not list:
            raise self.refuse_tree(tree)
        if len(tree) != 3:
            raise Mismatch(f"expected {self.name}, as [start, stop, step]")
        items = [None if item is None and self._optional else _INT.decode(item, run, depth) for item in tree]
        try:
            return self._cls(*items)
        except ValueError as error:
            raise Mismatch(f"expected {self.name}: {error}") from None

    def schema(self, defs: Defs) -> dict[str, Any]:
        item = _INT.schema(defs)
        if self._optional:
            item = {"anyOf": [item, {"type": "null"}]}
        return {"type": "array", "items": item, "minItems": 3, "maxItems": 3, PYTHON_TYPE: self.name}
