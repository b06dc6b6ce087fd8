# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Make exactly the wanted apps run: apply, wait by watches, and take away what no pod uses any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from turbolift.deploy.k8s import apps, diagnose, names, readiness
from turbolift.deploy.k8s.apply import apply, check_ours, is_current
from turbolift.deploy.k8s.cluster import Cluster
from turbolift.deploy.k8s.follow import Follower
from turbolift.deploy.k8s.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    POD,
    SERVICE_ACCOUNT,
    Object,
    annotation,
    kind_of,
)
from turbolift.deploy.k8s.settings import Settings
from turbolift.deploy.platform import App, Release, StartError

_STEP = 0.5
_ENDING = 60.0
"""Seconds in which the pods of a replaced version have ended: their grace time, and what a node takes to tell."""


def roll_out(
    cluster: Cluster,
    settings: Settings,
    wanted: Sequence[App],
    push: Callable[[Sequence[Release]], object],
    timeout: float,
    stop: threading.Event,
) -> list[str]:
    """Make `wanted` run and nothing else; return a line for each app that was changed. Raises StartError.

    `push` sees to it that the registry has the images of the releases that it is given.
    """
    documents = {app.release.function: apps.app_objects(settings, app) for app in wanted}
    changed = [app for app in wanted if not _is_there(cluster, settings, documents[app.release.function])]
    told = []
    if changed:
        push([app.release for app in changed])
        for app in changed:
            for document in documents[app.release.function]:
                if kind_of(document) is not JOB or not _exists(cluster, document):
                    apply(cluster, settings.deployment, document)
        for app in changed:
            told.append(_wait(cluster, settings, app, timeout, stop))
    return told + sweep(cluster, settings, wanted, stop)


def _exists(cluster: Cluster, document: Object) -> bool:
    return cluster.get(kind_of(document), document["metadata"]["name"]) is not None


def _is_there(cluster: Cluster, settings: Settings, documents: Sequence[Object]) -> bool:
    """Return whether all `documents` are as wanted. A Job of that version ran, or runs: that is all there is to it."""
    for document in documents:
        kind = kind_of(document)
        live = cluster.get(kind, document["metadata"]["name"])
        if live is None:
            return False
        check_ours(live, settings.deployment)
        if kind is not JOB and not is_current(live, document):
            return False
    return True


def _wait(cluster: Cluster, settings: Settings, app: App, timeout: float, stop: threading.Event) -> str:
    """Return a line that says that `app` runs, or has run."""
    release = app.release
    stable, versioned = apps.names_of(release)
    is_job = release.spec["kind"] == "job"
    kind, name = (JOB, versioned) if is_job else (DEPLOYMENT, stable)
    selector = names.pod_selector(settings.deployment, release.function, release.version)
    line = f"app {release.function}  {release.version[:10]}"
    until = time.monotonic() + timeout
    pods: dict[str, Object] = {}
    owner: Object | None = None
    before = {one["metadata"]["uid"]: diagnose.restarts(one) for one in cluster.find(POD, labels=selector)}
    with Follower(cluster, [(kind, "", f"metadata.name={name}"), (POD, selector, "")]) as follower:
        while not stop.is_set():
            left = until - time.monotonic()
            if left <= 0:
                finding = diagnose.explain(cluster, owner, pods.values())
                raise _failure(release, f"does not run after {timeout:g} s: {finding.reason}", finding.log)
            change = follower.next(min(left, _STEP))
            if change is None:
                continue
            if change.kind is kind:
                owner = None if change.gone else change.object
            elif change.gone:
                pods.pop(change.object["metadata"]["uid"], None)
            else:
                pods[change.object["metadata"]["uid"]] = change.object
            if is_job:
                state = _job_state(cluster, release, owner, list(pods.values()))
                if state:
                    return f"{line}  {state}"
                continue
            if owner is not None and is_rolled_out(owner):
                return f"{line}  runs"
            found = diagnose.hopeless(owner, pods.values(), before, ())
            if found is not None:
                finding = (
                    diagnose.explain(cluster, owner, ())
                    if found is owner
                    else diagnose.of_pod(cluster, found)
                )
                raise _failure(release, f"did not start: {finding.reason}", finding.log)
    return line


def is_rolled_out(deployment: Object) -> bool:
    """Return whether the Deployment as it was last written has all its pods, and no others."""
    status = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return False
    wanted = deployment["spec"].get("replicas", 1)
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return counts == [wanted] * 3


def _job_state(cluster: Cluster, release: Release, job: Object | None, pods: Sequence[Object]) -> str:
    """Return how the Job fares, nothing where it has not begun. Raises StartError where it failed."""
    for one in pods:
        if diagnose.is_stuck(one):
            finding = diagnose.of_pod(cluster, one)
            raise _failure(release, f"did not start: {finding.reason}", finding.log)
    if job is not None and diagnose.condition(job, "Failed") is not None:
        finding = diagnose.explain(cluster, None, pods)
        raise _failure(release, f"failed: {finding.reason}", finding.log)
    if job is not None and diagnose.condition(job, "Complete") is not None:
        return "finished"
    return "started" if any(diagnose.is_ready(one) for one in pods) else ""


def _failure(release: Release, reason: str, log: Sequence[str]) -> StartError:
    advice = "the functions are switched; what ran of the app before runs on, with the versions that it is pinned to"
    return StartError(f"app {release.function}", reason, log=log, advice=advice)


def sweep(
    cluster: Cluster, settings: Settings, wanted: Sequence[App], stop: threading.Event, *, jobs: bool = False
) -> list[str]:
    """Take away the apps that are not `wanted`, and what replaced versions leave; return a line for each app.

    A Job that still runs stays, unless `jobs`.
    """
    found = apps.find(cluster, settings.deployment)
    keep = {app.release.function for app in wanted}
    current = {(app.release.function, app.release.version) for app in wanted}
    told = []
    for one in found[DEPLOYMENT]:
        if annotation(one, apps.APP) not in keep:
            cluster.delete(DEPLOYMENT, one["metadata"]["name"], foreground=True)
            told.append(f"app {annotation(one, apps.APP)}  retired")
    living = set(current)
    for one in found[JOB]:
        if _version(one) in current:
            continue
        if jobs or apps.is_finished(one):
            cluster.delete(JOB, one["metadata"]["name"], foreground=True)
        else:
            living.add(_version(one))
    for kind in (CONFIG_MAP, SERVICE_ACCOUNT):
        for one in found[kind]:
            app, version = _version(one)
            if (app, version) in living:
                continue
            # While a pod is there, its table holds what it calls.
            selector = names.pod_selector(settings.deployment, app, version)
            if readiness.wait_gone(cluster, selector, _ENDING, stop):
                cluster.delete(kind, one["metadata"]["name"])
    return told


def _version(document: Object) -> tuple[str, str]:
    return annotation(document, apps.APP) or "", annotation(document, names.FULL_VERSION) or ""
