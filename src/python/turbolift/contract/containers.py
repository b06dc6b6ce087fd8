# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Codecs of list, tuple, set, frozenset and deque: JSON arrays."""

from __future__ import annotations

from collections import deque
from types import GenericAlias
from typing import Any

from turbolift.contract.codec import DecodeRun, EncodeRun, Mismatch, Node, too_deep
from turbolift.contract.jsontext import MAX_DEPTH
from turbolift.contract.schema import PYTHON_TYPE, Defs

_ARRAY = frozenset({"array"})


class ListNode(Node):
    kinds = _ARRAY
    types = (list,)

    def __init__(self, item: Node) -> None:
        self.item = item
        self.name = f"list[{item.name}]"
        self.fast = None if item.fast is None else GenericAlias(list, item.fast)

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not list:
            raise self.refuse_value(value)
        if depth >= MAX_DEPTH:
            raise too_deep()
        return self.item.encode_many(value, run, depth + 1) if value else []

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is not list:
            raise self.refuse_tree(tree)
        if depth >= MAX_DEPTH:
            raise too_deep()
        return self.item.decode_many(tree, run, depth + 1) if tree else []

    def schema(self, defs: Defs) -> dict[str, Any]:
        return {"type": "array", "items": self.item.schema(defs)}


class VariadicTupleNode(Node):
    """``tuple[T, ...]``."""

    kinds = _ARRAY
    types = (tuple,)

    def __init__(self, item: Node) -> None:
        self.item = item
        self.name = f"tuple[{item.name}, ...]"
        self.fast = None if item.fast is None else GenericAlias(tuple, (item.fast, ...))

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not tuple:
            raise self.refuse_value(value)
        if depth >= MAX_DEPTH:
            raise too_deep()
        return self.item.encode_many(value, run, depth + 1) if value else []

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is not list:
            raise self.refuse_tree(tree)
        if depth >= MAX_DEPTH:
            raise too_deep()
        return tuple(self.item.decode_many(tree, run, depth + 1)) if tree else ()

    def schema(self, defs: Defs) -> dict[str, Any]:
        return {"type": "array", "items": self.item.schema(defs), PYTHON_TYPE: "tuple"}


class TupleNode(Node):
    """A tuple of fixed shape, with at most one variadic stretch (``tuple[int, *tuple[str, ...], bool]``)."""

    kinds = _ARRAY
    types = (tuple,)

    def __init__(
        self, before: list[Node], middle: Node | None = None, after: list[Node] | None = None
    ) -> None:
        self._before = before
        self._middle = middle
        self._after = after or []
        names = [n.name for n in before]
        if middle is not None:
            names.append(f"*tuple[{middle.name}, ...]")
        names.extend(n.name for n in self._after)
        self.name = f"tuple[{', '.join(names)}]" if names else "tuple[()]"
        if middle is None and before and all(n.fast is not None for n in before):
            self.fast = GenericAlias(tuple, tuple(n.fast for n in before))

    def _nodes(self, length: int) -> list[Node] | None:
        spare = length - len(self._before) - len(self._after)
        if spare < 0 or (spare > 0 and self._middle is None):
            return None
        if self._middle is None:
            return self._before
        return [*self._before, *[self._middle] * spare, *self._after]

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not tuple:
            raise self.refuse_value(value)
        if depth >= MAX_DEPTH:
            raise too_deep()
        nodes = self._nodes(len(value))
        if nodes is None:
            raise Mismatch(f"expected {self.name}, got a tuple of {len(value)}")
        result: list[Any] = []
        try:
            for node, item in zip(nodes, value, strict=True):
                result.append(node.encode(item, run, depth + 1))
        except Mismatch as error:
            error.trail.append(f"[{len(result)}]")
            raise
        return result

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is not list:
            raise self.refuse_tree(tree)
        if depth >= MAX_DEPTH:
            raise too_deep()
        nodes = self._nodes(len(tree))
        if nodes is None:
            raise Mismatch(f"expected {self.name}, got a JSON array of {len(tree)}")
        result: list[Any] = []
        try:
            for node, item in zip(nodes, tree, strict=True):
                result.append(node.decode(item, run, depth + 1))
        except Mismatch as error:
            error.trail.append(f"[{len(result)}]")
            raise
        return tuple(result)

    def schema(self, defs: Defs) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array", PYTHON_TYPE: "tuple"}
        least = len(self._before) + len(self._after)
        if self._before:
            schema["prefixItems"] = [node.schema(defs) for node in self._before]
        if self._middle is None:
            schema |= {"minItems": least, "maxItems": least}
        else:
            # JSON Schema cannot say what stands at the end of an array of any length: the middle and the end
            # share a rule.
            rest = [self._middle.schema(defs), *[node.schema(defs) for node in self._after]]
            schema |= {"minItems": least, "items": rest[0] if len(rest) == 1 else {"anyOf": rest}}
        return schema


