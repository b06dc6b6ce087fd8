# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Apps in a cluster: from an app to its objects, and what there is of them.

An app's Deployment keeps its name over its versions and rolls by itself; a Job is one of each version. Each version's pods mount a
route table of their own, which says exactly which versions of functions they call: while it is there, those are not retired.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from turbolift.deploy.k8s import names, pod, render
from turbolift.deploy.k8s.cluster import Cluster
from turbolift.deploy.k8s.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    SERVICE_ACCOUNT,
    Kind,
    Object,
    annotation,
    make,
)
from turbolift.deploy.k8s.settings import Settings
from turbolift.deploy.platform import App, Release

APP = "turbolift.dev/app"
"""Annotation of everything of an app: its identity."""

KINDS = (SERVICE_ACCOUNT, CONFIG_MAP, DEPLOYMENT, JOB)
"""What an app is made of, in the order of its making."""

_SETTLE = 2
"""Seconds that a pod must run before it counts: a program that ends at once is no success."""


def app_objects(settings: Settings, app: App) -> list[Object]:
    """Return the objects of `app`, in the order in which they are to be made."""
    release = app.release
    stable, versioned = names_of(release)
    is_job = release.spec["kind"] == "job"

    def new(kind: Kind, name: str, content: dict[str, Any]) -> Object:
        return make(
            kind,
            name,
            settings.namespace,
            names.labels(settings.deployment, release),
            {APP: release.function, names.FULL_VERSION: release.version},
            content,
        )

    table = render.route_table(settings, app.pins, generation=0)
    text = json.dumps(table, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    template = _template(settings, app)
    if is_job:
        # Once: whether a program may run twice is not known here.
        run = new(JOB, versioned, {"spec": {"backoffLimit": 0, "template": template}})
    else:
        run = new(
            DEPLOYMENT,
            stable,
            {
                "spec": {
                    "replicas": release.options["replicas"],
                    "minReadySeconds": _SETTLE,
                    "revisionHistoryLimit": 1,
                    "selector": {"matchLabels": selector_labels(settings, release)},
                    "strategy": {
                        "type": "RollingUpdate",
                        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
                    },
                    "template": template,
                }
            },
        )
    return [
        new(SERVICE_ACCOUNT, versioned, {"automountServiceAccountToken": False}),
        new(CONFIG_MAP, versioned, {"immutable": True, "data": {pod.ROUTES_FILE: text}}),
        run,
    ]


def names_of(release: Release) -> tuple[str, str]:
    """Return the name of an app's Deployment, and that of the objects of one version."""
    return names.function_name(release.function), names.object_name(release.function, release.version)


def selector_labels(settings: Settings, release: Release) -> dict[str, str]:
    """Return the labels that single out the pods of an app, whatever their version."""
    return {names.NAME: names.function_name(release.function), names.PART_OF: settings.deployment}


def find(cluster: Cluster, deployment: str) -> dict[Kind, list[Object]]:
    """Return what there is of the apps of `deployment`, by kind."""
    labels = names.selector(deployment)
    return {
        kind: [one for one in cluster.find(kind, labels=labels) if annotation(one, APP) is not None]
        for kind in KINDS
    }


def pinned(config_maps: Iterable[Object]) -> dict[tuple[str, str], str]:
    """Return (function, version) of what apps are pinned to -> the app, from the route tables of apps."""
    found: dict[tuple[str, str], str] = {}
    for one in config_maps:
        app = annotation(one, APP)
        if app is None:
            continue
        table = json.loads((one.get("data") or {}).get(pod.ROUTES_FILE, "{}"))
        for function, route in table.get("routes", {}).items():
            found[function, route["version"]] = app
    return found


def running(found: dict[Kind, list[Object]]) -> list[Release]:
    """Return the releases of the apps that are there, as far as their images go."""
    releases = []
    for kind in (DEPLOYMENT, JOB):
        for one in found[kind]:
            image = one["spec"]["template"]["spec"]["containers"][0]["image"].rpartition("@")[2]
            app, version = annotation(one, APP), annotation(one, names.FULL_VERSION)
            releases.append(Release(app or "", version or "", image, "k8s", {}))
    return releases


def is_finished(job: Object) -> bool:
    """Return whether a Job has ended, well or not."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)


def _template(settings: Settings, app: App) -> dict[str, Any]:
    release = app.release
    options = release.options
    _, versioned = names_of(release)
    # The kubelet puts variables in for "$(NAME)"; two dollars are one.
    given = {"HOME": "/tmp", **options["env"]}
    values = {name: text.replace("$", "$$") for name, text in given.items()}
    values |= {"TURBOLIFT": "on", "TURBOLIFT_ROUTES": f"{pod.ROUTES_DIR}/{pod.ROUTES_FILE}"}
    container: dict[str, Any] = {
        "name": "app",
        "image": settings.image(release),
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": name, "value": values[name]} for name in sorted(values)],
        "resources": pod.resources(options, {}),
        "securityContext": pod.CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "routes", "mountPath": pod.ROUTES_DIR, "readOnly": True},
        ],
    }
    if options["args"]:
        container["args"] = [text.replace("$", "$$") for text in options["args"]]
    return {
        "metadata": {
            "labels": {
                **names.labels(settings.deployment, release),
                names.CALLER: settings.deployment,
            },
            "annotations": {APP: release.function, names.FULL_VERSION: release.version},
        },
        "spec": {
            "serviceAccountName": versioned,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            **({"restartPolicy": "Never"} if release.spec["kind"] == "job" else {}),
            "securityContext": pod.POD_SECURITY,
            "containers": [container],
            "volumes": [
                {"name": "tmp", "emptyDir": {"sizeLimit": pod.TMP}},
                pod.routes_volume(settings, versioned, optional=False),
            ],
        },
    }
