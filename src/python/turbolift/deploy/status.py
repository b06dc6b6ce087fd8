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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turbolift.deploy.http import request
from turbolift.deploy.names import resolve
from turbolift.deploy.platform import AppHealth, Health
from turbolift.deploy.session import Session
from turbolift.deploy.state import Serving
from turbolift.deploy.view import SHORT

if TYPE_CHECKING:
    from rich.table import Table

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
    """Print what is deployed: tables for people, or one JSON list, functions first."""
    lines = asyncio.run(gather(session))
    platform = session.app_platform()
    apps = platform.apps() if platform is not None else []
    if as_json:
        found = [*(line.json() for line in lines), *(_app_json(one) for one in apps)]
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif not lines and not apps:
        print(f"nothing is deployed as {session.settings.deployment!r}; './pants run deploy' does it")
    else:
        if lines:
            _print_table(lines)
        if apps:
            _print_apps(apps)


def _app_json(one: AppHealth) -> dict[str, object]:
    health = one.health
    return {
        "app": one.app,
        "kind": one.kind,
        "version": one.version,
        "ready": health.ready,
        "state": _state(health),
        "image": one.image,
        "restarts": health.restarts,
        "replicas": list(health.replicas or (0, 0)),
    }


def output(session: Session, given: str, *, lines: int, follow: bool) -> Iterator[str]:
    """Return the output of the function or app that `given` means. Raises DeployError where there is none."""
    serving = session.state.current().serving
    platform = session.app_platform()
    apps = {one.app for one in platform.apps()} if platform is not None else set()
    name = resolve(given, {*serving, *apps})
    if name in serving:
        instance = serving[name].instance
        return session.platforms()[instance.platform].logs(instance, lines=lines, follow=follow)
    assert platform is not None
    return platform.app_logs(name, lines=lines, follow=follow)


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


def _state(health: Health) -> str:
    return health.note or ("ready" if health.ready else "not ready")


def _table(texts: Sequence[str], figures: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in texts:
        table.add_column(name, no_wrap=True, overflow="fold")
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _print(table: Table) -> None:
    from rich.console import Console

    # Where nobody reads along, no column is cut to a terminal's width.
    Console(highlight=False, width=None if sys.stdout.isatty() else 400).print(table)


def _print_apps(apps: list[AppHealth]) -> None:
    from rich.text import Text

    table = _table(("app", "version", "kind", "image", "state"), ("pods", "up", "restarts"))
    for one in apps:
        health = one.health
        table.add_row(
            Text(one.app),
            one.version[:SHORT],
            one.kind,
            _short(one.image),
            Text(_state(health), style="green" if health.ready else "bold red"),
            _count(health),
            "" if health.since is None else _age(time.time() - health.since),
            str(health.restarts),
        )
    _print(table)


def _print_table(lines: list[Line]) -> None:
    from rich.text import Text

    pods = any(line.health.replicas is not None for line in lines)
    table = _table(
        ("function", "version", "platform", *(["image"] if pods else []), "state"),
        ("pods" if pods else "pid", "up", "calls", "restarts"),
    )
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
    _print(table)


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
