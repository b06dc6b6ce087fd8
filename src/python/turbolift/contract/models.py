# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Codec of pydantic models (v2): their own fields through our codec, their validators run at the other side.

Imported when a hint names a pydantic model, so pydantic is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turbolift.contract import hints
from turbolift.contract.codec import DecodeRun, EncodeRun, Mismatch, Node, Unsupported
from turbolift.contract.hints import short_name, shown
from turbolift.contract.jsontext import MAX_DEPTH
from turbolift.contract.records import Field, RecordNode
from turbolift.contract.schema import Defs
from turbolift.contract.unions import AnyNode

if TYPE_CHECKING:
    from turbolift.contract.compiler import Compiler

_ANY = AnyNode()
_UNSET = "$unset"


def model_node(compiler: Compiler, cls: Any, title: str, key: Any) -> Node:
    if not getattr(cls, "__pydantic_complete__", True):
        try:
            cls.model_rebuild()
        except Exception as error:
            raise Unsupported(f"the model {shown(cls)} is not complete: {error}") from None
    node = ModelNode(cls, title)
    compiler.remember(key, node)
    scope = hints.class_scope(cls, {}, cls)
    fields = []
    for name, info in cls.model_fields.items():
        try:
            inner = compiler.compile(info.annotation, scope)
        except Unsupported as error:
            error.where.append(f"{short_name(cls)}.{name}")
            raise
        fields.append(Field(name, inner, required=info.is_required(), description=info.description or ""))
    node.fill(fields)
    return node


class ModelNode(RecordNode):
    """A pydantic model by its field names; ``$unset`` names the fields that were left to their defaults."""

    python_type = "pydantic"

    def __init__(self, cls: Any, title: str) -> None:
        super().__init__(cls, title)
        self._extra = cls.model_config.get("extra") == "allow"

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        result: dict[str, Any] = super().encode(value, run, depth)
        self._check(value)
        given: set[str] = value.model_fields_set
        unset = [name for name in self.fields if name not in given]
        for name, item in (value.model_extra or {}).items():
            if name.startswith("$"):
                raise Mismatch(f"the extra field {name!r} cannot travel: its name starts with $")
            try:
                result[name] = _ANY.encode(item, run, depth + 1)
            except Mismatch as error:
                error.trail.append(f".{name}")
                raise
        if unset:
            if depth + 1 >= MAX_DEPTH:
                raise Mismatch(f"nested more than {MAX_DEPTH} levels deep")
            result[_UNSET] = unset
        return result

    def _check(self, value: Any) -> None:
        """Make the model again from its own fields, as the other side will, and compare."""
        values = {name: value.__dict__[name] for name in self.fields if name in value.__dict__}
        if len(values) != len(value.__dict__):
            for name in value.__dict__.keys() - values.keys():
                if name not in self.cls.__dict__ and not hasattr(self.cls, name):
                    raise Mismatch(f"{self.name} has an attribute {name!r} that is not one of its fields")
        try:
            again = self._validated({**values, **(value.model_extra or {})})
        except Exception as error:
            raise Mismatch(f"{self.name} is not valid by its own rules: {_first_line(error)}") from None
        if (again.__pydantic_private__ or {}) != (value.__pydantic_private__ or {}):
            raise Mismatch(f"{self.name} has private attributes, which do not travel")

    def decode_fields(self, tree: Any, run: DecodeRun, depth: int) -> dict[str, Any]:
        if type(tree) is not dict:
            raise self.refuse_tree(tree)
        known = {name: item for name, item in tree.items() if name in self.fields}
        others = {name: item for name, item in tree.items() if name not in self.fields}
        unset = others.pop(_UNSET, [])
        if type(unset) is not list or not all(type(name) is str and name in self.fields for name in unset):
            raise Mismatch(f"expected {self.name}, with the names of some of its fields as {_UNSET}")
        if others and not self._extra:
            known.update(others)  # the record says which field it does not know
        values = super().decode_fields(known, run, depth)
        for name, item in others.items():
            try:
                values[name] = _ANY.decode(item, run, depth + 1)
            except Mismatch as error:
                error.trail.append(f".{name}")
                raise
        values[_UNSET] = unset
        return values

    def make(self, values: dict[str, Any]) -> Any:
        unset = values.pop(_UNSET)
        model = self._validated(values)
        for name in self.fields:
            # Validators that change a value (a stripped string) have done so for the original already.
            if name in values and model.__dict__[name] is not values[name]:
                model.__dict__[name] = values[name]
        model.__pydantic_fields_set__.difference_update(unset)
        return model

    def _validated(self, values: dict[str, Any]) -> Any:
        cls: Any = self.cls
        if "root" in self.fields and getattr(cls, "__pydantic_root_model__", False):
            return cls(values["root"]) if "root" in values else cls()
        by_alias = {}
        for name, value in values.items():
            info = cls.model_fields.get(name)
            alias = None if info is None else info.validation_alias or info.alias
            if alias is not None and not isinstance(alias, str):
                alias = next((a for a in getattr(alias, "choices", ()) if isinstance(a, str)), None)
                if alias is None:
                    raise Mismatch(
                        f"the alias of {self.name}.{name} is a path, which cannot be given by name"
                    )
            by_alias[alias or name] = value
        return cls.model_validate(by_alias)

    def schema(self, defs: Defs) -> dict[str, Any]:
        ref = super().schema(defs)
        schema = defs.schemas[ref["$ref"].removeprefix("#/$defs/")]
        if "properties" in schema and _UNSET not in schema["properties"]:
            schema["properties"][_UNSET] = {"type": "array", "items": {"enum": [*self.fields]}}
            if self._extra:
                schema["additionalProperties"] = _ANY.schema(defs)
        return ref


def _first_line(error: Exception) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines()[:3])
