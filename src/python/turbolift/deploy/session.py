# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One run of the program on one deployment: its folder, its state, its platforms, its lock."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from turbolift.deploy import bundle as bundles
from turbolift.deploy.bundle import Bundle
from turbolift.deploy.files import private_dir
from turbolift.deploy.lock import exclusive
from turbolift.deploy.names import resolve
from turbolift.deploy.places import locate
from turbolift.deploy.platform import AppPlatform, Host, Platform, Reach, SharedPlatform, reach
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
    retire_after: float | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of the platform's places: ``context``, ``namespace`` ..."""


class Session:
    """A deployment on disk, and how to work on it."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.say = say
        self.bundle: Bundle | None = None
        if settings.bundle is not None:
            self.bundle = bundles.read(settings.bundle, platform=settings.platform)
        base = deployment_dir(settings.workspace, settings.deployment)
        releases = self.bundle.releases if self.bundle is not None else ()
        self.folder, self._place = locate(base, settings.platform, settings.options, releases)
        self.state = State(self.folder, settings.deployment)
        self._platforms: Platforms | None = None

    @property
    def store(self) -> Layout:
        """The images that the deployment keeps."""
        return open_store(private_dir(self.folder))

    def platforms(self) -> Platforms:
        """Return the platforms for this run."""
        if self._platforms is None:
            self._platforms = Platforms(self.host())
        return self._platforms

    def shared(self) -> tuple[Platform, SharedPlatform] | None:
        """Return the platform (twice, as either) if it is one whose state other machines change too."""
        if self._place is None:
            return None
        platform = self.platforms()["k8s"]
        assert isinstance(platform, SharedPlatform)
        return platform, platform

    def app_platform(self) -> AppPlatform | None:
        """Return the platform that runs the deployment's apps, if it is on one."""
        shared = self.shared()
        return shared[1] if shared is not None and isinstance(shared[1], AppPlatform) else None

    def placed(self) -> tuple[str, ...]:
        """Return the kind of a platform that is known without a folder of this machine, by its place."""
        return () if self._place is None else ("k8s",)

    def recall(self) -> None:
        """Take over what other machines have deployed since, from a platform that knows."""
        shared = self.shared()
        if shared is not None:
            self.state.restore(shared[1].recall())
            if self.state.exists():
                self.state.note_platform(shared[0].kind)

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
            self._place,
        )

    def reach(self, function: str) -> contextlib.AbstractContextManager[Reach]:
        """Give the endpoint of a function (an identity) as this machine reaches it."""
        if self._place is None:
            endpoint: str = self.state.table()["routes"][function]["endpoint"]
            return contextlib.nullcontext(Reach(endpoint))
        instance = self.state.current().serving[function].instance
        return reach(self.platforms()[instance.platform], instance)

    @contextlib.contextmanager
    def alone(self, command: str) -> Iterator[None]:
        """Hold the deployment's lock for the block."""
        # Others on this machine have no business in the state of a user.
        private_dir(self.folder)
        with exclusive(self.folder, command, wait=self.settings.wait, say=self.say):
            shared = self.shared()
            with shared[1].alone(command, self.settings.wait) if shared else contextlib.nullcontext():
                self.recall()
                yield

    def serving(self, given: str) -> tuple[Generation, Serving]:
        """Return the current generation, and what serves the function that `given` means. Raises DeployError."""
        current = self.state.current()
        return current, current.serving[resolve(given, current.serving)]
