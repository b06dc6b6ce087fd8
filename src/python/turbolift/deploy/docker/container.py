# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What is asked of the engine for one function: names, labels, limits, and nothing allowed that is not needed."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from turbolift.deploy.names import slug
from turbolift.deploy.platform import Instance, Release

KIND = "docker"
PORT = 8080
LABEL = "dev.turbolift"
FOLDER = "/etc/turbolift"
"""Where a container finds the route table that it follows."""
_UNITS = ["", *"kmgtpe"]
_SECOND = 1_000_000_000
"""Nanoseconds: the unit of the engine's durations, and of its CPU quota."""

# Asked by the image's own Python without site-packages: 20 ms every 15 s.
_PROBE = (
    "import http.client as h; c = h.HTTPConnection('127.0.0.1', {port}, timeout=5); c.request('GET', '/healthz'); "
    "exit(c.getresponse().status != 200)"
)


def owner(state: Path) -> str:
    """Return what tells this deployment's objects from all others of an engine: 8 hex digits."""
    return hashlib.sha256(str(state).encode()).hexdigest()[:8]


def reference(state: Path, release: Release) -> str:
    """Return the name that a release's image has in the engine."""
    return f"turbolift/{owner(state)}/{slug(release.function)}:{release.image[7:19]}"


def network_name(state: Path) -> str:
    """Return the name of the network on which this deployment's containers call each other, by their names."""
    return f"turbolift-{owner(state)}"


def tables(state: Path) -> Path:
    """Return the folder that each of this deployment's containers sees as ``FOLDER``."""
    return state / "docker"


def table_of(table: Mapping[str, Any], instances: Mapping[str, Instance]) -> dict[str, Any]:
    """Return the route table of containers: of what runs in a container too, at its own name's port."""
    routes = {
        name: {**route, "endpoint": f"http://{instances[name].id}:{PORT}"}
        for name, route in table["routes"].items()
        if name in instances and instances[name].platform == KIND
    }
    return {**table, "platform": KIND, "routes": routes}


def bytes_of(memory: str) -> int:
    """Return the bytes of a quantity of a tag, as ``256Mi``."""
    digits = memory.rstrip("KMGTPEki")
    unit = memory[len(digits) :]
    step = 1024 if unit.endswith("i") else 1000
    return int(digits) * int(step ** _UNITS.index(unit.removesuffix("i").lower()))


def nano_cpus(cpu: str) -> int:
    """Return the CPU quota of a quantity of a tag, as ``500m`` or ``0.5``, in billionths of a core."""
    thousandths = Decimal(cpu.removesuffix("m")) * (1 if cpu.endswith("m") else 1000)
    return int(thousandths * (_SECOND // 1000))


def free_port() -> int:
    """Return a port of the loopback interface that is free now.

    Chosen here, once: the engine would choose another one each time that it starts the container again.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def settings(
    release: Release,
    *,
    id: str,
    state: Path,
    deployment: str,
    workspace: Path,
    grace: float,
    port: int,
    python: str,
) -> dict[str, Any]:
    """Return the keyword arguments of ``containers.create`` for a release."""
    options = release.options
    wanted: dict[str, Any] = {
        "image": reference(state, release),
        "name": f"turbolift-{owner(state)}-{slug(release.function)}-{id}",
        "labels": {
            f"{LABEL}.owner": owner(state),
            f"{LABEL}.deployment": deployment,
            f"{LABEL}.workspace": str(workspace),
            f"{LABEL}.function": release.function,
            f"{LABEL}.version": release.version,
            f"{LABEL}.image": release.image,
            f"{LABEL}.endpoint": f"http://127.0.0.1:{port}",
            f"{LABEL}.grace": f"{grace:g}",
        },
        "environment": {
            **options.get("env", {}),
            "TURBOLIFT": "on",
            "TURBOLIFT_ROUTES": f"{FOLDER}/routes.json",
            "TURBOLIFT_VERSION": release.version,
            "TURBOLIFT_GRACE": f"{grace:g}",
        },
        "ports": {f"{PORT}/tcp": ("127.0.0.1", port)},
        "read_only": True,
        "tmpfs": {"/tmp": "mode=1777"},
        # The folder, not the file: a table is replaced, never written to.
        "volumes": {str(tables(state)): {"bind": FOLDER, "mode": "ro"}},
        "network": network_name(state),
        "user": "65532:65532",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": 4096,
        "healthcheck": {
            "test": ["CMD", python, "-S", "-c", _PROBE.format(port=PORT)],
            "interval": 15 * _SECOND,
            "timeout": 10 * _SECOND,
            "start_period": 60 * _SECOND,
            "retries": 3,
        },
        "log_config": {"Type": "json-file", "Config": {"max-size": "8m", "max-file": "2"}},
    }
    if options.get("memory"):
        limit = bytes_of(options["memory"])
        # Without swap: what is over the limit is killed, here as in a cluster.
        wanted |= {"mem_limit": limit, "memswap_limit": limit}
    if options.get("cpu"):
        wanted["nano_cpus"] = nano_cpus(options["cpu"])
    return wanted


def further_network(release: Release) -> str | None:
    """Return the network of the user's own that the tag names, or None."""
    found: str | None = release.spec.get("platform", {}).get("network")
    return found


def instance(name: str, labels: Mapping[str, str]) -> Instance:
    """Return what a container's labels say it is."""
    return Instance(
        name, labels[f"{LABEL}.function"], labels[f"{LABEL}.version"], KIND, labels[f"{LABEL}.endpoint"]
    )
