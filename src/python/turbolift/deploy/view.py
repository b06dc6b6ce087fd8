# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a rollout: a live table on a terminal, a line a function elsewhere. Progress goes to
stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

SHORT = 10
"""Hex digits of a version that people are shown."""

_FINAL = frozenset({"ready", "unchanged", "retired", "failed", "rolled back"})
_STYLES = {
    "ready": "green",
    "unchanged": "dim",
    "retired": "yellow",
    "failed": "bold red",
    "starting": "cyan",
    "draining": "yellow",
}


@dataclass(slots=True)
class Row:
    """One function's line."""

    function: str
    version: str = ""
    platform: str = ""
    state: str = "waiting"
    pid: int | None = None
    endpoint: str = ""
    ms: int | None = None
    note: str = ""


class View:
    """Rows by function; a row in a final state is printed at once where there is no terminal."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def say(self, text: str) -> None:
        """Report progress: a line on stderr, above the table where there is one."""
        if self._live is not None and sys.stderr.isatty():
            self._live.console.print(text, style="dim", highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def open(self, functions: Iterable[str]) -> None:
        """Begin the table with these functions."""
        self._rows = {name: Row(name) for name in functions}
        if self._rows and sys.stdout.isatty():
            from rich.live import Live

            live = Live(self._table(), refresh_per_second=8, transient=False)
            live.start()
            self._live = live

    def close(self) -> None:
        """End the live table; its last state stays on the screen."""
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
            self._live.stop()
            self._live = None

    def update(
        self,
        function: str,
        state: str,
        *,
        version: str | None = None,
        platform: str | None = None,
        pid: int | None = None,
        endpoint: str | None = None,
        ms: int | None = None,
        note: str | None = None,
    ) -> None:
        """Change what the row of `function` says; what is None stays."""
        row = self._rows.setdefault(function, Row(function))
        row.state = state
        if version is not None:
            row.version = version[:SHORT]
        row.platform = row.platform if platform is None else platform
        row.pid = row.pid if pid is None else pid
        row.endpoint = row.endpoint if endpoint is None else endpoint
        row.ms = row.ms if ms is None else ms
        row.note = row.note if note is None else note
        if self._live is not None:
            self._live.update(self._table())
        elif state in _FINAL:
            print(self._line(row), flush=True)

    def _line(self, row: Row) -> str:
        width = max(len(name) for name in self._rows)
        parts = [f"{row.function:{width}}  {row.version:{SHORT}}  {row.platform:5}  {row.state:9}"]
        if row.pid is not None:
            parts.append(f"pid {row.pid}")
        if row.ms is not None:
            parts.append(f"{row.ms} ms")
        parts += [text for text in (row.note, row.endpoint) if text]
        return "  ".join(parts).rstrip()

    def _table(self) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("function", no_wrap=True, overflow="fold")
        table.add_column("version", no_wrap=True)
        table.add_column("platform", no_wrap=True)
        table.add_column("state", no_wrap=True)
        table.add_column("pid", justify="right", no_wrap=True)
        table.add_column("ready in", justify="right", no_wrap=True)
        table.add_column("endpoint", overflow="fold")
        for row in self._rows.values():
            table.add_row(
                Text(row.function),
                row.version,
                row.platform,
                Text(f"{row.state} {row.note}".rstrip(), style=_STYLES.get(row.state, "")),
                "" if row.pid is None else str(row.pid),
                "" if row.ms is None else f"{row.ms} ms",
                Text(row.endpoint),
            )
        return table
