# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Codecs of numpy's arrays (a raw part and its dtype, shape and order) and scalars.

Imported when a hint names a class of numpy, so numpy is there.
"""

from __future__ import annotations

import binascii
import math
import typing
from typing import Any

import numpy as np  # pants: no-infer-dep

from turbolift.contract.codec import DecodeRun, EncodeRun, Mismatch, Node, Unsupported, is_part, short
from turbolift.contract.hints import Scope
from turbolift.contract.jsontext import MAX_DEPTH
from turbolift.contract.scalars import ComplexNode, FloatNode, IntNode, StrNode
from turbolift.contract.schema import PYTHON_TYPE, Defs

_FLOAT = FloatNode()
_COMPLEX = ComplexNode()
_INT = IntNode()
_STR = StrNode()
_KINDS = frozenset("biufcSUmM")
_STEP = 1024 * 1024
_KEYS = frozenset({"dtype", "shape", "order", "data"})


def numpy_node(cls: type, arguments: tuple[Any, ...], scope: Scope) -> Node | None:
    """The node of a class of numpy, or None where it cannot travel."""
    if cls is np.ndarray:
        return ArrayNode(_scalar_type(arguments, scope))
    if not issubclass(cls, np.generic):
        return None
    if cls in (np.longdouble, np.clongdouble):
        raise Unsupported(
            f"numpy.{cls.__name__} differs between machines; use numpy.float64 or numpy.complex128"
        )
    if cls in (np.datetime64, np.timedelta64):
        return TimeScalarNode(cls)
    for base, node in (
        (np.bool_, "bool"),
        (np.integer, "int"),
        (np.floating, "float"),
        (np.complexfloating, "complex"),
        (np.str_, "str"),
    ):
        if issubclass(cls, base) and not _is_abstract(cls):
            return ScalarNode(cls, node)
    return None


def _is_abstract(cls: type) -> bool:
    # The abstract classes are those that cannot be made; only they have subclasses in numpy itself.
    subclasses: list[type] = cls.__subclasses__()
    return any(sub.__module__ == "numpy" for sub in subclasses)


def _scalar_type(arguments: tuple[Any, ...], scope: Scope) -> type | None:
    """The scalar type of ``ndarray[shape, dtype[T]]``; None where any will do."""
    if len(arguments) < 2:
        return None
    scalar = _argument_of(_first_argument(_argument_of(arguments[1], scope)), scope)
    if scalar is None or scalar is Any or scalar is np.generic:
        return None
    if not (isinstance(scalar, type) and issubclass(scalar, np.generic)):
        raise Unsupported(f"an array of {scalar} cannot travel; name one dtype, as in NDArray[numpy.float64]")
    if scalar in (np.object_, np.void):
        raise Unsupported(f"an array of {scalar.__name__} cannot travel; use one of numbers, text or times")
    return scalar


def _argument_of(hint: Any, scope: Scope) -> Any:
    """What a type variable stands for (NDArray is a generic alias in some versions of numpy)."""
    if not isinstance(hint, typing.TypeVar):
        return hint
    argument = scope.typevars.get(hint)
    return hint.__bound__ if argument is None else argument.hint


def _first_argument(hint: Any) -> Any:
    return next(iter(typing.get_args(hint)), None)


def _copied(value: Any, order: str) -> memoryview:
    """Return a copy of an array's bytes. In a thread, the event loop goes on meanwhile: no step holds the interpreter for
    long.
    """
    if not (value.flags.c_contiguous or value.flags.f_contiguous):
        return memoryview(value.tobytes())
    flat = value.reshape(-1, order=order).view(np.uint8)
    copy: Any = np.empty(flat.shape, np.uint8)
    for at in range(0, len(flat), _STEP):
        copy[at : at + _STEP] = flat[at : at + _STEP]
    return memoryview(copy)


class ArrayNode(Node):
    """``{"dtype": "<f8", "shape": [2, 3], "order": "C", "data": part or base64}``."""

    kinds = frozenset({"object"})
    types = (np.ndarray,)

    def __init__(self, scalar: type | None) -> None:
        self._scalar = scalar
        self.name = "ndarray" if scalar is None else f"ndarray[{scalar.__name__}]"

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not np.ndarray:
            raise self.refuse_value(value)
        if depth + 1 >= MAX_DEPTH:
            raise Mismatch(f"nested more than {MAX_DEPTH} levels deep")
        dtype = value.dtype
        problem = self._problem(dtype)
        if problem:
            raise Mismatch(f"expected {self.name}, got an array of dtype {dtype}: {problem}")
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        # A part is a copy: the array may change before it is sent, or be sent again.
        data = (
            _copied(value, order)
            if value.nbytes > _STEP
            else value.tobytes(order="F" if order == "F" else "C")
        )
        return {"dtype": dtype.str, "shape": [*value.shape], "order": order, "data": run.add(data)}

    def _problem(self, dtype: Any) -> str:
        if (
            dtype.hasobject
            or dtype.fields is not None
            or dtype.subdtype is not None
            or dtype.kind not in _KINDS
        ):
            return "only numbers, bools, fixed-length text and times travel"
        if dtype.char in "gG":
            return "long doubles differ between machines; use float64 or complex128"
        if np.dtype(dtype.str).type is not dtype.type:
            return f"it would arrive as {np.dtype(dtype.str).type.__name__}; use .astype({dtype.str!r})"
        if dtype.metadata:
            return "the dtype's metadata would be lost"
        if self._scalar is not None and not issubclass(dtype.type, self._scalar):
            return f"the hint says {self._scalar.__name__}"
        return ""

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is not dict:
            raise self.refuse_tree(tree)
        if tree.keys() != _KEYS:
            raise Mismatch(f"expected {self.name}, as an object of {', '.join(sorted(_KEYS))}")
        text, shape, order = tree["dtype"], tree["shape"], tree["order"]
        dtype = self._dtype(text)
        if (
            type(shape) is not list
            or len(shape) > 64
            or not all(type(n) is int and 0 <= n < 2**62 for n in shape)
        ):
            raise Mismatch(f"expected {self.name}, got a shape that is not an array of sizes")
        if order not in ("C", "F"):
            raise Mismatch(f'expected {self.name}, got an order that is not "C" or "F"')
        data = _data(tree["data"], run)
        size = math.prod(shape) * dtype.itemsize
        if len(data) != size:
            raise Mismatch(
                f"expected {self.name} of {size} bytes (dtype {text}, shape {shape}), got {len(data)} bytes"
            )
        if type(data) is bytearray and size:
            # The part came in memory of its own, which nobody else has: it is the array's now.
            own = np.frombuffer(data, dtype)
            if own.flags.aligned:
                return own.reshape(shape, order=order)
        try:
            # An array of its own, that can be written to, as the caller's was.
            result = np.empty(shape, dtype, order=order)
        except (ValueError, MemoryError) as error:
            raise Mismatch(f"expected {self.name}: {error}") from None
        if size:
            flat = result.reshape(-1, order=order)
            flat[...] = np.frombuffer(data, dtype)
        return result

    def _dtype(self, text: Any) -> Any:
        try:
            dtype = np.dtype(text) if type(text) is str else None
        except (TypeError, ValueError):
            dtype = None
        if dtype is None or dtype.str != text:
            raise Mismatch(f"expected {self.name}, got no dtype that numpy knows")
        problem = self._problem(dtype)
        if problem:
            raise Mismatch(f"expected {self.name}, got an array of dtype {text}: {problem}")
        return dtype

    def schema(self, defs: Defs) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {
                "dtype": {"type": "string"},
                "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                "order": {"enum": ["C", "F"]},
                "data": {"type": "string", "contentEncoding": "base64"},
            },
            "required": ["dtype", "shape", "order", "data"],
            "additionalProperties": False,
            PYTHON_TYPE: f"numpy.{self.name}",
        }


def _data(tree: Any, run: DecodeRun) -> Any:
    if is_part(tree):
        part = run.take(tree)
        return part if type(part) is bytearray else memoryview(part).cast("B")
    if type(tree) is not str:
        raise Mismatch("expected the array's data as a raw part or base64")
    try:
        return binascii.a2b_base64(tree.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Mismatch("expected the array's data as a raw part or base64") from None


class ScalarNode(Node):
    """A numpy scalar: the number, bool or text that it is."""

    def __init__(self, cls: Any, base: str) -> None:
        self._cls = cls
        self.name = f"numpy.{cls.__name__}"
        self.types = (cls,)
        self._base = base
        inner: dict[str, tuple[Node | None, Any]] = {
            "bool": (None, bool), "int": (_INT, int), "float": (_FLOAT, float), 
            "complex": (_COMPLEX, complex), "str": (_STR, str),
        }  # fmt: skip
        self._node, self._plain = inner[base]
        self.kinds = frozenset({"array" if base == "complex" else base})
        self.weak = frozenset({"str"}) if base in ("int", "float") else frozenset()

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not self._cls:
            raise self.refuse_value(value)
        plain = self._plain(value)
        return plain if self._node is None else self._node.encode(plain, run, depth)

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if self._node is None:
            if type(tree) is not bool:
                raise self.refuse_tree(tree)
            return self._cls(tree)
        plain = self._node.decode(tree, run, depth)
        if type(plain) is not self._plain and not (self._base == "float" and type(plain) is int):
            raise self.refuse_tree(tree)
        try:
            with np.errstate(over="ignore"):
                value = self._cls(plain)
        except (OverflowError, ValueError) as error:
            raise Mismatch(f"expected {self.name}: {error}") from None
        if self._base == "int" and int(value) != plain:
            raise Mismatch(f"expected {self.name}, got {short(plain)}, which is out of its range")
        return value

    def schema(self, defs: Defs) -> dict[str, Any]:
        inner = {"type": "boolean"} if self._node is None else self._node.schema(defs)
        return inner | {PYTHON_TYPE: self.name}


class TimeScalarNode(Node):
    """datetime64 and timedelta64: ``{"dtype": "<M8[ns]", "value": count of units}``."""

    kinds = frozenset({"object"})

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self.name = f"numpy.{cls.__name__}"
        self.types = (cls,)

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not self._cls:
            raise self.refuse_value(value)
        return {"dtype": value.dtype.str, "value": int(value.view(np.int64))}

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is not dict:
            raise self.refuse_tree(tree)
        text, number = tree.get("dtype"), tree.get("value")
        if tree.keys() != {"dtype", "value"} or type(text) is not str or type(number) is not int:
            raise Mismatch(f'expected {self.name}, as {{"dtype": ..., "value": count of units}}')
        try:
            dtype = np.dtype(text)
            value = np.array(number, np.int64).view(dtype)[()] if dtype.str == text else None
        except (TypeError, ValueError, OverflowError):
            value = None
        if type(value) is not self._cls:
            raise Mismatch(f"expected {self.name}, got dtype {short(text)} and {short(number)}")
        return value

    def schema(self, defs: Defs) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {"dtype": {"type": "string"}, "value": {"type": "integer"}},
            "required": ["dtype", "value"],
            "additionalProperties": False,
            PYTHON_TYPE: self.name,
        }
