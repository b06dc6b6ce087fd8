# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The disturbances: each returns, when all is whole again, what it did."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from e2e.rollout.suite.scene import DEPLOYED, Scene, SceneError
from turbolift.deploy.k8s import names
from turbolift.deploy.k8s.cluster import ApiError
from turbolift.deploy.k8s.diagnose import restarts
from turbolift.deploy.k8s.objects import DEPLOYMENT, POD, Object

WHOLE = 120.0
"""Seconds that all replicas have to be there again."""


class Disturbance(NamedTuple):
    """One: its name, what does it, and whether calls from outside have to survive it as well."""

    name: str
    act: Callable[[Scene], str]
    outside: bool = True


def deploy(scene: Scene) -> str:
    """Roll out a new version of both functions, up to the end of the old."""
    return _versions(scene, lambda: scene.deploy(bundle=scene.build(2)))


def rollback(scene: Scene) -> str:
    """Go back to the version before, up to the end of the other."""
    return _versions(scene, lambda: scene.deploy("rollback"))


def delete_pods(scene: Scene) -> str:
    """Delete every pod of the functions in turn, each once the one before has been replaced."""
    pods = scene.pods()
    for one in pods:
        scene.cluster.delete(POD, one["metadata"]["name"])
        _whole(scene, f"the pod that replaces {one['metadata']['name']}")
    return f"{len(pods)} pods deleted"


def kill_shims(scene: Scene) -> str:
    """Kill the shim process of every pod in turn by SIGKILL; the kubelet starts each again."""
    pods = scene.pods()
    for one in pods:
        before = restarts(one)
        name, node = one["metadata"]["name"], one["spec"]["nodeName"]
        container = one["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
        scene.control("exec", node, "ctr", "-n", "k8s.io", "task", "kill", "--signal", "SIGKILL", container)
        scene.wait(f"the end of the shim in {name}", lambda: _restarts(scene, name) > before, 60)  # noqa: B023
        _whole(scene, f"the shim in {name}")
    return f"{len(pods)} shims killed"


def drain(scene: Scene) -> str:
    """Cordon a node, evict what is to be evicted, wait until it is gone, and uncordon."""
    node = next(one for one in sorted(_nodes(scene)) if one != scene.home)
    _fill(scene, node)
    with _cordoned(scene, node):
        pods = _evictable(scene, node)
        for one in pods:
            _evict(scene, one)
        for one in pods:
            what = f"pod {one['metadata']['name']} to be gone"
            scene.wait(what, lambda: not _is_there(scene, one), 120)  # noqa: B023
    _whole(scene, "the pods that were evicted")
    ours = sum(one["metadata"]["namespace"] == scene.namespace.name for one in pods)
    return f"{node}: {len(pods)} pods evicted, {ours} of the functions"


def restart_api_server(scene: Scene) -> str:
    """Kill the API server; its node starts it again."""
    begin = time.monotonic()
    scene.control("restart", str(scene.real.status["nodes"][0]["name"]), "kube-apiserver")
    scene.wait("the API server", lambda: scene.cluster.json("GET", "/version"), 90)
    seconds = time.monotonic() - begin
    _whole(scene, "the functions")
    return f"answered again after {seconds:.1f} s"


ALL = (
    Disturbance("deploy", deploy),
    Disturbance("rollback", rollback),
    Disturbance("delete every pod in turn", delete_pods),
    Disturbance("kill every shim in turn", kill_shims),
    Disturbance("drain a node", drain),
    Disturbance("restart the API server", restart_api_server, outside=False),
)


def impossible(scene: Scene, one: Disturbance) -> str | None:
    """Return why this cluster cannot have the disturbance, or None."""
    if one.act in (kill_shims, restart_api_server) and not scene.real.status:
        return "only a cluster of build-support/cluster can be told to do it"
    if one.act is drain and len(_nodes(scene)) < 2:
        return "the cluster has one node"
    return None


def _versions(scene: Scene, act: Callable[[], str]) -> str:
    before = _deployments(scene)
    act()
    after = _deployments(scene)
    if before & after:
        left = ", ".join(sorted(before & after))
        raise SceneError(f"the old version was not retired, though nobody should call it: {left}")
    _whole(scene, "the new version")
    return f"{len(after)} versions in, {len(before)} out"


def _deployments(scene: Scene) -> set[str]:
    found = scene.cluster.find(DEPLOYMENT, labels=f"{names.PART_OF}={DEPLOYED}")
    return {one["metadata"]["name"] for one in found}


def _whole(scene: Scene, what: str) -> None:
    scene.wait(what, scene.is_whole, WHOLE)


def _restarts(scene: Scene, name: str) -> int:
    found = scene.cluster.get(POD, name)
    return 0 if found is None else restarts(found)


def _nodes(scene: Scene) -> list[str]:
    return [one["metadata"]["name"] for one in scene.cluster.json("GET", "/api/v1/nodes")["items"]]


def _fill(scene: Scene, node: str) -> None:
    """See to it that most pods of each function are on `node`: the scheduler spreads them by a score, not by a rule."""
    with _cordoned(scene, scene.home):
        for name in sorted({one["metadata"]["labels"][names.NAME] for one in scene.pods()}):
            pods = [one for one in scene.pods() if one["metadata"]["labels"][names.NAME] == name]
            away = [one for one in pods if one["spec"]["nodeName"] != node]
            for one in away[: max(0, len(away) - 1)]:
                scene.cluster.delete(POD, one["metadata"]["name"])
                _whole(scene, f"the pod that replaces {one['metadata']['name']}")


@contextlib.contextmanager
def _cordoned(scene: Scene, node: str) -> Iterator[None]:
    """Have a node take no new pods for the block."""
    path = f"/api/v1/nodes/{node}"

    def mark(unschedulable: bool | None) -> None:
        body = {"spec": {"unschedulable": unschedulable}}
        scene.cluster.json("PATCH", path, body=body, content_type="application/merge-patch+json")

    mark(True)
    try:
        yield
    finally:
        mark(None)


def _evictable(scene: Scene, node: str) -> list[Object]:
    """Return the pods of the node that are ours; on the project's own cluster, its DNS server too."""
    namespaces = {scene.namespace.name, *(["kube-system"] if scene.real.status else [])}
    found = scene.cluster.json("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}")["items"]
    return [
        one
        for one in found
        if one["metadata"]["namespace"] in namespaces
        and any(each["kind"] == "ReplicaSet" for each in one["metadata"].get("ownerReferences", []))
    ]


def _evict(scene: Scene, one: Object) -> None:
    meta: dict[str, Any] = {key: one["metadata"][key] for key in ("name", "namespace")}
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/eviction"
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}

    def evicted() -> bool:
        try:
            scene.cluster.json("POST", path, body=body)
        except ApiError as error:
            # Its disruption budget says: not yet.
            if error.status == 429:
                return False
            if error.status != 404:
                raise SceneError(f"{meta['name']} cannot be evicted: {error}") from None
        return True

    scene.wait(f"the eviction of {meta['name']}", evicted, 120)


def _is_there(scene: Scene, one: Object) -> bool:
    path = f"/api/v1/namespaces/{one['metadata']['namespace']}/pods/{one['metadata']['name']}"
    try:
        found = scene.cluster.json("GET", path)
    except ApiError as error:
        return error.status != 404
    return bool(found["metadata"]["uid"] == one["metadata"]["uid"])
