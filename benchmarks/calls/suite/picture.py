# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The ratios as a picture: SVG by the standard library, the same bytes for the same document."""

from __future__ import annotations

from typing import Any


def picture(document: dict[str, Any], plain: str, cells: list[str]) -> str:
    """Return the picture."""
    raise NotImplementedError