class SetNode(Node):
    """set or frozenset: an array in no order."""

    kinds = _ARRAY

    def __init__(self, cls: type[set[Any]] | type[frozenset[Any]], item: Node) -> None:
        self._cls = cls
        self.item = item
        self.types = (cls,)
        self.name = f"{cls.__name__}[{item.name}]"

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not self._cls:
            raise self.refuse_value(value)
        if depth >= MAX_DEPTH:
            raise too_deep()
        return self.item.encode_many(value, run, depth + 1) if value else []

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is not list:
            raise self.refuse_tree(tree)
        if depth >= MAX_DEPTH:
            raise too_deep()
        items = self.item.decode_many(tree, run, depth + 1)
        try:
            result = self._cls(items)
        except Exception as error:
            raise Mismatch(f"an item of the {self._cls.__name__} cannot be hashed: {error}") from None
        if len(result) != len(items):
            raise Mismatch(f"expected {self.name}, got equal items")
        return result

    def schema(self, defs: Defs) -> dict[str, Any]:
        # No uniqueItems: a set may hold several NaNs, and JSON Schema calls 1 and 1.0 the same.
        return {"type": "array", "items": self.item.schema(defs), PYTHON_TYPE: self._cls.__name__}


class DequeNode(Node):
    """``{"maxlen": n or null, "items": [...]}``."""

    kinds = frozenset({"object"})
    types = (deque,)

    def __init__(self, item: Node) -> None:
        self.item = item
        self.name = f"deque[{item.name}]"

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not deque:
            raise self.refuse_value(value)
        if depth + 1 >= MAX_DEPTH:
            raise too_deep()
        return {
            "maxlen": value.maxlen,
            "items": self.item.encode_many(value, run, depth + 2) if value else [],
        }

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is not dict:
            raise self.refuse_tree(tree)
        if depth + 1 >= MAX_DEPTH:
            raise too_deep()
        maxlen, items = tree.get("maxlen"), tree.get("items")
        known = tree.keys() <= {"maxlen", "items"}
        if (
            not known
            or type(items) is not list
            or (maxlen is not None and (type(maxlen) is not int or maxlen < 0))
        ):
            raise Mismatch(f'expected {self.name}, as {{"maxlen": n or null, "items": [...]}}')
        if maxlen is not None and len(items) > maxlen:
            raise Mismatch(f"expected {self.name}, got {len(items)} items where maxlen is {maxlen}")
        try:
            return deque(self.item.decode_many(items, run, depth + 2), maxlen)
        except OverflowError:
            raise Mismatch(f"expected {self.name}, got a maxlen that is too large") from None

    def schema(self, defs: Defs) -> dict[str, Any]:
        properties = {
            "maxlen": {"type": ["integer", "null"], "minimum": 0},
            "items": {"type": "array", "items": self.item.schema(defs)},
        }
        return {
            "type": "object", "properties": properties, "required": ["items"], "additionalProperties": False,
            PYTHON_TYPE: "deque",
        }  # fmt: skip
