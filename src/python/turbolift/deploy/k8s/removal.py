# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Take versions away: scaling first, then pods with their calls finished, then what led to them."""

from __future__ import annotations

import threading

from turbolift.deploy.k8s import headless, names, readiness
from turbolift.deploy.k8s.apply import is_ours
from turbolift.deploy.k8s.cluster import Cluster
from turbolift.deploy.k8s.objects import (
    AUTOSCALER,
    DEPLOYMENT,
    OWN_KINDS,
    RELEASE_KINDS,
    SECRET,
    SERVICE,
    Object,
    kind_of,
)
from turbolift.deploy.platform import Instance
from turbolift.errors import DeployError

# What has a label is found by it, so that it goes after what is found by its name alone.
_REMOVED = (SECRET, *reversed(RELEASE_KINDS))

_ENDING = 120.0
"""Seconds in which all pods of a deployment must have ended."""

_MARGIN = 30.0
"""Seconds beyond a pod's own grace time in which its node must have reported its end."""


def objects_of(cluster: Cluster, deployment: str, instance: Instance) -> list[Object]:
    """Return what there is of `instance`, if it is this deployment's."""
    found = [cluster.get(kind, instance.id) for kind in _REMOVED]
    found.insert(0, cluster.get(SERVICE, headless.each_name(instance.id)))
    return [one for one in found if one is not None and is_ours(one, deployment)]


def remove(
    cluster: Cluster, deployment: str, selector: str, instance: Instance, stop: threading.Event
) -> None:
    """Delete the objects of `instance`; its Service and policy go when its pods have ended. Idempotent.

    Raises DeployError where pods are still there after their grace time.
    """
    objects = objects_of(cluster, deployment, instance)
    found = {kind_of(one): one for one in objects}
    for kind in (AUTOSCALER, DEPLOYMENT):
        if kind in found:
            cluster.delete(kind, instance.id, foreground=kind is DEPLOYMENT)
    grace = 60.0
    if DEPLOYMENT in found:
        spec = found[DEPLOYMENT]["spec"]["template"]["spec"]
        grace = float(spec.get("terminationGracePeriodSeconds") or grace)
    if not readiness.wait_gone(cluster, selector, grace + _MARGIN, stop):
        if stop.is_set():
            return
        raise DeployError(
            f"{instance.function}: pods of {instance.id} are still there {grace + _MARGIN:.0f} s after they were told "
            "to end: is their node alive? The next deploy takes the rest away",
            function=instance.function,
        )
    for one in objects:
        if kind_of(one) not in (AUTOSCALER, DEPLOYMENT):
            cluster.delete(kind_of(one), one["metadata"]["name"])


def destroy(cluster: Cluster, deployment: str) -> list[Object]:
    """Delete every object with the deployment's labels, the route table and the Lease last; return what was
    deleted.
    """
    selector = names.selector(deployment)
    listed = {kind: cluster.find(kind, labels=selector) for kind in OWN_KINDS}
    versions = {one["metadata"]["name"] for kind in RELEASE_KINDS for one in listed[kind]}
    gone = []
    for name in (*sorted(versions), names.caller_name(deployment), names.authority_name(deployment)):
        secret = cluster.get(SECRET, name)
        if secret is not None and is_ours(secret, deployment):
            cluster.delete(SECRET, name)
            gone.append(secret)
    for kind, found in listed.items():
        for one in found:
            cluster.delete(kind, one["metadata"]["name"], foreground=kind is DEPLOYMENT)
            gone.append(one)
    # A Deployment is there until its last pod has ended.
    if not readiness.wait_gone(cluster, selector, _ENDING, threading.Event(), kind=DEPLOYMENT):
        left = ", ".join(one["metadata"]["name"] for one in cluster.find(DEPLOYMENT, labels=selector))
        raise DeployError(
            f"still there {_ENDING:.0f} s after they were deleted: {left}: are the nodes of their pods alive? They go "
            "when their pods have ended"
        )
    return gone
