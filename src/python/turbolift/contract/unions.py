# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Codecs of unions, of the abstract collections, and of Any.

A member of a union travels bare where its JSON kind belongs to it alone, and as ``{"$type": name, "value":
...}`` where it does not: ``int | str`` needs no tag, two dataclasses do, and of ``float | str`` only a NaN
does.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from turbolift.contract.choices import LiteralNode
from turbolift.contract.codec import (
    ALL_KINDS,
    DecodeRun,
    EncodeRun,
    Mismatch,
    Node,
    Unsupported,
    is_tagged,
    kind_of,
    refuse_value,
    short,
    too_deep,
    type_name,
)
from turbolift.contract.jsontext import MAX_DEPTH
from turbolift.contract.records import RecordNode
from turbolift.contract.scalars import IntNode, NoneNode, StrNode, check_text, int_from_text, int_to_tree
from turbolift.contract.schema import PYTHON_TYPE, Defs


class UnionNode(Node):
    """One of several types; the member is chosen by the exact type of the value.

    With a `python_type` (``Sequence``) a kind that several members claim belongs to the first of them: so a
    list under ``Sequence`` is a plain array, and only what is not a list needs a tag.
    """

    def __init__(
        self, members: list[Node], *, name: str = "", python_type: str = "", tags: tuple[str, ...] = ()
    ) -> None:
        self.members = members
        self.name = name or " | ".join(member.name for member in members)
        self._python_type = python_type
        self._first_wins = bool(python_type)
        self.is_flat = not python_type
        self._by_tag: dict[str, Node] = {}
        self._tags: dict[int, str] = {}
        names = [*tags] or [member.name for member in members]
        for member, tag in zip(members, names, strict=True):
            # The order of a union's members is not the same in every process, so no tag may depend on it.
            if names.count(tag) > 1 and member.types:
                tag = f"{member.types[0].__module__}.{tag}"
            if tag in self._by_tag:
                raise Unsupported(
                    f"two members of {self.name} are called {tag}, and JSON could not tell them apart"
                )
            self._by_tag[tag] = member
            self._tags[id(member)] = tag
        self.types = _all_types(members)
        self.promoted = tuple(t for member in members for t in member.promoted)
        self._owners = {kind: self._owner(kind) for kind in ALL_KINDS}
        # Where each kind of JSON says by itself whose it is, there are no tags, and an object that looks
        # like one is none.
        self._tagging = any(
            self._owners.get(kind) is not member for member in members for kind in member.kinds | member.weak
        )
        kinds = {kind for member in members for kind in member.kinds}
        if any(self._tag_needed(member) for member in members):
            kinds.add("object")
        self.kinds = frozenset(kinds)
        self.weak = frozenset(kind for member in members for kind in member.weak) - self.kinds
        self.may_look_tagged = "object" in kinds or any(member.may_look_tagged for member in members)
        self._always_tagged = {
            id(member)
            for member in members
            if any(self._owners.get(kind) is not member for kind in member.kinds)
        }
        self._candidates: dict[type, list[Node]] = {}

    def _owner(self, kind: str) -> Node | None:
        own = [member for member in self.members if kind in member.kinds]
        if own:
            return own[0] if len(own) == 1 or self._first_wins else None
        weak = [member for member in self.members if kind in member.weak]
        return weak[0] if len(weak) == 1 or (weak and self._first_wins) else None

    def _tag_needed(self, member: Node) -> bool:
        return self._tagging and (
            member.may_look_tagged
            or any(self._owners.get(kind) is not member for kind in member.kinds | member.weak)
        )

    def _candidates_of(self, cls: type) -> list[Node]:
        found = [member for member in self.members if member.types is not None and cls in member.types]
        found += [member for member in self.members if cls in member.promoted]
        found += [member for member in self.members if member.types is None]
        self._candidates[cls] = found
        return found

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        cls = type(value)
        candidates = self._candidates.get(cls)
        if candidates is None:
            candidates = self._candidates_of(cls)
        mark = len(run.parts)
        first: Mismatch | None = None
        for member in candidates:
            # A tag is a level of its own; where it may come, it is counted, so that what encodes also
            # decodes.
            tag = id(member) in self._always_tagged or (
                self._tagging
                and member.may_look_tagged
                and (cls is not dict or len(value) <= 2 or member.types is None)
            )
            try:
                tree = member.encode(value, run, depth + 1 if tag else depth)
            except Mismatch as error:
                first = first or error
                del run.parts[mark:]
                continue
            if self._owners.get(kind_of(tree)) is member and not (self._tagging and is_tagged(tree)):
                return tree
            return {"$type": self._tags[id(member)], "value": tree}
        if first is not None and len(candidates) == 1:
            raise first
        raise refuse_value(self.name, value, self.types or ())

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if self._tagging and is_tagged(tree):
            tag = tree["$type"]
            tagged = self._by_tag.get(tag) if type(tag) is str else None
            if tagged is None:
                raise Mismatch(
                    f"expected {self.name}, got $type {short(tag)}; known are {', '.join(self._by_tag)}"
                )
            if depth >= MAX_DEPTH:
                raise too_deep()
            return tagged.decode(tree["value"], run, depth + 1)
        member = self._owners.get(kind_of(tree))
        if member is None:
            if kind_of(tree) in self.kinds | self.weak:
                raise Mismatch(
                    f'expected {self.name}, as {{"$type": one of {", ".join(self._by_tag)}, "value": ...}}'
                )
            raise self.refuse_tree(tree)
        return member.decode(tree, run, depth)

    def schema(self, defs: Defs) -> dict[str, Any]:
        options: list[dict[str, Any]] = []
        for member in self.members:
            schema = member.schema(defs)
            if any(self._owners.get(kind) is member for kind in member.kinds | member.weak):
                options.append(schema)
            if self._tag_needed(member):
                tagged = {"$type": {"const": self._tags[id(member)]}, "value": schema}
                options.append(
                    {
                        "type": "object",
                        "properties": tagged,
                        "required": ["$type", "value"],
                        "additionalProperties": False,
                    }
                )
        result: dict[str, Any] = {"anyOf": options}
        if self._python_type:
            result[PYTHON_TYPE] = self._python_type
        return result


