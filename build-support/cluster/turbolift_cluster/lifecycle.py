# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""up, down and status: the steps, in order."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from . import addons, binaries, debian, host, images, pki, processes
from .api import Api, node_ready
from .errors import ClusterError
from .files import say, system_path, write_json
from .settings import Cluster, Node, cache_folder, create, find

_SECONDS_TO_NODES = 120.0


@contextmanager
def _alone(name: str) -> Iterator[Path]:
    """Keep out another `up` or `down` of the same cluster; gives the lock's file, which may be removed inside."""
    folder = cache_folder() / "state"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.lock"
    while True:
        with open(path, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever had it before may have removed it: then others hold a newer one.
            try:
                own = os.path.samestat(os.fstat(lock.fileno()), path.stat())
            except FileNotFoundError:
                own = False
            if own:
                yield path
                return


def up(name: str) -> dict[str, Any]:
    """Start a cluster, unless it runs; return its status. Raises ClusterError, and leaves nothing running, when it cannot."""
    host.check()
    with _alone(name):
        cluster = find(name)
        if cluster and is_up(cluster):
            return status(name)
        root = debian.programs()
        programs = binaries.programs()
        if cluster:
            say("cleaning up what an earlier start left")
            _remove(cluster)
        begin = time.monotonic()
        cluster = create(name)
        try:
            _start(cluster, programs, root)
            say(f"{cluster.name} is up")
            write_json(
                cluster.state / "up.json",
                {"kubernetes": programs.kubernetes, "seconds": round(time.monotonic() - begin, 1)},
            )
        except BaseException:
            host.stop(cluster)
            raise
        return status(name)


def down(name: str) -> bool:
    """End a cluster and remove all of it but the built programs; returns whether there was one."""
    with _alone(name) as lock:
        cluster = find(name)
        if cluster:
            _remove(cluster)
        lock.unlink()
    return cluster is not None


def is_up(cluster: Cluster) -> bool:
    """Whether a cluster was started whole and its nodes still run."""
    return (cluster.state / "up.json").exists() and all(host.alive(node) for node in cluster.nodes)


def status(name: str) -> dict[str, Any]:
    """Return what there is to know about a cluster: its state, addresses, nodes and programs, as JSON."""
    cluster = find(name)
    if not cluster or not is_up(cluster):
        return {"name": name, "up": False}
    started = json.loads((cluster.state / "up.json").read_text())
    try:
        listed = {
            one["metadata"]["name"]: one for one in Api(cluster.kubeconfig).get("/api/v1/nodes")["items"]
        }
        problem = None
    except OSError as error:
        listed, problem = {}, f"the API server does not answer: {error}"
    return {
        "name": name,
        "up": True,
        "kubeconfig": str(cluster.kubeconfig),
        "context": cluster.context,
        "registry": cluster.registry,
        "kubernetes": started["kubernetes"],
        "nodes": [
            {
                "name": node.name,
                "address": node.address,
                "ready": node.name in listed and node_ready(listed[node.name]),
            }
            for node in cluster.nodes
        ],
        "images": json.loads((cluster.state / "images.json").read_text()),
        "seconds": started["seconds"],
        "restarts": {node.name: _restarts(node) for node in cluster.nodes},
        "logs": {node.name: str(node.folder) for node in cluster.nodes},
        "metrics": bool(json.loads((cluster.state / "images.json").read_text()).get("metrics-server")),
        **({"problem": problem} if problem else {}),
    }


def _restarts(node: Node) -> dict[str, int]:
    try:
        counts: dict[str, int] = json.loads((node.folder / "restarts.json").read_text())
        return counts
    except (OSError, ValueError):
        return {}


def _remove(cluster: Cluster) -> None:
    host.stop(cluster)
    # settings.json goes last: should this be killed half way, the next `down` or `up` still knows what to remove
    for entry in cluster.state.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "settings.json":
            entry.unlink()
    shutil.rmtree(cluster.state)


def _start(cluster: Cluster, programs: binaries.Programs, root: Path) -> None:
    pki.make(cluster)
    own = {
        "pause": images.program("turbolift-cluster/pause", programs.path("pause"), user=65535),
        "busybox": images.busybox(root / "bin/busybox"),
    }
    own["coredns"] = images.program("turbolift-cluster/coredns", programs.coredns)
    if programs.metrics:
        own["metrics-server"] = images.program("turbolift-cluster/metrics-server", programs.metrics)
    references = {name: image.reference(cluster.registry) for name, image in own.items()}
    write_json(cluster.state / "images.json", references)
    for node in cluster.nodes:
        specified = processes.of_node(cluster, node, programs, root, references["pause"])
        write_json(
            node.folder / "spec.json",
            {
                "name": node.name,
                "folder": str(node.folder),
                "processes": [process.document() for process in specified],
                "path": f"{root}/usr/sbin:{root}/usr/bin:{programs.folder}:{system_path()}",
                "xtables": next(str(path) for path in (root / "usr/lib").glob("*/xtables")),
            },
        )
        host.start(node)
    pids = {node.name: host.wait_entered(node) for node in cluster.nodes}
    for node in cluster.nodes:
        host.join_cgroups(cluster, node, pids[node.name])
    host.connect(cluster, pids)
    _wait(cluster, "registry", lambda: _marks(cluster.control).get("registry"))
    with ThreadPoolExecutor() as pool:
        for pushed in [pool.submit(images.push, image, cluster.registry) for image in own.values()]:
            pushed.result()
    api = Api(cluster.kubeconfig)
    _wait(cluster, "API server", lambda: _marks(cluster.control).get("kube-apiserver"))
    objects = [*addons.enforcer(), *addons.dns(cluster, references["coredns"])]
    if programs.metrics:
        objects += addons.metrics(references["metrics-server"])
    for document in objects:
        api.apply(document)
    _wait(
        cluster,
        "programs of nodes",
        lambda: all((node.folder / "ready.json").exists() for node in cluster.nodes),
    )
    _wait(
        cluster,
        "Ready nodes",
        lambda: all(node_ready(api.get(f"/api/v1/nodes/{node.name}")) for node in cluster.nodes),
    )
    _wait(
        cluster,
        "the default service account",
        lambda: api.get("/api/v1/namespaces/default/serviceaccounts/default"),
    )
    for name in ["coredns", "metrics-server"] if programs.metrics else ["coredns"]:
        where = f"/apis/apps/v1/namespaces/kube-system/deployments/{name}"
        _wait(cluster, name, partial(_available, api, where))
    if programs.metrics:  # as long as it is not served, clients that discover the API get errors
        where = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io"
        _wait(cluster, "the API of metrics", partial(_available, api, where))


def _available(api: Api, path: str) -> bool:
    status = api.get(path).get("status", {})
    replicas = int(status.get("replicas", 0))
    met = any(one["type"] == "Available" and one["status"] == "True" for one in status.get("conditions", []))
    return met and replicas == int(status.get("readyReplicas", 0))


def _marks(node: Node) -> dict[str, float]:
    try:
        marks: dict[str, float] = json.loads((node.folder / "progress.json").read_text())
        return marks
    except (OSError, ValueError):
        return {}


def _wait(cluster: Cluster, what: str, done: Any) -> None:
    """Wait for something; raises ClusterError when a node says that it failed, or ended, or it takes too long."""
    end = time.monotonic() + _SECONDS_TO_NODES
    while True:
        try:
            if done():
                say(what)
                return
        except OSError:
            pass  # the API server does not answer, or the object is not there yet
        for node in cluster.nodes:
            failed = node.folder / "failed"
            if failed.exists():
                raise ClusterError(f"{node.name}: {failed.read_text()}")
            if not host.alive(node):
                raise ClusterError(f"{node.name} ended:\n{(node.folder / 'init.log').read_text()[-3000:]}")
        if time.monotonic() > end:
            raise ClusterError(
                f"waited {_SECONDS_TO_NODES:.0f} s for {what}; logs: {cluster.state}/node-*/*.log"
            )
        time.sleep(0.05)
