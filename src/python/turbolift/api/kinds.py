# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Types for annotations: loaded when they are asked for by name, since they need ``typing``."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

Workers = Literal["loop", "threads", "processes"]
Compress = bool | Literal["gzip", "zstd"]


@runtime_checkable
class Platform(Protocol):
    """What ``@on`` takes: something that says its kind and describes itself as JSON."""

    @property
    def kind(self) -> str:
        """The platform's kind, as ``"k8s"``: what ``deploy`` finds the program for it by."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the declaration as a JSON object with ``"kind"`` in it."""
        ...
