# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Reach the Docker engine that the user's ``docker`` command would reach, and say plainly why not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import docker
import docker.context
import docker.errors

from turbolift.errors import DeployError

DEFAULT = "unix:///var/run/docker.sock"
_TIMEOUT = 120
"""Seconds for one answer of the engine; it may unpack an image meanwhile."""


def host() -> str:
    """Return the engine's address: DOCKER_HOST, else that of the current context, else the default socket.

    Raises DeployError where it is no unix socket: a published port would be on the loopback of another
    machine.
    """
    found = os.environ.get("DOCKER_HOST") or _of_context() or DEFAULT
    if not found.startswith(("unix://", "http+unix://")):
        raise DeployError(
            f"platform docker needs an engine on this machine, and {found} (DOCKER_HOST or the current docker "
            "context) is elsewhere: functions are published on the engine's own loopback interface. Unset it, "
            "or use --platform k8s"
        )
    return found


def connect() -> docker.DockerClient:
    """Return a client of the engine, which has answered. Raises DeployError."""
    address = host()
    try:
        return docker.DockerClient(base_url=address, version="auto", timeout=_TIMEOUT)
    except (docker.errors.DockerException, OSError) as error:
        raise DeployError(
            f"no Docker engine answers at {address}: {_reason(error)}. Start it, let DOCKER_HOST name another "
            "socket, see to the permissions of this one, or use --platform local"
        ) from None


@contextmanager
def explained(what: str, function: str | None = None) -> Iterator[None]:
    """Turn what the engine refuses into DeployError: `what` is what was tried, as "cannot start x"."""
    try:
        yield
    # OSError: what the client's own transport raises.
    except (docker.errors.DockerException, OSError) as error:
        raise DeployError(
            f"{what}: the Docker engine says: {_reason(error)}", function=function or ""
        ) from error


def _of_context() -> str | None:
    try:
        current = docker.context.ContextAPI.get_current_context()
    except Exception as error:
        raise DeployError(f"the docker command's configuration cannot be read: {error}") from None
    found: str | None = current.Host if current is not None else None
    return found


def _reason(error: Exception) -> str:
    said = getattr(error, "explanation", None) or str(error)
    return " ".join(str(said).split())
