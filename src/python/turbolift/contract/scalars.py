# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Codecs of the scalars that JSON nearly has: None, bool, int, float, complex, str, bytes, bytearray."""

from __future__ import annotations

import binascii
import re
from math import isfinite
from typing import Any

from turbolift.contract.codec import DecodeRun, EncodeRun, Mismatch, Node, is_part
from turbolift.contract.schema import PYTHON_TYPE, Defs

# Python refuses to read or write ints of more than sys.get_int_max_str_digits() digits, which may be set as
# low as 640; hexadecimal has no such limit. 2,048 bits are 617 digits.
_LONG_INT_BITS = 2048
_HEX = re.compile(r"-?0x[0-9a-f]+")
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_INTS = frozenset({int, bool})


def int_to_tree(value: int) -> int | str:
    return value if value.bit_length() <= _LONG_INT_BITS else hex(value)


def int_from_text(text: str) -> int:
    if _HEX.fullmatch(text) is None:
        raise Mismatch('expected int, got a JSON string that is not of the form "0x..."')
    return int(text, 16)


def check_text(text: str) -> str:
    """Refuse the one kind of str that JSON changes: two surrogates that it would read as one character."""
    if not text.isascii() and _SURROGATES.search(text) is not None:
        raise Mismatch("holds a high and a low surrogate side by side, which JSON joins into one character")
    return text


class NoneNode(Node):
    name = "None"
    types = (type(None),)
    fast = type(None)
    kinds = frozenset({"null"})

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if value is not None:
            raise self.refuse_value(value)
        return None

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if tree is not None:
            raise self.refuse_tree(tree)
        return None

    def schema(self, defs: Defs) -> dict[str, Any]:
        return {"type": "null"}


class BoolNode(Node):
    name = "bool"
    types = (bool,)
    fast = bool
    kinds = frozenset({"bool"})

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not bool:
            raise self.refuse_value(value)
        return value

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is not bool:
            raise self.refuse_tree(tree)
        return tree

    def schema(self, defs: Defs) -> dict[str, Any]:
        return {"type": "boolean"}


class IntNode(Node):
    """An int of any size; a bool is an int to Python's typing and stays a bool."""

    name = "int"
    types = (int,)
    promoted = (bool,)
    fast = int
    kinds = frozenset({"int"})
    weak = frozenset({"bool", "str"})

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is int:
            return value if value.bit_length() <= _LONG_INT_BITS else hex(value)
        if type(value) is bool:
            return value
        raise self.refuse_value(value)

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) in _INTS:
            return tree
        if type(tree) is str:
            return int_from_text(tree)
        raise self.refuse_tree(tree)

    def encode_many(self, values: Any, run: EncodeRun, depth: int) -> list[Any]:
        items = [*values]
        if {*map(type, items)} == {int} and max(map(int.bit_length, items)) <= _LONG_INT_BITS:
            return items
        return super().encode_many(items, run, depth)

    def decode_many(self, trees: list[Any], run: DecodeRun, depth: int) -> list[Any]:
        if {*map(type, trees)} <= _INTS:
            return trees.copy()
        return super().decode_many(trees, run, depth)

    def schema(self, defs: Defs) -> dict[str, Any]:
        return {"type": ["integer", "boolean", "string"], "pattern": "^-?0x[0-9a-f]+$", PYTHON_TYPE: "int"}


