# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The report of a run: a document to keep, and a table for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from e2e.rollout.suite.tally import IDEMPOTENT, OTHER, Tally, Window


def document(
    tally: Tally,
    windows: Sequence[Window],
    *,
    kubernetes: str,
    seconds: float,
    settings: Mapping[str, Any],
    skipped: Mapping[str, str],
    broken: Sequence[str],
) -> dict[str, Any]:
    """Return the report."""
    return {
        "kubernetes": kubernetes,
        "calls": len(tally.calls),
        "failed": tally.failed(),
        "disturbances": [one.name for one in windows],
        "seconds": round(seconds, 1),
        **settings,
        "streams": tally.streams(tally.calls),
        "by_disturbance": [tally.window(one) for one in windows],
        "skipped": dict(skipped),
        "broken": list(broken),
    }


def show(report: Mapping[str, Any]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    title = f"Kubernetes {report['kubernetes']}: {report['calls']} calls in {report['seconds']:g} s"
    table = Table(title=title, caption="first the idempotent stream, then the one that is not")
    table.add_column("disturbance")
    table.add_column("calls from")
    columns = ("calls", "failed", "slowest", "calls", "results", "maybe", "run twice", "slowest")
    for name in columns:
        table.add_column(name, justify="right")
    for one in report["by_disturbance"]:
        title = f"{one['name']} ({one['seconds']:g} s)"
        for origin, streams in one["origins"].items():
            table.add_row(title, origin, *_cells(streams))
            title = ""
        table.add_section()
    table.add_row("all", "", *_cells(report["streams"]))
    console = Console(width=150)
    console.print(table)
    for name, why in report["skipped"].items():
        console.print(f"skipped: {name}: {why}", markup=False)
    for text in report["broken"]:
        console.print(f"broken: {text}", markup=False, style="red")


def _cells(streams: Mapping[str, Mapping[str, Any]]) -> list[str]:
    first, second = streams[IDEMPOTENT], streams[OTHER]
    return [
        str(first["calls"]),
        str(first["failed"]),
        f"{first['slowest_ms']} ms",
        *(str(second[name]) for name in ("calls", "results", "maybe_executed", "run_twice")),
        f"{second['slowest_ms']} ms",
    ]
