# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Implements `turbolift.deploy.platform.Platform` with processes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import json
import os
import platform
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from turbolift.deploy import files
from turbolift.deploy.http import is_ready
from turbolift.deploy.local import command, process, supervise
from turbolift.deploy.local.layers import Layers, split, used_elsewhere
from turbolift.deploy.local.logs import log_path, read_log, tail
from turbolift.deploy.local.records import Records
from turbolift.deploy.local.sockets import socket_dir, where
from turbolift.deploy.platform import DRAIN, Health, Host, Instance, Release, Removal, StartError
from turbolift.deploy.waiting import until_ready
from turbolift.errors import DeployError
from turbolift.image.layout import Image

KIND = "local"

_LAST_LINES = 15
_KILL_AFTER = 5.0
"""Seconds that the supervisor, and then we, wait longer than the one below before the process is killed."""

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class LocalPlatform:
    """Runs functions as supervised processes of this machine."""

    kind = KIND

    def __init__(self, host: Host) -> None:
        self._host = host
        self._records = Records(host.state)
        self._layers = Layers(host.say)

    async def prepare(self, releases: Sequence[Release]) -> None:
        """Unpack the layers that are not there yet, and note that this deployment uses them."""
        if sys.platform != "linux":
            raise DeployError(
                f"platform local runs the Linux programs of an image, and this machine has {sys.platform}: "
                "use another platform here"
            )
        self._layers.hold()
        for release in releases:
            image = self._host.store.image(release.image)
            _check_machine(release, image)
            # Noted first: whoever prunes must not take away what is about to be started from.
            self._note_use(release.image, split(image).names())
            await asyncio.to_thread(self._layers.unpack, self._host.store, image)

    async def start(self, release: Release) -> Instance:
        """Spawn the supervisor of a new process; returns once the supervisor has written who it is."""
        host = self._host
        image = host.store.image(release.image)
        id = secrets.token_hex(6)
        socket = socket_dir(host.state) / f"{id}.sock"
        instance = Instance(id, release.function, release.version, self.kind, f"unix://{socket}")
        home = self._home()
        drain = host.drain_of(release)
        log = log_path(host.state, release.function, release.version)
        files.private_dir(log.parent)
        argv, env = self._command(release, image, ["--uds", str(socket)], home)
        record = self._records.write(
            instance,
            {
                "argv": argv,
                "env": env,
                "cwd": str(home),
                "log": str(log),
                "socket": str(socket),
                "grace": drain + _KILL_AFTER,
            },
        )
        rootfs = self._layers.path(split(image).base_name)
        argv, env = command.supervisor_command(rootfs, self._program(), record, image)
        try:
            pid = _spawn(argv, env, log)
        except OSError as error:
            self._records.forget(id)
            raise StartError(
                release.function,
                f"the base image's Python cannot be started here: {error.strerror}: {argv[0]}",
            ) from None
        while self._records.live(id) is None:
            process.reap(pid)
            if process.start_time(pid) is None:
                self._records.forget(id)
                raise StartError(release.function, "its supervisor ended at once", log=tail(log, _LAST_LINES))
            await asyncio.sleep(0.01)
        return instance

    async def wait_ready(self, instance: Instance, timeout: float) -> None:
        """Poll ``/readyz``; an end of the process is noticed within a poll."""

        def ended() -> str | None:
            live = self._records.live(instance.id)
            if live is None:
                return "its record is gone"
            return live.ended() if live.exit is not None or not process.is_alive(live.supervisor) else None

        await until_ready(instance, timeout, ended=ended, tail=lambda: self._tail(instance))
        self._records.confirm(instance.id)

    async def health(self, instance: Instance) -> Health:
        """Read what the supervisor wrote, and ask ``/readyz``."""
        live = self._records.live(instance.id)
        if live is None or not process.is_alive(live.supervisor):
            return Health(alive=False, ready=False, note="its supervisor is gone: deploy again")
        if live.child is None or not process.is_alive(live.child):
            return Health(alive=True, ready=False, restarts=live.restarts, note=f"restarting: {live.ended()}")
        ready = await asyncio.to_thread(is_ready, instance.endpoint, timeout=5.0)
        return Health(
            alive=True,
            ready=ready,
            pid=live.child["pid"],
            restarts=live.restarts,
            since=live.since,
            note="" if ready else "does not answer /readyz",
        )

    async def stop(self, instance: Instance) -> None:
        """Have the supervisor drain the process; what is left after the grace time is killed."""
        live = await self._records.claim(instance.id)
        if live is not None:
            grace = self._patience(instance)
            await process.end(live.supervisor, grace=grace)
            # Read again: the child that matters is the last one.
            last = self._records.live(instance.id) or live
            await process.end(last.child, grace=grace, group=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(instance.endpoint.removeprefix("unix://"))
        self._records.forget(instance.id)

    def instances(self) -> list[Instance]:
        """Return all that is recorded."""
        return self._records.all()

    def logs(self, instance: Instance, *, lines: int, follow: bool) -> Iterator[str]:
        """Yield lines of the log of the instance's version."""
        path = log_path(self._host.state, instance.function, instance.version)
        return read_log(path, lines=lines, follow=follow)

    def prune(self, keep: Sequence[Release], *, dry_run: bool) -> list[Removal]:
        """Remove logs of versions that are not kept, and layers that no deployment uses."""
        state = self._host.state
        logs = {log_path(state, one.function, one.version) for one in keep}
        removed = []
        for path in sorted((state / "logs").glob("*/*")):
            if path not in logs and path.with_suffix("") not in logs:
                removed.append(Removal("log", str(path), files.size_of(path)))
                if not dry_run:
                    files.remove(path)
                    with contextlib.suppress(OSError):
                        path.parent.rmdir()
        images = {one.image.removeprefix("sha256:") for one in keep}
        used = used_elsewhere(state)
        for path in (state / "layers-used").glob("*.json"):
            if path.stem in images:
                used.update(json.loads(path.read_text("utf-8")))
            elif not dry_run:
                files.remove(path)
        removed += self._layers.prune(used, dry_run=dry_run)
        for path in state.glob("supervise-*.py"):
            # A supervisor that runs has read its file.
            if path.name != _program_name() and not dry_run:
                files.remove(path)
        return removed

    def destroy(self) -> None:
        """Remove the folder of the sockets, and the layers that no other deployment uses."""
        folder = where(self._host.state)
        if folder.is_dir():
            files.remove(folder)
            with contextlib.suppress(OSError):
                folder.parent.rmdir()
        self._layers.release()
        self._layers.prune(used_elsewhere(self._host.state), dry_run=False)

    def foreground(self, release: Release, listen: Sequence[str]) -> tuple[list[str], dict[str, str], Path]:
        """Return (argv, environment, working folder) that serve `release`, which was prepared, in the
        foreground and recorded nowhere.
        """
        home = self._home()
        argv, env = self._command(release, self._host.store.image(release.image), listen, home)
        return argv, env, home

    def _command(
        self, release: Release, image: Image, listen: Sequence[str], home: Path
    ) -> tuple[list[str], dict[str, str]]:
        parts = split(image)
        return command.function_command(
            self._layers.path(parts.base_name),
            [self._layers.path(name) for name in parts.names()[1:]],
            image,
            listen=listen,
            home=home,
            env={
                **release.options.get("env", {}),
                "TURBOLIFT": "on",
                "TURBOLIFT_ROUTES": str(self._host.routes),
                "TURBOLIFT_VERSION": release.version,
                "TURBOLIFT_GRACE": f"{self._host.drain_of(release):g}",
            },
        )

    def _patience(self, instance: Instance) -> float:
        """Return the seconds after which the supervisor itself is killed: it kills its child before."""
        if self._host.drain is not None:
            return self._host.drain + _KILL_AFTER
        details = self._records.details(instance.id) or {}
        return float(details.get("grace", DRAIN)) + _KILL_AFTER

    def _tail(self, instance: Instance) -> list[str]:
        return tail(log_path(self._host.state, instance.function, instance.version), _LAST_LINES)

    def _home(self) -> Path:
        """Return the current and home folder of functions: empty, and not to be written to, as in the image."""
        home = self._host.state / "home"
        home.mkdir(mode=0o500, exist_ok=True)
        return home

    def _program(self) -> Path:
        """Return a copy of the supervisor that stays: where this program lies may vanish with a cache."""
        path = self._host.state / _program_name()
        if not path.is_file():
            files.write(path, _program_text())
        return path

    def _note_use(self, image: str, names: list[str]) -> None:
        folder = files.private_dir(self._host.state / "layers-used")
        path = folder / f"{image.removeprefix('sha256:')}.json"
        if not path.is_file():
            files.write(path, json.dumps(names).encode())


def _program_text() -> bytes:
    return inspect.getsource(supervise).encode()


def _program_name() -> str:
    return f"supervise-{hashlib.sha256(_program_text()).hexdigest()[:12]}.py"


def _check_machine(release: Release, image: Image) -> None:
    """Raise DeployError where the image is for another kind of processor."""
    here = _MACHINES.get(platform.machine(), platform.machine())
    there = image.config.get("architecture", here)
    if there != here:
        raise DeployError(
            f"{release.function}: its image is for {there}, and this machine is {here}: package it on a base "
            "for this machine, or use another platform",
            function=release.function,
        )


def _spawn(argv: list[str], env: dict[str, str], log: Path) -> int:
    """Start `argv` in a session of its own, its output to `log`; return its process id. Raises OSError."""
    return os.posix_spawn(
        argv[0],
        argv,
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGINT, signal.SIGPIPE, signal.SIGHUP),
    )
