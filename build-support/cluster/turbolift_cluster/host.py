# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""This machine's side of a cluster: namespaces, links, routes and cgroups; made by `up`, gone after `down`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from .errors import ClusterError
from .files import record_process, recorded_process, run, system_path, write
from .processes import OURSELVES
from .settings import Cluster, Node

_NEEDED = {"ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux", "openssl": "openssl"}
_SECONDS_TO_ENTER = 20.0
_SECONDS_TO_END = 20.0
_UNREACHABLE = "4000"


def check() -> None:
    """Raise ClusterError, with all that is missing, where a cluster cannot run on this machine."""
    problems = []
    if sys.platform != "linux":
        problems.append(f"it runs on Linux, and this is {sys.platform}")
    elif os.geteuid() != 0:
        problems.append("it needs root (namespaces, mounts, routes), and you are not: use sudo")
    missing = {package for name, package in _NEEDED.items() if shutil.which(name, path=system_path()) is None}
    if missing:
        problems.append(f"programs are missing: apt-get install {' '.join(sorted(missing))}")
    elif not problems:
        tried = subprocess.run(
            ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "true"],
            capture_output=True,
            text=True,
        )
        if tried.returncode:
            problems.append(f"this machine does not let root make namespaces: {tried.stderr.strip()}")
    if problems:
        raise ClusterError("no test cluster on this machine: " + "; ".join(problems))


def start(node: Node) -> None:
    """Start a node's first process in new namespaces; its specification is in `spec.json` in the node's folder."""
    command = [
        "unshare",
        "--mount",
        "--uts",
        "--ipc",
        "--net",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--propagation=private",
    ]
    command += [*OURSELVES, "_node", str(node.folder / "spec.json")]
    with open(node.folder / "init.log", "ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    record_process(node.folder / "process", process.pid)


def wait_entered(node: Node) -> int:
    """Wait until a node's first process has its namespaces; returns its pid. Raises ClusterError when it ends first."""
    end = time.monotonic() + _SECONDS_TO_ENTER
    while not (node.folder / "entered").exists():
        if not alive(node) or time.monotonic() > end:
            raise ClusterError(
                f"{node.name} did not start:\n{(node.folder / 'init.log').read_text()[-3000:]}"
            )
        time.sleep(0.01)
    pid = recorded_process(node.folder / "init")
    if pid is None:
        raise ClusterError(
            f"{node.name} ended while it started:\n{(node.folder / 'init.log').read_text()[-3000:]}"
        )
    return pid


def alive(node: Node) -> bool:
    """Whether the node that we started runs."""
    return recorded_process(node.folder / "process") is not None


def inside(node: Node, *command: str) -> list[str]:
    """Return the command line that runs a program in a node's namespaces. Raises ClusterError when the node does not run."""
    pid = recorded_process(node.folder / "init")
    if pid is None:
        raise ClusterError(f"{node.name} does not run: `cluster up` starts it")
    return ["nsenter", "-t", str(pid), "-m", "-u", "-i", "-n", "-p", *command]


def connect(cluster: Cluster, pids: dict[str, int]) -> None:
    """Join this machine and the nodes: one link from here to the first node, and one from there to each other node.

    There is no bridge on this machine and nothing is forwarded by it, so its firewall and its sysctls stay as they are. The first
    node is the gateway. Addresses of the cluster that nobody has are unreachable instead of leaving by the default route.
    """
    env = {**os.environ, "PATH": system_path()}
    first = cluster.control

    def ip(*words: str, pid: int | None = None) -> None:
        prefix = ["nsenter", "-t", str(pid), "-n"] if pid else []
        run(*prefix, "ip", *words, env=env)

    def end(pid: int | None, device: str, own: str, peer: str) -> None:
        ip("address", "add", own, "peer", peer, "dev", device, pid=pid)
        ip("link", "set", device, "up", pid=pid)

    gateway = pids[first.name]
    for pid in pids.values():
        ip("link", "set", "lo", "up", pid=pid)
        ip("route", "add", "unreachable", "default", "metric", _UNREACHABLE, pid=pid)
    device = _device(cluster)
    ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", str(gateway))
    end(None, device, cluster.host, first.address)
    end(gateway, "eth0", first.address, cluster.host)
    ip("route", "replace", cluster.network, "via", first.address, "dev", device)
    ip("route", "replace", "unreachable", cluster.network, "metric", _UNREACHABLE)
    # Addresses of Services are rewritten on their way out, which takes a route: an empty bridge, where what is not rewritten ends.
    ip("link", "add", "services", "type", "bridge", pid=gateway)
    ip("link", "set", "services", "up", pid=gateway)
    ip("route", "add", cluster.services, "dev", "services", "src", first.address, pid=gateway)
    for node in cluster.nodes[1:]:
        other = pids[node.name]
        ip(
            "link",
            "add",
            node.name,
            "netns",
            str(gateway),
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            str(other),
        )
        end(gateway, node.name, first.address, node.address)
        end(other, "eth0", node.address, first.address)
        ip("route", "add", cluster.network, "via", first.address, "dev", "eth0", pid=other)
        ip("route", "add", node.pods, "via", node.address, "dev", node.name, pid=gateway)
    for node in cluster.nodes:
        write(node.folder / "network", "")


def join_cgroups(cluster: Cluster, node: Node, pid: int) -> None:
    """Put a node's first process, and so all that it starts, into cgroups of its own, where its pods' will be too."""
    for mount, controllers in _hierarchies():
        parent, own = mount / cluster.prefix, mount / cluster.prefix / node.name
        system = own / "system"
        for folder in (parent, own, system):
            folder.mkdir(exist_ok=True)
            for name in (
                "cpuset.cpus",
                "cpuset.mems",
            ):  # on the old hierarchy a new cpuset is empty, and takes no process
                if "cpuset" in controllers and not (folder / name).read_text().strip():
                    (folder / name).write_text((folder.parent / name).read_text())
        if "cgroup2" in controllers:
            have = (mount / "cgroup.controllers").read_text().split()
            for folder in (mount, parent, own):
                for name in have:
                    try:
                        (folder / "cgroup.subtree_control").write_text(f"+{name}")
                    except OSError:
                        continue  # a controller that the machine's root cgroup does not give away
        (system / "cgroup.procs").write_text(str(pid))


def cgroups(cluster: Cluster) -> list[Path]:
    """Return the folders of the cluster's cgroups that exist."""
    return [mount / cluster.prefix for mount, _ in _hierarchies() if (mount / cluster.prefix).exists()]


def stop(cluster: Cluster) -> None:
    """End everything of a cluster, running or half started, and remove what it made on this machine; its files stay."""
    for node in cluster.nodes:
        for name in ("process", "init"):
            pid = recorded_process(node.folder / name)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)  # the first process of a pid namespace takes all others with it
    end = time.monotonic() + _SECONDS_TO_END
    while time.monotonic() < end:
        _reap()
        left = [
            node
            for node in cluster.nodes
            for name in ("process", "init")
            if recorded_process(node.folder / name)
        ]
        if not left:
            break
        time.sleep(0.02)
    else:
        raise ClusterError(
            f"{', '.join(node.name for node in left)}: still there {_SECONDS_TO_END:.0f} s after SIGKILL"
        )
    env = {**os.environ, "PATH": system_path()}
    for words in (
        ("link", "delete", _device(cluster)),
        ("route", "delete", "unreachable", cluster.network, "metric", _UNREACHABLE),
    ):
        subprocess.run(["ip", *words], env=env, capture_output=True)
    _remove_cgroups(cluster)


