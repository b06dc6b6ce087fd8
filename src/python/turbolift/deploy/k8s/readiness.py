# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Wait by watches until a version is available, or until it is clear that it never will be."""

from __future__ import annotations

import threading
import time

from turbolift.deploy.k8s import diagnose, names
from turbolift.deploy.k8s.cluster import Cluster
from turbolift.deploy.k8s.follow import Follower
from turbolift.deploy.k8s.objects import DEPLOYMENT, POD, Kind, Object, annotation
from turbolift.deploy.platform import Instance, StartError

_STEP = 0.5
"""Seconds in which an interruption is noticed while changes are waited for."""


def is_available(deployment: Object) -> bool:
    """Return whether the Deployment as it was last written has as many available pods as it must have."""
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return False
    least = int(annotation(deployment, names.MIN_REPLICAS) or 1)
    return bool(status.get("availableReplicas", 0) >= least and status.get("updatedReplicas", 0) >= least)


def wait_ready(
    cluster: Cluster, selector: str, instance: Instance, timeout: float, stop: threading.Event
) -> None:
    """Return when `instance` is available, or when `stop` is set. Raises StartError where it will not be.

    `selector` finds its pods. What had ended before we looked is no news: only what ends from now on counts.
    """
    until = time.monotonic() + timeout
    deployment: Object | None = None
    pods: dict[str, Object] = {}
    there = cluster.find(POD, labels=selector)
    before = {pod["metadata"]["uid"]: diagnose.restarts(pod) for pod in there}
    stuck = {pod["metadata"]["uid"] for pod in there if diagnose.is_stuck(pod)}
    wanted = [(DEPLOYMENT, "", f"metadata.name={instance.id}"), (POD, selector, "")]
    with Follower(cluster, wanted) as follower:
        while not stop.is_set():
            left = until - time.monotonic()
            if left <= 0:
                finding = diagnose.explain(cluster, deployment, pods.values())
                raise StartError(
                    instance.function,
                    f"was not ready within {timeout:g} s: {finding.reason}",
                    log=finding.log,
                    advice="give it more time with --ready-timeout SECONDS; what runs is untouched",
                )
            change = follower.next(min(left, _STEP))
            if change is None:
                continue
            if change.kind is DEPLOYMENT:
                deployment = None if change.gone else change.object
            elif change.gone:
                pods.pop(change.object["metadata"]["uid"], None)
            else:
                pods[change.object["metadata"]["uid"]] = change.object
            if deployment is not None and is_available(deployment):
                return
            found = diagnose.hopeless(deployment, pods.values(), before, stuck)
            if found is not None:
                about_pod = found is not deployment
                finding = (
                    diagnose.of_pod(cluster, found)
                    if about_pod
                    else diagnose.explain(cluster, deployment, ())
                )
                raise StartError(
                    instance.function,
                    f"did not start: {finding.reason}",
                    log=finding.log,
                    advice="what runs is untouched; mend it and deploy again",
                )


def wait_gone(
    cluster: Cluster, selector: str, timeout: float, stop: threading.Event, *, kind: Kind = POD
) -> bool:
    """Return True when no object of `kind` is left that `selector` finds, False after `timeout` seconds or when `stop` is set."""
    until = time.monotonic() + timeout
    if not cluster.find(kind, labels=selector):
        return True
    with Follower(cluster, [(kind, selector, "")]) as follower:
        while not stop.is_set() and (left := until - time.monotonic()) > 0:
            change = follower.next(min(left, _STEP))
            if change is not None and change.gone and not cluster.find(kind, labels=selector):
                return True
    return not cluster.find(kind, labels=selector)
