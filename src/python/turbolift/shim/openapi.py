# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document of a served function: what other languages call it by."""

from __future__ import annotations

import inspect
from typing import Any

from turbolift.contract.schema import PYTHON_TYPE
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

DEADLINE_PATTERN = r"^(none|[0-9]{1,12}(\.[0-9]{1,12})?)$"
"""What a deadline header may say."""

# What a schema of the contract lets pass and the server does not: the digest of a contract is for good, so that its schemas
# stay as they are, while this document may say it better. (No schema says which days a month has.)
_BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
_ZONE = (
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{6})?)?)?"
    r"(\[[A-Za-z][A-Za-z0-9_+/-]*\])?(\[_name=[A-Za-z0-9_+:./ -]*\])?(\[_fold=1\])?"
)
_DATE = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_PARTS = ("([0-9]{1,10}D)", "([0-9]{1,15}H)", "([0-9]{1,15}M)", r"([0-9]{1,15}(\.[0-9]{1,6})?S)")
_TIME_OF_DURATION = "T({1}{2}?{3}?|{2}{3}?|{3})".format(*_PARTS)
_NARROWER: dict[str, dict[str, Any]] = {
    "datetime": {"pattern": f"^{_DATE}T{_CLOCK}{_ZONE}$"},
    "time": {"pattern": f"^{_CLOCK}{_ZONE}$"},
    "timedelta": {"pattern": f"^-?P({_PARTS[0]}({_TIME_OF_DURATION})?|{_TIME_OF_DURATION})$"},
    "Fraction": {"pattern": "^-?(0x[0-9a-f]+|[0-9]+)/(0x0*[1-9a-f][0-9a-f]*|0*[1-9][0-9]*)$"},
    "range": {"not": {"prefixItems": [{}, {}, {"anyOf": [{"enum": [0, False]}, {"pattern": "^-?0x0+$"}]}]}},
}


def openapi(served: Served, version: str) -> dict[str, Any]:
    """Return the document. Definitions of the contract's schemas become components, their references with
    them.
    """
    components: dict[str, Any] = {}
    arguments = _hoist(served.contract.parameters, "arguments", components)
    _keep_apart(arguments, served.contract.signature)
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
        "parameters": _headers(served.contract.digest),
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


def _headers(digest: str) -> list[dict[str, Any]]:
    said: dict[str, tuple[str, dict[str, Any]]] = {
        CONTRACT: (
            "digest of the contract that the caller was built for; another one is refused",
            {"enum": [digest]},
        ),
        DEADLINE: (
            "seconds that remain for the call, as a decimal, or none; else the function's timeout holds",
            {"pattern": DEADLINE_PATTERN},
        ),
        IDEMPOTENCY_KEY: ("the same for each try of one call", {}),
        TRACEPARENT: ("W3C trace context", {}),
    }
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": text,
            "schema": {"type": "string", **schema},
        }
        for name, (text, schema) in said.items()
    ]


def _keep_apart(arguments: dict[str, Any], signature: inspect.Signature) -> None:
    """Say that what is a parameter is not among the further keyword arguments."""
    names = [
        p.name for p in signature.parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD and names:
            schema = arguments["properties"][parameter.name]
            arguments["properties"][parameter.name] = {**schema, "propertyNames": {"not": {"enum": names}}}


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
    if tree.get("contentEncoding") == "base64":
        rewritten["pattern"] = _BASE64
    kind = tree.get(PYTHON_TYPE)
    if isinstance(kind, str) and kind in _NARROWER:
        rewritten |= _NARROWER[kind]
    reference = tree.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        rewritten["$ref"] = f"#/components/schemas/{prefix}.{reference.removeprefix('#/$defs/')}"
    return rewritten