def network_left(cluster: Cluster) -> list[str]:
    """Return the routes of this machine that are the cluster's."""
    routes = json.loads(run("ip", "-j", "-4", "route", env={**os.environ, "PATH": system_path()}))
    mine = ".".join(cluster.network.split(".")[:2]) + "."
    return [route["dst"] for route in routes if route["dst"].startswith(mine)]


def _device(cluster: Cluster) -> str:
    return f"{cluster.prefix}-host"


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _hierarchies() -> list[tuple[Path, set[str]]]:
    """Return the mounted cgroup hierarchies and their controllers; `cgroup2` stands for a new one that has controllers."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup":
            found.append((Path(where), set(options.split(","))))
        elif (
            kind == "cgroup2"
        ):  # on a machine with both, the new one is below `unified` and has no controllers
            controllers = (Path(where) / "cgroup.controllers").read_text().split()
            found.append((Path(where), {"cgroup2"} if controllers else set()))
    return found


def _remove_cgroups(cluster: Cluster) -> None:
    end = time.monotonic() + _SECONDS_TO_END
    for top in cgroups(cluster):
        while top.exists():
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    continue  # its last process is on its way out
            if time.monotonic() > end:
                raise ClusterError(f"{top}: cannot be removed; processes in it: {_processes_in(top)}")
            time.sleep(0.02)


def _processes_in(top: Path) -> str:
    return (
        ", ".join(sorted({pid for file in top.rglob("cgroup.procs") for pid in file.read_text().split()}))
        or "none"
    )
