# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""How the apps of a deployment fare, as the cluster says."""

from __future__ import annotations

import datetime

from turbolift.deploy.k8s import apps, diagnose, names
from turbolift.deploy.k8s.approllout import is_rolled_out
from turbolift.deploy.k8s.cluster import Cluster
from turbolift.deploy.k8s.objects import DEPLOYMENT, JOB, POD, Object, annotation
from turbolift.deploy.k8s.settings import Settings
from turbolift.deploy.platform import AppHealth, Health


def read(cluster: Cluster, settings: Settings) -> list[AppHealth]:
    """Return the apps that are there, by name; of a job each version that is kept."""
    found = apps.find(cluster, settings.deployment)
    told = [_of(cluster, settings, one, "deployment") for one in found[DEPLOYMENT]]
    told += [_of(cluster, settings, one, "job") for one in found[JOB]]
    return sorted(told, key=lambda one: (one.app, one.health.since or 0.0))


def _of(cluster: Cluster, settings: Settings, owner: Object, kind: str) -> AppHealth:
    app, version = annotation(owner, apps.APP) or "", annotation(owner, names.FULL_VERSION) or ""
    image = owner["spec"]["template"]["spec"]["containers"][0]["image"].rpartition("@")[2]
    pods = cluster.find(POD, labels=names.pod_selector(settings.deployment, app, version))
    health = _job(cluster, owner, pods) if kind == "job" else _deployment(cluster, owner, pods)
    return AppHealth(app, version, image, kind, health)


def _deployment(cluster: Cluster, owner: Object, pods: list[Object]) -> Health:
    ready = sum(diagnose.is_ready(pod) for pod in pods)
    wanted = owner["spec"].get("replicas", 1)
    note = ""
    if not is_rolled_out(owner):
        others = (owner.get("status") or {}).get("availableReplicas", 0) - ready
        runs = f"; {others} of the version before still run" if others > 0 else ""
        if ready < wanted:
            note = diagnose.explain(cluster, owner, pods).reason.splitlines()[0] + runs
    return Health(
        alive=bool(pods),
        ready=ready >= wanted,
        restarts=sum(diagnose.restarts(pod) for pod in pods),
        since=_since(owner, pods),
        note=note,
        replicas=(ready, wanted),
    )


def _job(cluster: Cluster, owner: Object, pods: list[Object]) -> Health:
    running = sum(diagnose.is_ready(pod) for pod in pods)
    finished = diagnose.condition(owner, "Complete") is not None
    note = "finished" if finished else "runs"
    if not finished and not running:
        # What a failed pod says is in its state; one that is only being made has nothing to say yet.
        failed = diagnose.condition(owner, "Failed")
        found = diagnose.explain(cluster, None, pods).reason.splitlines()[0]
        note = f"failed: {found}" if failed is not None else f"starts: {found}"
    return Health(
        alive=running > 0,
        ready=finished or running > 0,
        since=_since(owner, pods),
        note=note,
        replicas=(running, 0 if apps.is_finished(owner) else 1),
    )


def _since(owner: Object, pods: list[Object]) -> float | None:
    """Return when the version began, in seconds since 1970: a Deployment is older than it, its pods are not."""
    stamps = [one["metadata"].get("creationTimestamp") for one in pods or [owner]]
    return min((datetime.datetime.fromisoformat(one).timestamp() for one in stamps if one), default=None)
