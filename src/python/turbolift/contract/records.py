# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Codecs of records: dataclasses, attrs classes, NamedTuple and TypedDict, as JSON objects by field name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple

from turbolift.contract.codec import DecodeRun, Encode, EncodeRun, Mismatch, Node, too_deep, type_name
from turbolift.contract.jsontext import MAX_DEPTH
from turbolift.contract.schema import PYTHON_TYPE, Defs

_OBJECT = frozenset({"object"})
_MISSING: Any = object()


class Field(NamedTuple):
    name: str
    node: Node
    required: bool = True
    init: str | None = None
    """The parameter of the class that takes it; None where it is set after construction."""
    description: str = ""


class RecordNode(Node):
    """A class with named fields. Made before its fields are compiled (they may refer to it), then filled
    once.
    """

    kinds = _OBJECT
    python_type = "record"

    def __init__(self, cls: type, title: str) -> None:
        self.cls = cls
        self.name = title
        self.types = (cls,)
        self.fields: dict[str, Field] = {}
        self._encoders: list[tuple[str, Encode]] = []
        self._required: frozenset[str] = frozenset()

    def fill(self, fields: Iterable[Field]) -> None:
        self.fields = {field.name: field for field in fields}
        self._encoders = [(field.name, field.node.encode) for field in self.fields.values()]
        self._required = frozenset(field.name for field in self.fields.values() if field.required)

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not self.cls:
            raise self.refuse_value(value)
        if depth >= MAX_DEPTH:
            raise too_deep()
        self.check_value(value)
        result: dict[str, Any] = {}
        name = ""
        try:
            for name, encode in self._encoders:
                item = getattr(value, name, _MISSING)
                if item is _MISSING:
                    raise Mismatch("has no value")
                result[name] = encode(item, run, depth + 1)
        except Mismatch as error:
            error.trail.append(f".{name}")
            raise
        return result

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        values = self.decode_fields(tree, run, depth)
        try:
            return self.make(values)
        except Mismatch:
            raise
        except RecursionError:
            raise
        except Exception as error:
            raise Mismatch(f"{self.name} refuses its fields: {type(error).__name__}: {error}") from error

    def decode_fields(self, tree: Any, run: DecodeRun, depth: int) -> dict[str, Any]:
        if type(tree) is not dict:
            raise self.refuse_tree(tree)
        if depth >= MAX_DEPTH:
            raise too_deep()
        fields = self.fields
        values: dict[str, Any] = {}
        name = ""
        try:
            for name, item in tree.items():
                values[name] = fields[name].node.decode(item, run, depth + 1)
        except Mismatch as error:
            error.trail.append(f".{name}")
            raise
        except KeyError:
            if name in fields:
                raise
            known = ", ".join(fields) or "none"
            raise Mismatch(f"{self.name} has no field {name[:60]!r} (its fields: {known})") from None
        if not self._required <= values.keys():
            lacking = ", ".join(field for field in fields if field in self._required - values.keys())
            raise Mismatch(f"{self.name} lacks {lacking}")
        return values

    def check_value(self, value: Any) -> None:
        """Raise Mismatch where `value` holds what its fields do not say."""

    def make(self, values: dict[str, Any]) -> Any:
        raise NotImplementedError

    def schema(self, defs: Defs) -> dict[str, Any]:
        ref, new = defs.ref(self, self.name)
        if new:
            properties = {}
            for field in self.fields.values():
                inner = field.node.schema(defs)
                properties[field.name] = inner | (
                    {"description": field.description} if field.description else {}
                )
            schema: dict[str, Any] = {"title": self.name, "type": "object", "properties": properties}
            if self._required:
                schema["required"] = [name for name in self.fields if name in self._required]
            schema |= {"additionalProperties": False, PYTHON_TYPE: self.python_type}
            doc = class_doc(self.cls)
            if doc:
                schema["description"] = doc
            defs.put(ref, schema)
        return ref


