# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Binding arguments to parameters by Python itself, so that a wrong call fails as it would without
turbolift.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

_ABSENT: Any = object()


def binder(signature: inspect.Signature, name: str) -> Callable[..., dict[str, Any]]:
    """Return a function with this signature, called `name` in errors, that returns its arguments by
    parameter name.

    Parameters that were left to their defaults are ``_ABSENT`` in it.
    """
    parts: list[str] = []
    starred = False
    parameters = list(signature.parameters.values())
    for i, parameter in enumerate(parameters):
        text = parameter.name
        if parameter.kind is parameter.VAR_POSITIONAL:
            text, starred = f"*{text}", True
        elif parameter.kind is parameter.VAR_KEYWORD:
            text = f"**{text}"
        else:
            if parameter.kind is parameter.KEYWORD_ONLY and not starred:
                parts.append("*")
                starred = True
            if parameter.default is not parameter.empty:
                text += "=_ABSENT"
        parts.append(text)
        following = parameters[i + 1].kind if i + 1 < len(parameters) else None
        if parameter.kind is parameter.POSITIONAL_ONLY and following is not parameter.POSITIONAL_ONLY:
            parts.append("/")
    items = ", ".join(f"{parameter.name!r}: {parameter.name}" for parameter in parameters)
    namespace: dict[str, Any] = {"_ABSENT": _ABSENT}
    # Names of parameters are identifiers that Python has accepted already; nothing else goes into this text.
    exec(f"def bind({', '.join(parts)}):\n return {{{items}}}", namespace)
    bind: Callable[..., dict[str, Any]] = namespace["bind"]
    bind.__name__ = name.rpartition(".")[2]
    bind.__qualname__ = name
    return bind


def given(bound: dict[str, Any], variadic: frozenset[str]) -> dict[str, Any]:
    """Of a binder's answer what the caller gave: no defaults, no empty ``*args`` and ``**kwargs``."""
    return {k: v for k, v in bound.items() if v is not _ABSENT and (k not in variadic or v)}