class FloatNode(Node):
    """A float; an int or a bool is a float to Python's typing and stays what it is."""

    name = "float"
    types = (float,)
    promoted = (int, bool)
    fast = int | float
    kinds = frozenset({"float"})
    weak = frozenset({"int", "bool", "str"})

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is float:
            if isfinite(value):
                return value
            return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
        if type(value) in _INTS:
            return int_to_tree(value)
        raise self.refuse_value(value)

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        kind = type(tree)
        if kind is float:
            if not isfinite(tree):
                raise Mismatch("expected float, got a JSON number that is too large for one")
            return tree
        if kind in _INTS:
            return tree
        if kind is str:
            special = _SPECIAL.get(tree)
            if special is not None:
                return special
            if tree.startswith(("0x", "-0x")):
                return int_from_text(tree)
            raise Mismatch('expected float, got a JSON string that is not "NaN", "Infinity" or "-Infinity"')
        raise self.refuse_tree(tree)

    def encode_many(self, values: Any, run: EncodeRun, depth: int) -> list[Any]:
        items = [*values]
        # A sum is finite only where all of it is; of large numbers it may not be even then.
        if [*map(type, items)].count(float) == len(items) and (
            isfinite(sum(items)) or all(map(isfinite, items))
        ):
            return items
        return super().encode_many(items, run, depth)

    def decode_many(self, trees: list[Any], run: DecodeRun, depth: int) -> list[Any]:
        if {*map(type, trees)} == {float} and all(map(isfinite, trees)):
            return trees.copy()
        return super().decode_many(trees, run, depth)

    def schema(self, defs: Defs) -> dict[str, Any]:
        pattern = "^(NaN|-?Infinity|-?0x[0-9a-f]+)$"
        return {"type": ["number", "boolean", "string"], "pattern": pattern, PYTHON_TYPE: "float"}


_FLOAT = FloatNode()


class ComplexNode(Node):
    """``[real, imaginary]``; an int, a bool or a float passes as a number."""

    name = "complex"
    types = (complex,)
    promoted = (float, int, bool)
    kinds = frozenset({"array"})
    weak = frozenset({"float", "int", "bool", "str"})

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is complex:
            return [_FLOAT.encode(value.real, run, depth), _FLOAT.encode(value.imag, run, depth)]
        if type(value) in (float, int, bool):
            return _FLOAT.encode(value, run, depth)
        raise self.refuse_value(value)

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is not list:
            if type(tree) in (dict, type(None)):
                raise self.refuse_tree(tree)
            return _FLOAT.decode(tree, run, depth)
        if len(tree) != 2:
            raise Mismatch("expected complex, as [real, imaginary]")
        real, imaginary = _FLOAT.decode_many(tree, run, depth)
        try:
            return complex(float(real), float(imaginary))
        except OverflowError:
            raise Mismatch("expected complex, got a JSON number that is too large for one") from None

    def schema(self, defs: Defs) -> dict[str, Any]:
        part = _FLOAT.schema(defs)
        pair = {"type": "array", "prefixItems": [part, part], "minItems": 2, "maxItems": 2}
        return {"anyOf": [pair, part], PYTHON_TYPE: "complex"}


class StrNode(Node):
    name = "str"
    types = (str,)
    fast = str
    kinds = frozenset({"str"})

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not str:
            raise self.refuse_value(value)
        return value if value.isascii() else check_text(value)

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is not str:
            raise self.refuse_tree(tree)
        return tree

    def encode_many(self, values: Any, run: EncodeRun, depth: int) -> list[Any]:
        items = [*values]
        if {*map(type, items)} == {str} and all(map(str.isascii, items)):
            return items
        return super().encode_many(items, run, depth)

    def decode_many(self, trees: list[Any], run: DecodeRun, depth: int) -> list[Any]:
        if {*map(type, trees)} == {str}:
            return trees.copy()
        return super().decode_many(trees, run, depth)

    def schema(self, defs: Defs) -> dict[str, Any]:
        return {"type": "string"}


class BytesNode(Node):
    """bytes or bytearray: a raw part; a client that has no raw parts may send a base64 string."""

    kinds = frozenset({"part"})
    weak = frozenset({"str"})

    def __init__(self, cls: type[bytes] | type[bytearray]) -> None:
        self.name = cls.__name__
        self.types = (cls,)
        self._cls = cls

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not self._cls:
            raise self.refuse_value(value)
        # A bytearray may change before it is sent: the part is what it held at the call.
        return run.add(bytes(value))

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if is_part(tree):
            return self._cls(run.take(tree))
        if type(tree) is not str:
            raise self.refuse_tree(tree)
        try:
            return self._cls(binascii.a2b_base64(tree.encode("ascii"), strict_mode=True))
        except (binascii.Error, UnicodeEncodeError):
            raise Mismatch(f"expected {self.name}, got a JSON string that is not base64") from None

    def schema(self, defs: Defs) -> dict[str, Any]:
        return {"type": "string", "contentEncoding": "base64", PYTHON_TYPE: self.name}
