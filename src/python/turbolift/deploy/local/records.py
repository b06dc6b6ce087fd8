# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The records of what was started here: written before a process is spawned, removed after it has ended.

Files in ``processes/``: ``<id>.json`` (what to run), ``<id>.live`` (written by the supervisor: process ids
with start times, restarts, last exit), ``<id>.ready`` (the function has answered once: it is restarted if it
ends).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turbolift.deploy import files
from turbolift.deploy.local import process
from turbolift.deploy.platform import Instance

_ARRIVAL = 10.0
"""Seconds that a supervisor, once it holds its lock, may take to write who it is."""


@dataclass(frozen=True, slots=True)
class Live:
    """What a supervisor wrote: identities (``pid``, ``start``, ``boot``), and how its child fares."""

    supervisor: Mapping[str, Any]
    child: Mapping[str, Any] | None
    since: float
    restarts: int
    exit: Mapping[str, Any] | None

    def ended(self) -> str:
        """Say how the child ended last."""
        if self.exit is None:
            return "it has not ended"
        if "signal" in self.exit:
            name = self.exit["signal"]
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            return f"it was ended by {name}{hint}"
        return f"it ended with exit code {self.exit['code']}"


class Records:
    """The records of one deployment."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "processes"

    def path(self, id: str) -> Path:
        """Return the file of a record."""
        return self.folder / f"{id}.json"

    def write(self, instance: Instance, details: Mapping[str, Any]) -> Path:
        """Write the record of `instance` durably; `details` are what its supervisor needs."""
        files.private_dir(self.folder)
        identity = {
            "id": instance.id,
            "function": instance.function,
            "version": instance.version,
            "platform": instance.platform,
            "endpoint": instance.endpoint,
        }
        path = self.path(instance.id)
        files.write(path, json.dumps({"instance": identity, **details}, indent=1).encode())
        return path

    def all(self) -> list[Instance]:
        """Return the instances of all records. A record that cannot be read is left alone."""
        found = []
        for path in sorted(self.folder.glob("*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                found.append(Instance(**json.loads(path.read_text("utf-8"))["instance"]))
        return found

    def details(self, id: str) -> dict[str, Any] | None:
        """Return the whole record of an instance, None where there is none."""
        try:
            found: dict[str, Any] = json.loads(self.path(id).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found

    def live(self, id: str) -> Live | None:
        """Return what the supervisor wrote last, None where it has not (yet)."""
        try:
            return Live(**json.loads((self.folder / f"{id}.live").read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def confirm(self, id: str) -> None:
        """Say that the function has answered: from now on its supervisor restarts it."""
        (self.folder / f"{id}.ready").touch(mode=0o600)

    async def claim(self, id: str) -> Live | None:
        """Settle who a record belongs to, before it is removed: its live supervisor's `Live`, or nobody
        (None).

        Where nobody holds the record's lock, the record is removed while we do: a supervisor that a killed
        run has just spawned finds it gone and ends itself.
        """
        until = time.monotonic() + _ARRIVAL
        while True:
            live = self.live(id)
            if live is not None and process.is_alive(live.supervisor):
                return live
            try:
                with files.reading(self.path(id)) as fd:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self.path(id).unlink()
                    return live
            except FileNotFoundError:
                return live
            except BlockingIOError:
                # It lives and has not written who it is: in a moment it will.
                if time.monotonic() > until:
                    return live
                await asyncio.sleep(0.02)

    def forget(self, id: str) -> None:
        """Remove the record and what is beside it."""
        for suffix in ("json", "ready", "live", "live.part"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.folder / f"{id}.{suffix}")
