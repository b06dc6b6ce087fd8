# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Codecs of dict, OrderedDict, Counter and defaultdict.

Keys that are always JSON strings (str, UUID, dates, enums ...) make a JSON object; all others an array of
``[key, value]`` pairs. Order is kept both ways.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from turbolift.contract.codec import DecodeRun, EncodeRun, Mismatch, Node, short, too_deep
from turbolift.contract.jsontext import MAX_DEPTH
from turbolift.contract.scalars import StrNode
from turbolift.contract.schema import PYTHON_TYPE, Defs

_STR_ONLY = frozenset({"str"})


class DictNode(Node):
    def __init__(self, key: Node, value: Node, cls: type[dict[Any, Any]] = dict) -> None:
        self._cls = cls
        self._key = key
        self._value = value
        self._as_object = key.kinds | key.weak == _STR_ONLY
        self._plain_keys = type(key) is StrNode
        self._levels = 1 if self._as_object else 2
        self.types = (cls,)
        self.kinds = frozenset({"object" if self._as_object else "array"})
        # A dict of any keys may look like a tag, or like a raw part.
        self.may_look_tagged = self._as_object
        self.weak = frozenset({"part"}) if self._as_object else frozenset()
        self.name = (
            f"{cls.__name__}[{key.name}]" if cls is Counter else f"{cls.__name__}[{key.name}, {value.name}]"
        )

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not self._cls:
            raise self.refuse_value(value)
        return self.encode_items(value, run, depth)

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        items = self.decode_items(tree, run, depth)
        return items if self._cls is dict else self._cls(items)

    def encode_items(self, value: dict[Any, Any], run: EncodeRun, depth: int) -> Any:
        depth += self._levels
        if depth > MAX_DEPTH:
            raise too_deep()
        encode = self._value.encode
        key: Any = None
        result: dict[str, Any] = {}
        pairs: list[Any] = []
        try:
            if not self._as_object:
                for key, item in value.items():
                    pairs.append([self._encode_key(key, run, depth), encode(item, run, depth)])
                return pairs
            if self._plain_keys and {*map(type, value)} <= {str} and all(map(str.isascii, value)):
                for key, item in value.items():
                    result[key] = encode(item, run, depth)
                return result
            for key, item in value.items():
                result[self._encode_key(key, run, depth)] = encode(item, run, depth)
        except Mismatch as error:
            error.trail.append(f"[{short(key)}]")
            raise
        if len(result) != len(value):
            raise Mismatch(f"two keys of the {self._cls.__name__} look the same as JSON")
        return result

    def decode_items(self, tree: Any, run: DecodeRun, depth: int) -> dict[Any, Any]:
        depth += self._levels
        if depth > MAX_DEPTH:
            raise too_deep()
        result: dict[Any, Any] = {}
        decode = self._value.decode
        key: Any = None
        if self._as_object:
            if type(tree) is not dict:
                raise self.refuse_tree(tree)
            pairs: Any = tree.items()
        else:
            if type(tree) is not list:
                raise self.refuse_tree(tree)
            if not all(type(pair) is list and len(pair) == 2 for pair in tree):
                raise Mismatch(f"expected {self.name}, as an array of [key, value]")
            pairs = tree
        try:
            if self._plain_keys:
                for key, item in pairs:
                    result[key] = decode(item, run, depth)
                return result
            for key, item in pairs:
                decoded = self._decode_key(key, run, depth)
                try:
                    twice = decoded in result
                except Exception as error:
                    raise Mismatch(f"a key cannot be hashed: {error}") from None
                if twice:
                    raise Mismatch(f"expected {self.name}, got the same key twice")
                result[decoded] = decode(item, run, depth)
        except Mismatch as error:
            error.trail.append(f"[{short(key)}]")
            raise
        return result

    def _encode_key(self, key: Any, run: EncodeRun, depth: int) -> Any:
        try:
            return self._key.encode(key, run, depth)
        except Mismatch as error:
            error.message = f"as a key: {error.message}"
            raise

    def _decode_key(self, key: Any, run: DecodeRun, depth: int) -> Any:
        try:
            return self._key.decode(key, run, depth)
        except Mismatch as error:
            error.message = f"as a key: {error.message}"
            raise

    def schema(self, defs: Defs) -> dict[str, Any]:
        value = self._value.schema(defs)
        key = self._key.schema(defs)
        schema: dict[str, Any]
        if self._as_object:
            schema = {"type": "object", "additionalProperties": value}
            if not self._plain_keys:
                schema["propertyNames"] = key
        else:
            pair = {"type": "array", "prefixItems": [key, value], "minItems": 2, "maxItems": 2}
            schema = {"type": "array", "items": pair}
        if self._cls is not dict or not self._as_object:
            schema[PYTHON_TYPE] = self._cls.__name__
        return schema


class DefaultDictNode(Node):
    """``{"factory": "list", "items": ...}``; the factory is one of a few builtins, or null."""

    kinds = frozenset({"object"})
    types = (defaultdict,)
    _FACTORIES: dict[str | None, Any] = {
        cls.__name__: cls
        for cls in (list, dict, set, frozenset, tuple, int, float, bool, complex, str, bytes)
    } | {None: None}

    def __init__(self, key: Node, value: Node) -> None:
        self._items = DictNode(key, value)
        self.name = f"defaultdict[{key.name}, {value.name}]"

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not defaultdict:
            raise self.refuse_value(value)
        factory = value.default_factory
        name = getattr(factory, "__name__", None)
        if factory is not None and self._FACTORIES.get(name) is not factory:
            raise Mismatch(
                f"the default_factory {name or type(factory).__name__} cannot travel; it must be a builtin "
                "(list, dict, set, int, float, str ...) or None"
            )
        return {"factory": name, "items": self._items.encode_items(value, run, depth + 1)}

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is not dict:
            raise self.refuse_tree(tree)
        name = tree.get("factory")
        if (
            tree.keys() != {"factory", "items"}
            or type(name) not in (str, type(None))
            or name not in self._FACTORIES
        ):
            raise Mismatch(f'expected {self.name}, as {{"factory": name of a builtin or null, "items": ...}}')
        return defaultdict(self._FACTORIES[name], self._items.decode_items(tree["items"], run, depth + 1))

    def schema(self, defs: Defs) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {"factory": {"enum": [*self._FACTORIES]}, "items": self._items.schema(defs)},
            "required": ["factory", "items"],
            "additionalProperties": False,
            PYTHON_TYPE: "defaultdict",
        }
