# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The seam between a rollout and what runs functions: platforms implement it, the rollout knows nothing else
of them.

A platform of your own is a class that takes a `Host` and has the methods of `Platform`, announced by the
entry point group ``turbolift.platforms`` of your distribution::

    [project.entry-points."turbolift.platforms"]
    lambda = "acme.turbolift_lambda:LambdaPlatform"

The entry point's name is the kind: what ``describe()`` of the platform in the tag, ``platform=`` of the
deployment or ``--platform`` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable
from urllib.parse import urlsplit

from turbolift.client.addresses import MARK
from turbolift.client.transport import Tls
from turbolift.errors import DeployError
from turbolift.image.layout import Layout

DRAIN = 30.0
"""Seconds that a stopped instance has for its running calls at least, where the user says nothing."""


@dataclass(frozen=True, slots=True)
class Release:
    """One function at one version: all that a platform needs to run it.

    ``image`` is the digest of its manifest in the store, ``spec`` the whole function spec, ``platform`` the
    kind that was chosen for it.
    """

    function: str
    version: str
    image: str
    platform: str
    spec: dict[str, Any]

    @property
    def options(self) -> dict[str, Any]:
        """The options of the function's tag."""
        found: dict[str, Any] = self.spec["options"]
        return found

    @property
    def contract(self) -> str:
        """The digest of the function's contract."""
        found: str = self.spec["contract"]["digest"]
        return found


@dataclass(frozen=True, slots=True)
class App:
    """A program that calls functions, at one version.

    ``release`` has its identity as ``function``, and its app spec; ``pins`` are the releases that it calls.
    """

    release: Release
    pins: tuple[Release, ...]

    @property
    def is_job(self) -> bool:
        """Whether it runs once and ends."""
        return bool(self.release.spec["kind"] == "job")


@dataclass(frozen=True, slots=True)
class Instance:
    """A release that was started: ``id`` is the platform's own name for it, ``endpoint`` goes into the route
    table, and ``each``, if it has one: a name for each of its replicas.
    """

    id: str
    function: str
    version: str
    platform: str
    endpoint: str
    each: str = ""

    def way(self) -> dict[str, Any]:
        """Return the fields of a route that say where it is called."""
        way: dict[str, Any] = {"endpoint": self.endpoint}
        if self.each:
            way["replicas"] = [f"{self.each}{MARK}"]
            if self.endpoint.startswith("https://"):
                # Replicas have the certificate of the endpoint; callers of before there were such names are told so.
                way["server_name"] = urlsplit(self.endpoint).hostname or ""
        return way


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of an instance now. ``pid`` where it is a process here; ``since`` in seconds since 1970;
    ``replicas``: how many are ready, and of how many.
    """

    alive: bool
    ready: bool
    pid: int | None = None
    restarts: int = 0
    since: float | None = None
    note: str = ""
    replicas: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class AppHealth:
    """What is known of an app that is there. ``version`` and ``image`` are what was last applied, ``kind`` is
    ``deployment`` or ``job``; a job that has finished is ready.
    """

    app: str
    version: str
    image: str
    kind: str
    health: Health


@dataclass(frozen=True, slots=True)
class Removal:
    """Something that `prune` removes (or would): what it is, where, and its size in bytes."""

    what: str
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Host:
    """What a deployment gives its platforms.

    ``state`` is the deployment's own folder (0700), ``store`` the images (every blob in it verified),
    ``routes`` the path of the route table, ``say`` reports progress to a person (a line at a time), ``drain``
    is how many seconds an instance gets to finish its calls when it is stopped, if the user said so. ``place`` is
    where, for a platform that has places (`turbolift.deploy.places`).
    """

    workspace: Path
    deployment: str
    state: Path
    store: Layout
    routes: Path
    say: Callable[[str], None]
    drain: float | None
    place: object = None

    def drain_of(self, release: Release) -> float:
        """Return how many seconds an instance of `release` gets: as long as one call may take, unless told."""
        if self.drain is not None:
            return self.drain
        return max(DRAIN, release.options.get("timeout") or 0.0)


class Reach(NamedTuple):
    """How this machine calls an instance: the endpoint, and how it is secured."""

    endpoint: str
    tls: Tls | None = None


class StartError(DeployError):
    """An instance did not become ready.

    Attributes: ``function``, ``reason`` (one line: exit code, signal, timeout ...), ``log`` (its last lines).
    """

    def __init__(self, function: str, reason: str, *, log: Sequence[str] = (), advice: str = "") -> None:
        lines = "".join(f"\n    {line}" for line in log)
        shown = f"; its last lines:{lines}" if lines else ""
        super().__init__(
            f"{function}: {reason}{shown}" + (f"\n  {advice}" if advice else ""), function=function
        )
        self.reason = reason
        self.log = tuple(log)


class Platform(Protocol):
    """What runs functions. Made once a run, from a `Host`; every method may raise DeployError."""

    kind: str

    async def prepare(self, releases: Sequence[Release]) -> None:
        """Make ready what `releases` need before any of them starts: unpack, push, check permissions."""
        ...

    async def start(self, release: Release) -> Instance:
        """Start `release` beside whatever runs already, and return as soon as it is recorded durably.

        What was started must be listed by `instances` from then on, even if this program is killed the moment
        after.
        """
        ...

    async def wait_ready(self, instance: Instance, timeout: float) -> None:
        """Return when `instance` answers calls; raises StartError when it ended, or not within `timeout`
        seconds.
        """
        ...

    async def health(self, instance: Instance) -> Health:
        """Return what is known of `instance` now; never waits longer than a few seconds."""
        ...

    async def stop(self, instance: Instance) -> None:
        """Let `instance` finish its calls (see `Host.drain_of`), end it, and forget it. Idempotent."""
        ...

    def instances(self) -> list[Instance]:
        """Return all that this deployment has started here and not stopped, also what an interrupted run
        left.
        """
        ...

    def logs(self, instance: Instance, *, lines: int, follow: bool) -> Iterator[str]:
        """Yield the last `lines` lines of the function's output; with `follow`, then new ones as they come."""
        ...

    def prune(self, keep: Sequence[Release], *, dry_run: bool) -> list[Removal]:
        """Remove what no release in `keep` needs, and say what; with `dry_run` only say it."""
        ...

    def destroy(self) -> None:
        """Remove what the platform keeps outside of the deployment's state folder; nothing runs any more."""
        ...