def _all_types(members: list[Node]) -> tuple[type, ...] | None:
    types: list[type] = []
    for member in members:
        if member.types is None:
            return None
        types.extend(member.types)
    return tuple(types)


class AnyNode(Node):
    """Any or object: values that are JSON already (None, bool, int, float, str, list, dict with str keys).

    NaN, infinities, very long ints, and a dict that looks like a tag are tagged, so that they arrive as they
    were.
    """

    name = "Any"
    types = None
    weak = ALL_KINDS
    may_look_tagged = True

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return check_text(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            tree = int_to_tree(value)
            return tree if tree is value else {"$type": "int", "value": tree}
        if kind is float:
            if isfinite(value):
                return value
            name = "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
            return {"$type": "float", "value": name}
        if kind is list:
            if depth >= MAX_DEPTH:
                raise too_deep()
            return self.encode_many(value, run, depth + 1)
        if kind is dict:
            if is_tagged(value):
                return {"$type": "dict", "value": self._encode_dict(value, run, depth + 1)}
            return self._encode_dict(value, run, depth)
        raise Mismatch(
            f"expected a value that is JSON already (under Any), got {type_name(value)}; "
            "give it a type hint of its own"
        )

    def _encode_dict(self, value: dict[Any, Any], run: EncodeRun, depth: int) -> dict[str, Any]:
        if depth >= MAX_DEPTH:
            raise too_deep()
        result: dict[str, Any] = {}
        for key, item in value.items():
            if type(key) is not str:
                raise Mismatch(
                    f"a dict under Any must have str keys, got {type_name(key)}; give it a type hint"
                )
            try:
                result[check_text(key)] = self.encode(item, run, depth + 1)
            except Mismatch as error:
                error.trail.append(f"[{short(key)}]")
                raise
        return result

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        kind = type(tree)
        if kind is list:
            if depth >= MAX_DEPTH:
                raise too_deep()
            return self.decode_many(tree, run, depth + 1)
        if kind is dict:
            if is_tagged(tree):
                return self._decode_tagged(tree["$type"], tree["value"], run, depth + 1)
            return self._decode_dict(tree, run, depth)
        if kind is float and not isfinite(tree):
            raise Mismatch("a JSON number that is too large for a float")
        return tree

    def _decode_tagged(self, tag: Any, value: Any, run: DecodeRun, depth: int) -> Any:
        if tag == "dict" and type(value) is dict:
            return self._decode_dict(value, run, depth)
        if tag == "int" and type(value) is str:
            return int_from_text(value)
        if tag == "float" and value in ("NaN", "Infinity", "-Infinity"):
            return float(value)
        raise Mismatch(
            f'under Any, {{"$type": ..., "value": ...}} is for int, float and dict, not {short(tag)}'
        )

    def _decode_dict(self, tree: dict[str, Any], run: DecodeRun, depth: int) -> dict[str, Any]:
        if depth >= MAX_DEPTH:
            raise too_deep()
        result: dict[str, Any] = {}
        key = ""
        try:
            for key, item in tree.items():
                result[key] = self.decode(item, run, depth + 1)
        except Mismatch as error:
            error.trail.append(f"[{short(key)}]")
            raise
        return result

    def schema(self, defs: Defs) -> dict[str, Any]:
        return {PYTHON_TYPE: "Any"}


def union(members: list[Node]) -> Node:
    """The node of ``A | B | ...``: doubles taken out, a Literal's strings left to str where str is a member
    too.
    """
    unique: list[Node] = []
    for member in members:
        if not any(same_type(member, other) for other in unique):
            unique.append(member)
    plain = {t for member in unique if isinstance(member, StrNode | IntNode) for t in member.types or ()}
    unique = [m for m in unique if not (isinstance(m, LiteralNode) and set(m.types or ()) <= plain)]
    if len(unique) == 1:
        return unique[0]
    node = UnionNode(unique)
    inner = [member for member in unique if not isinstance(member, NoneNode)]
    if len(inner) == 1 and inner[0].fast is not None and not isinstance(inner[0], UnionNode):
        node.fast = inner[0].fast | None
    return node


def same_type(a: Any, b: Any) -> bool:
    """Whether two nodes are the same type written twice (a description tells nothing apart)."""
    a, b = getattr(a, "inner", a), getattr(b, "inner", b)
    if a is b:
        return True
    if type(a) is not type(b) or isinstance(a, RecordNode):  # a record is one node in a contract
        return False
    if isinstance(a, UnionNode):
        of_b = b.members
        same = len(a.members) == len(of_b) and a.is_flat == b.is_flat
        return same and all(any(same_type(x, y) for y in of_b) for x in a.members)
    if isinstance(a, Node):
        mine, other = vars(a), vars(b)
        return mine.keys() == other.keys() and all(same_type(mine[name], other[name]) for name in mine)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same_type, a, b))
    return bool(a == b)
