# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The ``forward`` command: functions in a cluster are callable from here, and calls follow what is rolled out there."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from turbolift.client.routes import TLS_FOLDER
from turbolift.deploy import files
from turbolift.deploy.platform import Instance, Platform, Reach, SharedPlatform, reach
from turbolift.deploy.session import Session
from turbolift.errors import ConfigurationError, DeployError, TurboliftError

LOOK = 1.0
"""Seconds between two looks at the deployment's table."""

KEEP = 30.0
"""Seconds that the way to a version stays open after the table has named another: calls may be on it."""


class LiveTable:
    """A route table on this machine whose endpoints lead to what serves in the cluster.

    `update` is given the cluster's own table; the file `path` is replaced once the ways to all versions are open.
    """

    def __init__(
        self,
        path: Path,
        way: Callable[[str, Mapping[str, Any]], contextlib.AbstractContextManager[Reach]],
        *,
        keep: float = KEEP,
    ) -> None:
        """`way` gives how to reach a function (an identity) and its route in the cluster's table."""
        self.path = path
        self._way = way
        self._keep = keep
        self._open: dict[tuple[str, str], tuple[contextlib.ExitStack, Reach]] = {}
        self._old: list[tuple[float, contextlib.ExitStack]] = []
        self._table: dict[str, Any] = {}

    def update(self, table: dict[str, Any]) -> None:
        """Follow `table`."""
        now = time.monotonic()
        for ended, stack in [one for one in self._old if one[0] + self._keep <= now]:
            self._old.remove((ended, stack))
            stack.close()
        if table == self._table:
            return
        wanted = {(function, route["version"]): route for function, route in table["routes"].items()}
        for key, route in wanted.items():
            if key not in self._open:
                stack = contextlib.ExitStack()
                self._open[key] = (stack, stack.enter_context(self._way(key[0], route)))
        routes = {}
        for key, route in wanted.items():
            way = self._open[key][1]
            # The pods themselves cannot be reached from here.
            routes[key[0]] = {**route, "endpoint": way.endpoint}
            routes[key[0]].pop("replicas", None)
            if way.tls is not None:
                routes[key[0]]["server_name"] = way.tls.server_name
                # One caller's certificate for all: callers look for it beside the table.
                shutil.copytree(way.tls.folder, self.path.parent / TLS_FOLDER, dirs_exist_ok=True)
        files.write(self.path, json.dumps({**table, "routes": routes}, indent=1).encode())
        self._table = table
        for key in self._open.keys() - wanted.keys():
            self._old.append((now, self._open.pop(key)[0]))

    def close(self) -> None:
        """Close all ways."""
        for stack in (*(stack for _, stack in self._old), *(stack for stack, _ in self._open.values())):
            stack.close()


def forward(session: Session, command: Sequence[str]) -> int:
    """Make the deployment's functions callable from here; return the exit code of `command`."""
    shared = session.shared()
    if shared is None:
        raise ConfigurationError("forward is for functions in a cluster: add --platform k8s")
    table = session.state.table() if session.state.exists() else {"routes": {}}
    if not table["routes"]:
        raise DeployError(f"nothing is deployed as {session.settings.deployment!r} there")
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="turbolift-routes-")))
        live = LiveTable(folder / "routes.json", lambda *route: _way(shared[0], *route))
        opened.callback(live.close)
        live.update(table)
        opened.enter_context(_following(shared[1], live))
        if command:
            env = {**os.environ, "TURBOLIFT": "on", "TURBOLIFT_ROUTES": str(live.path)}
            try:
                return subprocess.run(list(command), env=env, check=False).returncode
            except FileNotFoundError:
                raise ConfigurationError(f"forward: there is no program {command[0]!r}") from None
        print(f"TURBOLIFT=on TURBOLIFT_ROUTES={shlex.quote(str(live.path))} COMMAND", flush=True)
        session.say("forwarding until Ctrl-C; the table follows what is deployed")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


def _way(
    platform: Platform, function: str, route: Mapping[str, Any]
) -> contextlib.AbstractContextManager[Reach]:
    """Open the way to what a route of the cluster's table names; its endpoint says which."""
    return reach(
        platform, Instance(route["endpoint"], function, route["version"], platform.kind, route["endpoint"])
    )


@contextlib.contextmanager
def _following(shared: SharedPlatform, live: LiveTable) -> Iterator[None]:
    """Keep `live` up to date while the block runs; while the cluster cannot be asked, it stays as it is."""
    end = threading.Event()

    def follow() -> None:
        while not end.wait(LOOK):
            with contextlib.suppress(TurboliftError, OSError, KeyError, ValueError):
                # Asked of the cluster itself: the state on this machine belongs to who holds its lock.
                table = shared.table()
                if table is not None:
                    live.update(table)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(timeout=5)
