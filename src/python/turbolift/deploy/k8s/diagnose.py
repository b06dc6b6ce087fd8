# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Why a version does not become ready: which pod, and what the cluster says of it."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from turbolift.deploy.k8s.cluster import ApiError, Cluster
from turbolift.deploy.k8s.objects import EVENT, Object

_LAST_LINES = 15
_EVENTS = 5

HOPELESS = frozenset(
    {
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Reasons of a waiting container that time alone does not mend."""

# What the shim's exit codes mean.
_EXITS = {
    71: "it cannot listen on its port",
    72: "its certificates cannot be used",
    78: "the function cannot be loaded",
    70: "calls were cut off at the end of the grace time",
    1: "the function's types cannot travel, or it raised while it was loaded",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Why something does not work (one line), the pod it is about (empty: none was made), and its last lines."""

    reason: str
    pod: str = ""
    log: tuple[str, ...] = ()


def restarts(pod: Object) -> int:
    """Return how often the containers of `pod` were started anew."""
    return sum(one.get("restartCount", 0) for one in _statuses(pod))


def is_ready(pod: Object) -> bool:
    """Return whether `pod` is ready and stays."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def is_stuck(pod: Object) -> bool:
    """Return whether a container of `pod` waits for something that time alone does not mend."""
    reasons = {((one.get("state") or {}).get("waiting") or {}).get("reason") for one in _statuses(pod)}
    return bool(reasons & (HOPELESS | {"ErrImagePull"}))


def hopeless(
    deployment: Object | None, pods: Iterable[Object], before: Mapping[str, int], stuck: Collection[str]
) -> Object | None:
    """Return the pod (or the Deployment, where no pod can be made) that shows that waiting is in vain, or None.

    `before` has the restarts of pods that were there at the beginning: only what ended since then counts. Those in
    `stuck` (their uids) waited then already, for what may have been mended since: their kubelet will try again.
    """
    for pod in pods:
        if is_ready(pod) or pod["metadata"].get("deletionTimestamp"):
            continue
        for status in _statuses(pod):
            state = status.get("state") or {}
            waiting = (state.get("waiting") or {}).get("reason")
            if waiting in HOPELESS and pod["metadata"]["uid"] not in stuck:
                return pod
            ended = status.get("restartCount", 0) + (1 if state.get("terminated") else 0)
            if ended > before.get(pod["metadata"]["uid"], 0):
                return pod
    if deployment is not None and condition(deployment, "ReplicaFailure") is not None:
        return deployment
    return None


def condition(document: Object, kind: str) -> Mapping[str, Any] | None:
    """Return the condition `kind` of an object where it is true, or None."""
    for one in (document.get("status") or {}).get("conditions") or []:
        if one["type"] == kind and one["status"] == "True":
            found: Mapping[str, Any] = one
            return found
    return None


def explain(cluster: Cluster, deployment: Object | None, pods: Iterable[Object]) -> Finding:
    """Say why nothing is ready, by the pod that tells most."""
    failure = condition(deployment, "ReplicaFailure") if deployment is not None else None
    living = [pod for pod in pods if not is_ready(pod) and not pod["metadata"].get("deletionTimestamp")]
    if not living:
        if failure is not None:
            return Finding(f"no pod can be made: {failure.get('message') or failure.get('reason')}")
        return Finding("no pod was made: is the cluster's controller manager running?")
    pod = max(living, key=_telling)
    return of_pod(cluster, pod)


def of_pod(cluster: Cluster, pod: Object) -> Finding:
    """Say what is the matter with `pod`: its container's state, its events, its last lines."""
    name = pod["metadata"]["name"]
    state, crashed = _state(pod)
    events = _events(cluster, name)
    probes = [text for reason, text in events if reason == "Unhealthy"]
    if not state and probes:
        state = f"not ready: {probes[-1]}"
    node = (pod.get("spec") or {}).get("nodeName")
    parts = [f"pod {name}" + (f" on {node}" if node else "") + f": {state or 'not ready'}"]
    parts += [
        f"event {reason}: {text}"
        for reason, text in events
        if text not in parts[0] and not _is_told(state, text)
    ]
    log: list[str] = []
    try:
        # What a container said before it was started anew is what tells.
        again = crashed and restarts(pod) > 0
        # Ours is the first; others may have been put beside it.
        container = pod["spec"]["containers"][0]["name"]
        log = list(cluster.log(name, lines=_LAST_LINES, previous=again, container=container))
        if again and not log:
            log = list(cluster.log(name, lines=_LAST_LINES, container=container))
    except ApiError as error:
        parts.append(f"its log cannot be read: {error}")
    return Finding("\n    ".join(parts), name, tuple(log))


def _state(pod: Object) -> tuple[str, bool]:
    """Return what the container's state says, and whether it ended."""
    for status in _statuses(pod):
        state = status.get("state") or {}
        ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated")
        waiting = state.get("waiting") or {}
        if ended:
            return _exit(ended), True
        if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            message = " ".join((waiting.get("message") or "").split())
            return f"{waiting['reason']}" + (f": {message}" if message else ""), False
    for one in (pod.get("status") or {}).get("conditions") or []:
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return f"{one.get('reason') or 'not scheduled'}: {one.get('message') or ''}", False
    return "", False


def _exit(ended: Mapping[str, Any]) -> str:
    code = ended.get("exitCode", 0)
    if ended.get("reason") == "OOMKilled":
        return f"killed: it used more memory than its tag says (exit code {code}): raise memory="
    if code > 128:
        try:
            return f"ended by {signal.Signals(code - 128).name} (exit code {code})"
        except ValueError:
            pass
    meaning = _EXITS.get(code)
    message = " ".join((ended.get("message") or "").split())
    return f"exit code {code}" + (f": {meaning}" if meaning else "") + (f": {message}" if message else "")


def _events(cluster: Cluster, name: str) -> list[tuple[str, str]]:
    """Return (reason, message) of a pod's warnings, the last ones."""
    try:
        found = cluster.find(EVENT, fields=f"involvedObject.name={name},type=Warning")
    except ApiError:
        return []
    found.sort(key=lambda one: one.get("lastTimestamp") or one.get("eventTime") or "")
    told: dict[tuple[str, str], None] = {}
    for one in found:
        told[one.get("reason", ""), " ".join((one.get("message") or "").split())] = None
    return list(told)[-_EVENTS:]


def _is_told(state: str, event: str) -> bool:
    """Return whether an event says no more than the container's state."""
    return event.startswith("Error: ") or (
        "ErrImagePull:" in state and event.startswith("Failed to pull image")
    )


def _telling(pod: Object) -> tuple[int, str]:
    """Rank a pod by how much its state says."""
    state, crashed = _state(pod)
    return 2 if crashed else 1 if state else 0, pod["metadata"].get("creationTimestamp") or ""


def _statuses(pod: Object) -> list[Any]:
    found: list[Any] = (pod.get("status") or {}).get("containerStatuses") or []
    return found