@runtime_checkable
class TabledPlatform(Protocol):
    """What a platform has beside `Platform` whose instances call others by a route table of their own: this machine's
    endpoints are not theirs.
    """

    def follow(self, table: Mapping[str, Any], instances: Mapping[str, Instance]) -> None:
        """Give the instances here the route table `table`, whose functions `instances` serve. Called after each switch,
        before anything that is no longer routed is stopped, and at the start of a run. Idempotent.
        """
        ...


@runtime_checkable
class SharedPlatform(Protocol):
    """What a platform has beside `Platform` whose instances other machines see and call: a cluster.

    Its own state is the truth; the deployment's folder holds a copy. The id of an instance follows from its release:
    starting what runs already is nothing.
    """

    at_once: int
    """How many releases are started at the same time."""

    retire_after: float
    """Seconds from the switch until every caller has the new table, unless the user says otherwise."""

    def alone(self, command: str, wait: float) -> AbstractContextManager[None]:
        """See to it for a block that no other machine changes the deployment; wait `wait` seconds at most for one
        that does. Says first whether the deployment may be changed at all.
        """
        ...

    def recall(self) -> Mapping[str, bytes] | None:
        """Return the files of the deployment's state by name, as `publish` was given them; None: nothing is
        deployed.
        """
        ...

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Replace the state, and with it the table that callers follow, in one write. Raises DeployError where
        another run did so since `recall`.
        """
        ...

    def table(self) -> dict[str, Any] | None:
        """Return the route table that callers follow at this moment, or None where there is none."""
        ...

    def holds(self, release: Release) -> bool:
        """Return whether `release` can be started without its image being in the store."""
        ...

    async def tend(self, releases: Sequence[Release]) -> list[str]:
        """Renew what runs out with time, of what serves: certificates. Return what there is of them, line by line."""
        ...

    def stale(self, release: Release) -> bool:
        """Return whether what runs of `release` was made by other settings than those of now."""
        ...

    async def retire(self, instance: Instance) -> bool:
        """Stop `instance` if nobody calls it any more; return whether it was stopped."""
        ...

    def reach(self, instance: Instance) -> AbstractContextManager[Reach]:
        """Give an endpoint that this machine can call `instance` by."""
        ...

    def scrape(self, instance: Instance) -> list[bytes]:
        """Return the ``/metrics`` of each replica of `instance`."""
        ...

    def changes(self, wanted: Sequence[Release], gone: Sequence[Instance]) -> Iterator[str]:
        """Yield what a deploy of `wanted` would change, text by text; nothing is written."""
        ...

    def advice(self) -> list[str]:
        """Return lines that say how to call what is deployed."""
        ...


@runtime_checkable
class AppPlatform(Protocol):
    """What a shared platform has beside that runs apps."""

    async def roll_out_apps(
        self, apps: Sequence[App], bring: Callable[[Sequence[Release]], object], timeout: float
    ) -> list[str]:
        """Make exactly `apps` run, each with the functions that it is pinned to; return a line for each that was
        changed. `bring` is called with the releases whose images are needed. Functions that an app which still runs is
        pinned to are not retired. Raises StartError.
        """
        ...

    async def stop_apps(self) -> list[str]:
        """Stop all apps; return a line for each."""
        ...

    def app_changes(self, wanted: Sequence[App]) -> Iterator[str]:
        """Yield what a deploy would change of `wanted`, text by text; nothing is written."""
        ...

    def apps(self) -> list[AppHealth]:
        """Return the apps that are there, by name, and how they fare."""
        ...

    def app_logs(self, app: str, *, lines: int, follow: bool) -> Iterator[str]:
        """Yield the last `lines` lines of each pod of an app, whatever its version; with `follow`, then new ones."""
        ...


def reach(platform: Platform, instance: Instance) -> AbstractContextManager[Reach]:
    """Give an endpoint that this machine can call `instance` by: its own, or what a shared platform opens."""
    if isinstance(platform, SharedPlatform):
        return platform.reach(instance)
    return nullcontext(Reach(instance.endpoint))
