# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document of a served function: what other languages call it by."""

from __future__ import annotations

from typing import Any

from turbolift.shim.load import Served
from turbolift.wire import (
    CONTRACT,
    DEADLINE,
    FRAMES,
    IDEMPOTENCY_KEY,
    JSON,
    PROBLEM,
    TRACEPARENT,
    function_path,
)
from turbolift.wire.problem import KINDS


def openapi(served: Served, version: str) -> dict[str, Any]:
    """Return the document. Definitions of the contract's schemas become components, their references with
    them.
    """
    components: dict[str, Any] = {}
    arguments = _hoist(served.contract.parameters, "arguments", components)
    result = _hoist(served.contract.result, "result", components)
    components["Problem"] = {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "exception": {"type": "object", "description": "what the function raised"},
        },
    }
    doc = served.function.__doc__ or ""
    operation = {
        "operationId": served.identity.replace(":", "."),
        "summary": doc.strip().splitlines()[0] if doc.strip() else served.identity,
        "description": doc,
        "parameters": _headers(),
        "requestBody": {"required": True, "content": _content("args", arguments)},
        "responses": {
            "200": {"description": "what the function returned", "content": _content("result", result)},
            **_problems(),
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": served.identity, "version": version or "unversioned"},
        "paths": {
            function_path(served.identity): {"post": operation},
            "/healthz": _probe("The process lives", "200"),
            "/readyz": _probe("The function is imported and warm", "200", "503"),
        },
        "components": {"schemas": components},
    }


def _content(member: str, schema: Any) -> dict[str, Any]:
    envelope = {
        "type": "object",
        "required": [member],
        "additionalProperties": False,
        "properties": {member: schema},
    }
    return {JSON: {"schema": envelope}, FRAMES: {"schema": {"type": "string", "format": "binary"}}}


def _headers() -> list[dict[str, Any]]:
    said = {
        CONTRACT: "digest of the contract that the caller was built for; another one is refused",
        DEADLINE: "seconds that remain for the call, as a decimal, or none; else the function's timeout holds",
        IDEMPOTENCY_KEY: "the same for each try of one call",
        TRACEPARENT: "W3C trace context",
    }
    return [
        {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in said.items()
    ]


def _problems() -> dict[str, Any]:
    titles: dict[str, list[str]] = {}
    for status, title in KINDS.values():
        titles.setdefault(str(status), []).append(title)
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {"description": "; or ".join(said), "content": {PROBLEM: schema}}
        for status, said in titles.items()
    }


def _probe(summary: str, *statuses: str) -> dict[str, Any]:
    return {
        "get": {"summary": summary, "responses": {status: {"description": summary} for status in statuses}}
    }


def _hoist(schema: Any, prefix: str, components: dict[str, Any]) -> Any:
    """Move ``$defs`` of `schema` to `components` under prefixed names, and let its references follow."""
    if not isinstance(schema, dict):
        return schema
    for name, definition in schema.get("$defs", {}).items():
        components[f"{prefix}.{name}"] = _rewrite(definition, prefix)
    body = {key: value for key, value in schema.items() if key not in ("$defs", "$schema")}
    return _rewrite(body, prefix)


def _rewrite(tree: Any, prefix: str) -> Any:
    if isinstance(tree, list):
        return [_rewrite(item, prefix) for item in tree]
    if not isinstance(tree, dict):
        return tree
    rewritten = {key: _rewrite(value, prefix) for key, value in tree.items()}
    reference = tree.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        rewritten["$ref"] = f"#/components/schemas/{prefix}.{reference.removeprefix('#/$defs/')}"
    return rewritten
