# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Write the describe document: what the built closure says of its function."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from turbolift.shim.load import LoadError, Served


def describe(served: Served) -> dict[str, Any]:
    """Return the document (schema ``describe``). Raises LoadError where the platform does not describe itself
    as JSON.
    """
    function = served.function
    contract = served.contract
    described = function.platform.describe()
    try:
        json.dumps(described, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise LoadError(
            f"turbolift: {served.identity}: {function.platform!r}.describe() is not JSON: {error}"
        ) from None
    if not isinstance(described, dict) or described.get("kind") != function.platform.kind:
        raise LoadError(
            f"turbolift: {served.identity}: {function.platform!r}.describe() must be an object with 'kind': "
            f"{function.platform.kind!r}"
        )
    document: dict[str, Any] = {
        "version": 1,
        "function": served.identity,
        "contract": {
            "digest": contract.digest,
            "parameters": contract.parameters,
            "result": contract.result,
        },
        "options": function.options.describe(),
        "platform": described,
        "python": platform.python_version(),
    }
    if function.__doc__:
        document["doc"] = function.__doc__
    return document


def write(document: dict[str, Any], path: Path) -> None:
    """Write `document` to `path` in one step, the same bytes each time."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    beside.replace(path)
