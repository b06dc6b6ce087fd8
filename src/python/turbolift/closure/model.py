# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the analysis says of a file: tagged functions, and findings with a place and an advice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One reason why something cannot be distributed.

    `rule` is a stable slug; `function` the qualname that it concerns, empty where it concerns the file.
    """

    path: str
    line: int
    column: int
    rule: str
    message: str
    function: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message} [{self.rule}]"


@dataclass(frozen=True)
class TaggedFunction:
    """One function under ``@on``: where it stands and what the parse alone can tell."""

    name: str
    qualname: str
    line: int
    is_async: bool
    platform: str


@dataclass(frozen=True)
class FileReport:
    """All that was found in one file; `parsed` is false where its syntax could not be read."""

    path: str
    parsed: bool
    functions: tuple[TaggedFunction, ...]
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able data."""
        return asdict(self)
