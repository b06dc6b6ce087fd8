# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The ratios as a picture: SVG by the standard library, the same bytes for the same document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

LABEL, BAR, ROW, HEAD, GAP = 150, 300, 16, 26, 14
"""Pixels: of a stack's name, of the widest bar, of a row, of a panel's title, and between panels."""

COLUMNS = 2
OURS, OTHERS, BASE = "#2f6fde", "#a9b4c2", "#d9822b"
_STYLE = "text{font:11px sans-serif;fill:#222}.title{font-weight:bold}.note{fill:#666}"


def picture(document: dict[str, Any], plain: str, cells: Sequence[str]) -> str:
    """Return a panel a cell: a bar a stack on a logarithmic scale, the best first.

    Of one call at a time the p05 of its latency, of many the CPU of both sides, of a map the calls a second; each as a ratio to
    the stack `plain`, whose line is drawn.
    """
    panels = [panel for cell in cells if len((panel := _panel(document, cell))[1]) > 1]
    heights = [HEAD + ROW * len(rows) + GAP for _, rows in panels]
    columns: list[list[int]] = [[] for _ in range(COLUMNS)]
    filled = [HEAD] * COLUMNS
    for index, height in enumerate(heights):
        shortest = filled.index(min(filled))
        columns[shortest].append(index)
        filled[shortest] += height
    width = COLUMNS * (LABEL + BAR + 70)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{max(filled)}">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{max(filled)}" fill="white"/>',
        f'<text x="8" y="16" class="note">ratios to {escape(plain)} in the same run (orange line), logarithmic</text>',
    ]
    for number, column in enumerate(columns):
        top = HEAD
        for index in column:
            title, rows = panels[index]
            parts += _drawn(title, rows, number * (LABEL + BAR + 70), top, plain)
            top += heights[index]
    return "\n".join([*parts, "</svg>", ""])


def _panel(document: dict[str, Any], cell: str) -> tuple[str, list[tuple[str, float]]]:
    """Return the title of a cell's panel, and (stack, ratio), the best first."""
    key, says, best_is_low = "p05", "p05 latency, lower is better", True
    if cell.startswith("map/"):
        key, says, best_is_low = "throughput", "calls a second, higher is better", False
    elif not cell.endswith("/1"):
        key, says = "cpu", "CPU of both sides a call, lower is better"
    rows = [
        (name, facts[cell][key])
        for name, facts in document.items()
        if isinstance(facts, dict) and isinstance(facts.get(cell), dict) and facts[cell].get(key)
    ]
    return f"{cell}: {says}", sorted(rows, key=lambda row: (row[1] if best_is_low else -row[1], row[0]))


def _drawn(title: str, rows: Sequence[tuple[str, float]], left: int, top: int, plain: str) -> list[str]:
    low = math.floor(math.log10(min(1.0, *(value for _, value in rows))))
    high = max(low + 1, math.ceil(math.log10(max(1.0, *(value for _, value in rows)))))

    def at(value: float) -> float:
        return BAR * (math.log10(value) - low) / (high - low)

    start = left + LABEL
    parts = [f'<text x="{left + 8}" y="{top + 14}" class="title">{escape(title)}</text>']
    for number, (name, value) in enumerate(rows):
        y = top + HEAD - 4 + number * ROW
        colour = BASE if name == plain else OURS if name.startswith("turbolift") else OTHERS
        length = max(at(value), 1.0)
        parts += [
            f'<text x="{start - 6}" y="{y + 11}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{start}" y="{y + 2}" width="{length:.1f}" height="{ROW - 5}" fill="{colour}"/>',
            f'<text x="{start + length + 4:.1f}" y="{y + 11}" class="note">{value:.3g}</text>',
        ]
    x = start + at(1.0)
    bottom = top + HEAD - 4 + len(rows) * ROW
    parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top + HEAD - 4}" y2="{bottom}" stroke="{BASE}"/>')
    return parts