class ClassNode(RecordNode):
    """A dataclass or an attrs class.

    Decoding calls the class with its init fields, so that ``__post_init__`` runs as it did for the original,
    and then sets every field that is not what the original had (init=False fields, and what the class itself
    changed).
    """

    def __init__(self, cls: type, title: str, *, python_type: str, by_init: bool) -> None:
        super().__init__(cls, title)
        self.python_type = python_type
        self._by_init = by_init
        self._init: dict[str, str] = {}
        # A class that runs code of its own may make further attributes; it makes them again at the other
        # side.
        code = getattr(cls.__init__, "__code__", None)  # type: ignore[misc]
        hooks = any(hasattr(cls, hook) for hook in ("__post_init__", "__attrs_post_init__"))
        self._own_code = by_init and (hooks or (code is not None and not code.co_filename.startswith("<")))

    def fill(self, fields: Iterable[Field]) -> None:
        super().fill(fields)
        self._init = {field.name: field.init for field in self.fields.values() if field.init is not None}

    def check_value(self, value: Any) -> None:
        attributes = getattr(value, "__dict__", None)
        if not attributes or self._own_code or attributes.keys() <= self.fields.keys():
            return
        for name in attributes.keys() - self.fields.keys():
            if not isinstance(getattr(self.cls, name, None), cached_property):
                raise Mismatch(
                    f"{self.name} has an attribute {name!r} that is not one of its fields and would be lost"
                )

    def make(self, values: dict[str, Any]) -> Any:
        if self._by_init:
            given = {init: values[name] for name, init in self._init.items() if name in values}
            result = self.cls(**given)
            if type(result) is not self.cls:
                raise TypeError(f"it made a {type_name(result)}")
        else:
            cls: Any = self.cls
            result = cls.__new__(cls)
        for name, value in values.items():
            if getattr(result, name, _MISSING) is not value:
                object.__setattr__(result, name, value)
        return result


class NamedTupleNode(RecordNode):
    python_type = "NamedTuple"

    def check_value(self, value: Any) -> None:
        if len(value) != len(self.fields):
            raise Mismatch(f"expected {self.name}, got one with {len(value)} items")
        if getattr(value, "__dict__", None):
            raise Mismatch(f"{self.name} has attributes that are not its fields and would be lost")

    def make(self, values: dict[str, Any]) -> Any:
        cls: Any = self.cls
        defaults = cls._field_defaults
        return tuple.__new__(cls, [values[n] if n in values else defaults[n] for n in self.fields])


class TypedDictNode(RecordNode):
    """A TypedDict: its values are plain dicts, and the order of their keys is kept."""

    python_type = "TypedDict"

    def __init__(self, cls: type, title: str, keys: Iterable[str]) -> None:
        super().__init__(cls, title)
        self.types = (dict,)
        names = {*keys}
        self.may_look_tagged = {"$type", "value"} <= names or "$part" in names
        self.weak = frozenset({"part"}) if "$part" in names else frozenset()

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not dict:
            raise self.refuse_value(value)
        if depth >= MAX_DEPTH:
            raise too_deep()
        result: dict[str, Any] = {}
        for name, item in value.items():
            field = self.fields.get(name) if type(name) is str else None
            if field is None:
                raise Mismatch(
                    f"{self.name} has no key {name!r} (its keys: {', '.join(self.fields) or 'none'})"
                )
            try:
                result[name] = field.node.encode(item, run, depth + 1)
            except Mismatch as error:
                error.trail.append(f"[{name!r}]")
                raise
        if not self._required <= result.keys():
            lacking = ", ".join(name for name in self.fields if name in self._required - result.keys())
            raise Mismatch(f"{self.name} lacks {lacking}")
        return result

    def make(self, values: dict[str, Any]) -> Any:
        return values


def class_doc(cls: type) -> str:
    """The docstring that somebody wrote for the class, not the one that its decorator made."""
    doc = cls.__dict__.get("__doc__")
    if not isinstance(doc, str) or doc.startswith(f"{cls.__name__}("):
        return ""
    import inspect

    return inspect.cleandoc(doc)
