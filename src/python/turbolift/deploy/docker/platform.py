# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Implements `turbolift.deploy.platform.Platform` with containers. The engine is the record: what a container
is, its labels say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import docker.errors

from turbolift.deploy import files
from turbolift.deploy.docker.container import (
    KIND,
    LABEL,
    free_port,
    further_network,
    instance,
    network_name,
    owner,
    reference,
    settings,
    table_of,
    tables,
)
from turbolift.deploy.docker.engine import connect, explained
from turbolift.deploy.http import is_ready
from turbolift.deploy.local.logs import plain
from turbolift.deploy.platform import DRAIN, Health, Host, Instance, Release, Removal
from turbolift.deploy.waiting import until_ready
from turbolift.image.export import export

_LAST_LINES = 15
_KILL_AFTER = 5.0
"""Seconds that the engine waits longer than the shim for running calls before it kills."""
_TRIES = 5


class DockerPlatform:
    """Runs functions as containers of one engine."""

    kind = KIND

    def __init__(self, host: Host) -> None:
        self._host = host
        self._engine: Any = None

    async def prepare(self, releases: Sequence[Release]) -> None:
        """Load the images that the engine does not have yet, and make the network of the containers."""
        await asyncio.to_thread(self._make_network)
        for release in {one.image: one for one in releases}.values():
            await asyncio.to_thread(self._load, release)

    async def start(self, release: Release) -> Instance:
        """Create a container and start it; the engine lists it from its creation on."""
        return await asyncio.to_thread(self._start, release)

    async def wait_ready(self, instance: Instance, timeout: float) -> None:
        """Poll ``/readyz`` and the container; once it is ready, the engine starts it again whenever it ends."""

        def ended() -> str | None:
            state = self._state(instance)
            return None if state and state["Status"] in ("created", "running") else _ended(state)

        await until_ready(instance, timeout, ended=ended, tail=lambda: self._tail(instance))
        with explained(f"{instance.id} cannot be kept running", instance.function):
            await asyncio.to_thread(
                lambda: self._container(instance).update(restart_policy={"Name": "unless-stopped"})
            )

    async def health(self, instance: Instance) -> Health:
        """Ask the engine, and ``/readyz``."""
        attrs = await asyncio.to_thread(self._attrs, instance)
        if attrs is None:
            return Health(alive=False, ready=False, note="its container is gone: deploy again")
        state, restarts = attrs["State"], attrs["RestartCount"]
        if state["Status"] == "restarting":
            return Health(alive=True, ready=False, restarts=restarts, note=f"restarting: {_ended(state)}")
        if state["Status"] != "running":
            return Health(alive=False, ready=False, restarts=restarts, note=f"{_ended(state)}: deploy again")
        ready = await asyncio.to_thread(is_ready, instance.endpoint, timeout=5.0)
        return Health(
            alive=True,
            ready=ready,
            pid=state["Pid"] or None,
            restarts=restarts,
            since=_seconds(state["StartedAt"]),
            note="" if ready else "does not answer /readyz",
        )

    async def stop(self, instance: Instance) -> None:
        """Have the engine drain the container, and remove it."""

        def stop() -> None:
            with contextlib.suppress(docker.errors.NotFound):
                container = self._container(instance)
                container.stop(timeout=math.ceil(self._patience(container.labels)))
                container.remove(v=True, force=True)

        with explained(f"{instance.id} cannot be stopped", instance.function):
            await asyncio.to_thread(stop)

    def instances(self) -> list[Instance]:
        """Return the containers that carry this deployment's label, stopped ones too."""
        with explained("the containers cannot be listed"):
            found = self._client().containers.list(all=True, sparse=True, filters={"label": self._mine()})
        return [instance(one.attrs["Names"][0].removeprefix("/"), one.attrs["Labels"]) for one in found]

    def logs(self, instance: Instance, *, lines: int, follow: bool) -> Iterator[str]:
        """Yield lines of the container's output."""
        with explained(f"{instance.id} has no logs", instance.function):
            stream = self._container(instance).logs(stream=True, follow=follow, tail=lines)
            pending = b""
            for data in stream:
                *whole, pending = (pending + data).split(b"\n")
                yield from (plain(line.decode("utf-8", "replace")) for line in whole)
            if pending:
                yield plain(pending.decode("utf-8", "replace"))

    def prune(self, keep: Sequence[Release], *, dry_run: bool) -> list[Removal]:
        """Remove the images of releases that are not kept; layers that others share stay, and do not count."""
        kept = {reference(self._host.state, one) for one in keep}
        removed = []
        with explained("images cannot be removed"):
            mine = self._references()
            # `df` alone tells what of an image is its own; it is slow, so it is asked only when there is something.
            if mine.keys() <= kept:
                return []
            usage = {one["Id"]: one for one in self._client().df()["Images"] or []}
            for name in sorted(mine.keys() - kept):
                one = usage.get(mine[name], {})
                own = max(0, one.get("Size", 0) - max(0, one.get("SharedSize", 0)))
                removed.append(Removal("image", name, own))
                if not dry_run:
                    with contextlib.suppress(docker.errors.ImageNotFound):
                        self._client().images.remove(name)
        return removed

    def destroy(self) -> None:
        """Remove this deployment's images and its network."""
        with explained("images cannot be removed"):
            for name in self._references():
                with contextlib.suppress(docker.errors.ImageNotFound):
                    self._client().images.remove(name)
        with explained("the network cannot be removed"):
            for one in self._client().networks.list(filters={"label": self._mine()}):
                one.remove()

    def follow(self, table: Mapping[str, Any], instances: Mapping[str, Instance]) -> None:
        """Write the table that containers see."""
        path = self._tables() / "routes.json"
        text = (
            json.dumps(table_of(table, instances), sort_keys=True, indent=1, ensure_ascii=False).encode()
            + b"\n"
        )
        if not path.is_file() or path.read_bytes() != text:
            files.write(path, text, mode=0o644)

    def _tables(self) -> Path:
        folder = tables(self._host.state)
        # For the containers' user, whom nobody here knows; what is around it lets nobody else in.
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        return folder

    def _make_network(self) -> None:
        name = network_name(self._host.state)
        with explained(f"the network {name} cannot be made"):
            if not self._client().networks.list(names=[f"^{name}$"]):
                labels = {
                    f"{LABEL}.owner": owner(self._host.state),
                    f"{LABEL}.deployment": self._host.deployment,
                }
                self._client().networks.create(name, driver="bridge", labels=labels)

    def _client(self) -> Any:
        if self._engine is None:
            self._engine = connect()
        return self._engine

    def _mine(self) -> str:
        return f"{LABEL}.owner={owner(self._host.state)}"

    def _references(self) -> dict[str, str]:
        """Return name -> id of the images that this deployment has loaded."""
        prefix = f"turbolift/{owner(self._host.state)}/"
        return {
            tag: one.id
            for one in self._client().images.list(filters={"reference": f"{prefix}*"})
            for tag in one.tags
            if tag.startswith(prefix)
        }

    def _load(self, release: Release) -> None:
        image = self._host.store.image(release.image)
        name = reference(self._host.state, release)
        with explained(f"the image of {release.function} cannot be loaded", release.function):
            with contextlib.suppress(docker.errors.ImageNotFound):
                # The engine calls an image by the digest of its configuration.
                if self._client().images.get(name).id == image.manifest["config"]["digest"]:
                    return
            self._host.say(f"loading the image of {release.function} into the Docker engine")
            with tempfile.TemporaryDirectory(dir=self._host.state, prefix="load-") as folder:
                archive = Path(folder, "image.tar")
                export(self._host.store, release.image, name, archive)
                with archive.open("rb") as file:
                    self._client().images.load(file)

    def _start(self, release: Release) -> Instance:
        host = self._host
        config = host.store.image(release.image).config["config"]
        containers = self._client().containers
        further = further_network(release)
        self._tables()
        for attempt in range(_TRIES):
            wanted = settings(
                release,
                id=secrets.token_hex(3),
                state=host.state,
                deployment=host.deployment,
                workspace=host.workspace,
                grace=host.drain_of(release),
                port=free_port(),
                python=config["Entrypoint"][0],
            )
            with explained(f"{release.function} cannot be started", release.function):
                container = containers.create(**wanted)
                try:
                    if further is not None:
                        self._client().networks.get(further).connect(container)
                    container.start()
                except docker.errors.APIError as error:
                    container.remove(v=True, force=True)
                    # Somebody took the port between our look and the engine's.
                    if attempt + 1 < _TRIES and "already" in str(error.explanation):
                        continue
                    raise
            return instance(wanted["name"], wanted["labels"])
        raise AssertionError

    def _container(self, instance: Instance) -> Any:
        return self._client().containers.get(instance.id)

    def _attrs(self, instance: Instance) -> dict[str, Any] | None:
        with explained(f"{instance.id} cannot be inspected", instance.function):
            try:
                found: dict[str, Any] = self._container(instance).attrs
                return found
            except docker.errors.NotFound:
                return None

    def _state(self, instance: Instance) -> dict[str, Any] | None:
        attrs = self._attrs(instance)
        return None if attrs is None else attrs["State"]

    def _patience(self, labels: dict[str, str]) -> float:
        """Return the seconds after which the engine kills what still runs."""
        if self._host.drain is not None:
            return self._host.drain + _KILL_AFTER
        return float(labels.get(f"{LABEL}.grace", DRAIN)) + _KILL_AFTER

    def _tail(self, instance: Instance) -> list[str]:
        try:
            return list(self.logs(instance, lines=_LAST_LINES, follow=False))
        except Exception:
            return []


def _ended(state: dict[str, Any] | None) -> str:
    if state is None:
        return "its container is gone"
    if state.get("OOMKilled"):
        return "it was killed for want of memory: raise memory= of its tag"
    if state.get("Error"):
        return str(state["Error"])
    return f"it ended with exit code {state.get('ExitCode')}"


def _seconds(stamp: str) -> float | None:
    # Nanoseconds, which fromisoformat of CPython 3.11 takes, but the year 1 of a container that never ran is no time.
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except (ValueError, OverflowError):
        return None
