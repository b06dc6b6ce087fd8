# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""``status`` and ``routes``: what serves now."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import sys
import time
from dataclasses import dataclass

from turbolift.deploy.http import request
from turbolift.deploy.platform import Health
from turbolift.deploy.session import Session
from turbolift.deploy.state import Serving
from turbolift.deploy.view import SHORT

_CALLS = re.compile(rb"^turbolift_calls_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Line:
    """One function: what serves it, how it fares, how many calls this process of it has answered (None: not
    known), and whether other machines call it without encryption (None: it is called from this machine alone).
    """

    serving: Serving
    health: Health
    calls: int | None
    plaintext: bool | None = None

    def json(self) -> dict[str, object]:
        """Return the object of ``status --json``."""
        release = self.serving.release
        return {
            "function": release.function,
            "version": release.version,
            "platform": release.platform,
            "ready": self.health.ready,
            "endpoint": self.serving.instance.endpoint,
            "image": release.image,
            "pid": self.health.pid,
            "restarts": self.health.restarts,
            "calls": self.calls,
            **({} if self.plaintext is None else {"plaintext": self.plaintext}),
            **({} if self.health.replicas is None else {"replicas": list(self.health.replicas)}),
        }


async def gather(session: Session) -> list[Line]:
    """Ask every function that is deployed, all at once."""
    serving = [one for _, one in sorted(session.state.current().serving.items())]
    platforms = session.platforms() if serving else None

    async def ask(one: Serving) -> Line:
        assert platforms is not None
        health = await platforms[one.instance.platform].health(one.instance)
        shared = platforms.shared(one.instance.platform)
        plaintext = None if shared is None else one.instance.endpoint.startswith("http://")
        if not health.ready:
            return Line(one, health, None, plaintext)
        if shared is not None:
            texts = await asyncio.to_thread(shared.scrape, one.instance)
            return Line(one, health, _sum(texts) if texts else None, plaintext)
        return Line(one, health, await asyncio.to_thread(_calls, one.instance.endpoint))

    return list(await asyncio.gather(*(ask(one) for one in serving)))


def show(session: Session, *, as_json: bool) -> None:
    """Print what is deployed: a table for people, or one JSON list."""
    lines = asyncio.run(gather(session))
    if as_json:
        print(json.dumps([line.json() for line in lines], indent=2, ensure_ascii=False))
    elif not lines:
        print(f"nothing is deployed as {session.settings.deployment!r}; './pants run deploy' does it")
    else:
        _print_table(lines)


def show_routes(session: Session) -> None:
    """Print the route table, and where it is on stderr."""
    table = session.state.table()
    session.say(f"{session.state.routes}")
    print(json.dumps(table, indent=2, ensure_ascii=False))


def _calls(endpoint: str) -> int | None:
    try:
        answer = request(endpoint, "GET", "/metrics", timeout=2.0)
    except (OSError, http.client.HTTPException):
        return None
    if answer.status != 200:
        return None
    return _sum([answer.body])


def _sum(texts: list[bytes]) -> int:
    return round(sum(float(value) for text in texts for value in _CALLS.findall(text)))


def _print_table(lines: list[Line]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Where nobody reads along, no column is cut to a terminal's width.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 400)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    pods = any(line.health.replicas is not None for line in lines)
    for name in ("function", "version", "platform", *(["image"] if pods else []), "state"):
        table.add_column(name, no_wrap=True, overflow="fold")
    for name in ("pods" if pods else "pid", "up", "calls", "restarts"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("endpoint", overflow="fold")
    for line in lines:
        release, health = line.serving.release, line.health
        state = "ready" if health.ready else health.note or "not ready"
        table.add_row(
            Text(release.function),
            release.version[:SHORT],
            release.platform,
            *([_short(release.image)] if pods else []),
            Text(state, style="green" if health.ready else "bold red"),
            _count(health),
            "" if health.since is None else _age(time.time() - health.since),
            "" if line.calls is None else str(line.calls),
            str(health.restarts),
            Text(line.serving.instance.endpoint + (" (plaintext)" if line.plaintext else "")),
        )
    console.print(table)


def _short(digest: str) -> str:
    """Return an image's digest as people compare it: with 12 of its digits, as Docker shows it."""
    kind, _, digits = digest.partition(":")
    return f"{kind}:{digits[:12]}"


def _count(health: Health) -> str:
    if health.replicas is not None:
        return f"{health.replicas[0]}/{health.replicas[1]}"
    return "" if health.pid is None else str(health.pid)


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
