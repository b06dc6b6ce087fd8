# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One run of the program on one deployment: its folder, its state, its platforms, its lock."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from turbolift.deploy.files import private_dir
from turbolift.deploy.lock import exclusive
from turbolift.deploy.names import resolve
from turbolift.deploy.platform import Host
from turbolift.deploy.rollout import Platforms
from turbolift.deploy.state import Generation, Serving, State
from turbolift.deploy.store import open_store
from turbolift.image.layout import Layout
from turbolift.spec import deployment_dir


@dataclass(frozen=True, slots=True)
class Settings:
    """What every command may be given. Seconds: ``wait`` for another run, ``ready_timeout`` for a start,
    ``drain`` for a stop."""

    workspace: Path
    deployment: str
    bundle: Path | None = None
    platform: str | None = None
    wait: float = 60.0
    ready_timeout: float = 60.0
    drain: float | None = None
    retire_after: float = 1.0


class Session:
    """A deployment on disk, and how to work on it."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.say = say
        self.folder = deployment_dir(settings.workspace, settings.deployment)
        self.state = State(self.folder, settings.deployment)

    @property
    def store(self) -> Layout:
        """The images that the deployment keeps."""
        return open_store(private_dir(self.folder))

    def platforms(self) -> Platforms:
        """Return the platforms for this run."""
        return Platforms(self.host())

    def host(self) -> Host:
        """Return what the deployment gives its platforms."""
        settings = self.settings
        return Host(
            settings.workspace,
            settings.deployment,
            self.folder,
            self.store,
            self.state.routes,
            self.say,
            settings.drain,
        )

    @contextlib.contextmanager
    def alone(self, command: str) -> Iterator[None]:
        """Hold the deployment's lock for the block."""
        # Others on this machine have no business in the state of a user.
        private_dir(self.folder)
        with exclusive(self.folder, command, wait=self.settings.wait, say=self.say):
            yield

    def serving(self, given: str) -> tuple[Generation, Serving]:
        """Return the current generation, and what serves the function that `given` means. Raises DeployError."""
        current = self.state.current()
        return current, current.serving[resolve(given, current.serving)]
