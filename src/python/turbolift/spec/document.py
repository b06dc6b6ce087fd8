# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Load, validate and canonicalise the JSON documents."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

from turbolift.errors import DocumentError

Kind = Literal["describe", "function-spec", "app-spec", "route-table", "bundle", "base-lock"]


def canonical(document: Any) -> bytes:
    """Return the canonical JSON of `document`: sorted keys, no white space, UTF-8."""
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(document: Any) -> str:
    """Return ``sha256:<hex>`` of the canonical JSON of `document`."""
    return "sha256:" + hashlib.sha256(canonical(document)).hexdigest()


@cache
def schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a kind of document."""
    text = resources.files("turbolift.spec").joinpath(f"schemas/{kind}.json").read_text("utf-8")
    return cast("dict[str, Any]", json.loads(text))


def validate(kind: Kind, document: Any, *, source: str) -> dict[str, Any]:
    """Check `document` against its schema and return it; `source` says where it came from.

    Raises DocumentError with the path of the first broken place.
    """
    # Importing jsonschema costs 0.2 s of CPU: only programs that read documents pay it.
    # Not inferred: those programs bring it, and a function's image has no use for it.
    import jsonschema  # pants: no-infer-dep
    from jsonschema.exceptions import best_match  # pants: no-infer-dep

    validator = jsonschema.Draft202012Validator(schema(kind))
    error = best_match(validator.iter_errors(document))
    if error is not None:
        raise DocumentError(
            f"{source}: not a valid {kind.replace('-', ' ')}: at {error.json_path}: {error.message}",
            source=source,
            path=error.json_path,
        )
    return cast("dict[str, Any]", document)


def load(kind: Kind, path: str | Path) -> dict[str, Any]:
    """Read, parse and validate the document in the file `path`.

    Raises DocumentError where it cannot be read, is not JSON (with line and column), or breaks its schema.
    """
    name = kind.replace("-", " ")
    try:
        text = Path(path).read_text("utf-8")
    except FileNotFoundError:
        raise DocumentError(f"{path}: no such {name}", source=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{path}: cannot read this {name}: {error}", source=str(path)) from None
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise DocumentError(
            f"{path}:{error.lineno}:{error.colno}: this {name} is not JSON: {error.msg}", source=str(path)
        ) from None
    return validate(kind, document, source=str(path))
