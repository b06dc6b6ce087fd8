# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The report of a run as a table for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def show(report: Mapping[str, Any]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"{report['calls']} calls in {report['seconds']:g} s, {report['in_flight']} in flight",
        caption="first the calls of idempotent functions, then those of others",
    )
    table.add_column("disturbance")
    table.add_column("did")
    for name in (
        "calls",
        "failed",
        "run again",
        "slowest",
        "calls",
        "results",
        "maybe",
        "other errors",
        "slowest",
    ):
        table.add_column(name, justify="right")
    for one in report["disturbances"]:
        table.add_row(one["name"], one["did"], *_cells(one["streams"]))
    console = Console(width=170)
    if report["disturbances"]:
        console.print(table)
    for name, why in report["skipped"].items():
        console.print(f"left out: {name}: {why}", markup=False)
    for text in report["broken"]:
        console.print(f"broken: {text}", markup=False, style="red")
    if not report["broken"]:
        console.print("every law was kept")


def _cells(streams: Mapping[str, Mapping[str, Any]]) -> list[str]:
    steady, once = streams["steady"], streams["once"]
    maybe = once["errors"].get("MaybeExecuted", 0)
    others = once["calls"] - once["results"] - maybe
    return [
        str(steady["calls"]),
        str(steady["calls"] - steady["results"]),
        str(steady["ran_again"]),
        f"{steady['slowest_ms']} ms",
        str(once["calls"]),
        str(once["results"]),
        str(maybe),
        str(others),
        f"{once['slowest_ms']} ms",
    ]
