# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""JSON Schema documents: shared definitions, and the digest that ignores what is only for people."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"

PYTHON_TYPE = "x-python-type"
"""The keyword that says which Python type a value is, where JSON alone does not."""

_FOR_PEOPLE = frozenset({"title", "description", "default"})
_NAMED_SCHEMAS = frozenset({"properties", "$defs"})
_UNORDERED = frozenset({"anyOf", "enum", "required"})


class Defs:
    """The ``$defs`` of one document: one schema for each record type, so that recursive types end."""

    def __init__(self) -> None:
        self.schemas: dict[str, dict[str, Any]] = {}
        self._names: dict[int, str] = {}

    def ref(self, node: Any, name: str) -> tuple[dict[str, Any], bool]:
        """Return the ``$ref`` to `node`, and whether its schema must still be put into
        ``self.schemas[...]``.
        """
        known = self._names.get(id(node))
        if known is not None:
            return {"$ref": f"#/$defs/{known}"}, False
        base = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_")
        key, n = base, 1
        while key in self.schemas:
            n += 1
            key = f"{base}.{n}"
        self._names[id(node)] = key
        self.schemas[key] = {}
        return {"$ref": f"#/$defs/{key}"}, True

    def put(self, ref: dict[str, Any], schema: dict[str, Any]) -> None:
        self.schemas[ref["$ref"].removeprefix("#/$defs/")] = schema

    def document(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The whole document around `schema`."""
        result = {"$schema": DIALECT, **schema}
        if self.schemas:
            result["$defs"] = self.schemas
        return result


def digest_of(parameters: dict[str, Any], result: dict[str, Any]) -> str:
    """``sha256:<hex>`` of both schemas, without titles, descriptions and defaults.

    The order of a union's members and of a Literal's values is left out: Python's typing caches them without
    order, so that it depends on what was written first in the process.
    """
    document = {"parameters": _bare(parameters), "result": _bare(result)}
    return "sha256:" + hashlib.sha256(_canonical(document).encode()).hexdigest()


def _canonical(tree: Any) -> str:
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _bare(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_bare(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _FOR_PEOPLE:
            continue
        if key in _NAMED_SCHEMAS:
            result[key] = {name: _bare(inner) for name, inner in value.items()}
        elif key in _UNORDERED:
            result[key] = sorted(map(_bare, value), key=_canonical)
        elif key == "const":
            result[key] = value
        else:
            result[key] = _bare(value)
    return result
