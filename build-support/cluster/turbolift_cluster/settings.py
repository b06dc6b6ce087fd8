# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Versions, folders, names and addresses of one cluster."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .errors import ClusterError
from .files import write

SUITE = "bookworm"
NODES = ("node-1", "node-2")
# The networks that a cluster may take: the first that no route of the machine touches.
_NETWORKS = [f"10.{octet}.0.0/16" for octet in range(211, 231)]


def cache_folder() -> Path:
    """Return the project's cache folder, where binaries, packages and the state of clusters are."""
    own = os.environ.get("TURBOLIFT_CACHE")
    base = (
        Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "turbolift"
    )
    return base.absolute() / "cluster"


@dataclass(frozen=True)
class Node:
    """One node: a set of namespaces with an address of its own."""

    name: str
    number: int
    address: str
    pods: str
    folder: Path

    @property
    def control(self) -> bool:
        """Whether the control plane and the registry run on this node."""
        return self.number == 1


@dataclass(frozen=True)
class Cluster:
    """One cluster by name. `network` (a /16) holds its nodes, its Services and its pods."""

    name: str
    network: str

    @property
    def state(self) -> Path:
        """The folder that holds everything of this cluster and is removed by `down`."""
        return cache_folder() / "state" / self.name

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "admin.kubeconfig"

    @property
    def context(self) -> str:
        """The context in the kubeconfig."""
        return f"turbolift-{self.name}"

    @property
    def prefix(self) -> str:
        """The start of the names of cgroups and network devices; short, since a device's name has at most 15 bytes."""
        return f"tl{self.network.split('.')[1]}"

    def _at(self, third: int, fourth: int) -> str:
        return f"{self.network.split('.')[0]}.{self.network.split('.')[1]}.{third}.{fourth}"

    @property
    def host(self) -> str:
        """The machine's own address on the cluster's network."""
        return self._at(0, 1)

    @property
    def services(self) -> str:
        """The addresses of Services."""
        return self._at(16, 0) + "/20"

    @property
    def api_service(self) -> str:
        """The address of the Service `kubernetes`."""
        return self._at(16, 1)

    @property
    def dns(self) -> str:
        """The address of the Service of CoreDNS."""
        return self._at(16, 10)

    @property
    def pods(self) -> str:
        """The addresses of pods; each node has a /24 of them."""
        return self._at(32, 0) + "/19"

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes; the first one is the control plane's and the gateway of the others."""
        return tuple(
            Node(name, n, self._at(0, 10 + n), self._at(32 + n, 0) + "/24", self.state / name)
            for n, name in enumerate(NODES, 1)
        )

    @property
    def control(self) -> Node:
        """The node of the control plane."""
        return self.nodes[0]

    @property
    def server(self) -> str:
        """The address of the API server, as pods, nodes and this machine reach it."""
        return f"https://{self.control.address}:6443"

    @property
    def registry(self) -> str:
        """host:port of the container registry, the same for pods, nodes and this machine. Plain HTTP."""
        return f"{self.control.address}:5000"


def find(name: str) -> Cluster | None:
    """Return the cluster of that name that an earlier `up` made, running or not; None when there is none."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", name):
        raise ClusterError(f"a cluster's name is at most 22 of a-z, 0-9 and `-`, not {name!r}")
    try:
        settings = json.loads((cache_folder() / "state" / name / "settings.json").read_text())
    except (OSError, ValueError):
        return None
    return Cluster(name, settings["network"])


def create(name: str) -> Cluster:
    """Return a cluster of that name with a free network, and record it in its state folder."""
    cluster = Cluster(name, _free_network())
    cluster.state.mkdir(parents=True, exist_ok=True)
    write(cluster.state / "settings.json", json.dumps({"network": cluster.network}) + "\n")
    return cluster


def _free_network() -> str:
    """Return a /16 that no route of the machine, and no other cluster, has an address of."""
    taken = []
    routes = json.loads(
        subprocess.run(
            ["ip", "-j", "-4", "route", "show", "table", "all"], check=True, capture_output=True
        ).stdout
    )
    for route in routes:
        try:
            taken.append(ipaddress.ip_network(route["dst"], strict=False))
        except ValueError:
            continue  # `default` overlaps everything and reserves nothing
    for other in (cache_folder() / "state").glob("*/settings.json"):
        taken.append(ipaddress.ip_network(json.loads(other.read_text())["network"]))
    for network in _NETWORKS:
        if not any(net.prefixlen and net.overlaps(ipaddress.ip_network(network)) for net in taken):
            return network
    raise ClusterError(
        f"each of {_NETWORKS[0]} to {_NETWORKS[-1]} overlaps a route of this machine: `ip route` lists them"
    )
