# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""From a release to its objects: a pure function, the same objects for ``deploy``, ``render`` and ``diff``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from turbolift import spec
from turbolift.deploy.k8s import headless, names, pod
from turbolift.deploy.k8s.objects import (
    AUTOSCALER,
    CONFIG_MAP,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    NETWORK_POLICY,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
    Object,
    make,
)
from turbolift.deploy.k8s.settings import Settings, is_plaintext
from turbolift.deploy.platform import Instance, Release

_BUSY = 70
"""Percent of the requested cpu that the autoscaler keeps replicas at."""


def release_objects(settings: Settings, release: Release) -> list[Object]:
    """Return the objects of `release`, in the order in which they are to be made."""
    selector = names.selector_labels(settings.deployment, release)
    port = pod.port_name(release)
    least, most = scale(release)

    def new(kind: Kind, content: Mapping[str, Any], **annotations: str) -> Object:
        return make(
            kind,
            names.object_name(release.function, release.version),
            settings.namespace,
            names.labels(settings.deployment, release),
            {
                names.FUNCTION: release.function,
                names.FULL_VERSION: release.version,
                **annotations,
            },
            content,
        )

    objects = [
        new(SERVICE_ACCOUNT, _service_account(release)),
        new(NETWORK_POLICY, {"spec": _network_policy(settings, release, selector)}),
        *([headless.service(settings, release)] if most > 1 else []),
        new(SERVICE, {"spec": headless.service_spec(selector, port)}),
        new(
            DISRUPTION_BUDGET,
            {
                "spec": {
                    # One at a time, also where there is only one: a budget that allows none blocks every drain.
                    "maxUnavailable": 1,
                    "unhealthyPodEvictionPolicy": "AlwaysAllow",
                    "selector": {"matchLabels": selector},
                }
            },
        ),
        new(
            DEPLOYMENT,
            {"spec": _deployment(settings, release, selector, replicas=1 if most == 1 else None)},
            **{names.MIN_REPLICAS: str(least)},
        ),
    ]
    if most > 1:
        name = names.object_name(release.function, release.version)
        objects.append(new(AUTOSCALER, {"spec": _autoscaler(name, least, most)}))
    return objects


def scale(release: Release) -> tuple[int, int]:
    """Return the least and the most replicas of `release`."""
    most = int(release.options.get("max_scale_n") or 1)
    least = int(release.spec.get("platform", {}).get("min_scale_n") or 1)
    return min(least, most), most


def endpoint(settings: Settings, release: Release) -> str:
    """Return where callers in the cluster reach `release`."""
    return instance(settings, release).endpoint


def instance(settings: Settings, release: Release) -> Instance:
    """Return what `release` is, once it is started."""
    name = names.object_name(release.function, release.version)
    plaintext, several = is_plaintext(release), scale(release)[1] > 1
    return headless.instance(
        settings, name, release.function, release.version, plaintext=plaintext, several=several
    )


def route_table(settings: Settings, releases: Iterable[Release], *, generation: int) -> dict[str, Any]:
    """Return the route table of exactly `releases`, as callers in the cluster read it."""
    return {
        "version": 1,
        "deployment": settings.deployment,
        "platform": "k8s",
        "generation": generation,
        "routes": {
            one.function: {
                "version": one.version,
                **instance(settings, one).way(),
                "contract": one.contract,
                "timeout": one.options.get("timeout"),
                "idempotent": bool(one.options.get("idempotent", False)),
            }
            for one in sorted(releases, key=lambda one: one.function)
        },
    }


def routes_map(
    settings: Settings, table: Mapping[str, Any], binary: Mapping[str, str] | None = None, *, id: str = ""
) -> Object:
    """Return the ConfigMap that callers follow; `binary` is what else it keeps (key -> base64), `id` tells
    deployments of one name in several clusters apart.
    """
    spec.validate("route-table", dict(table), source=f"ConfigMap/{names.routes_name(settings.deployment)}")
    text = json.dumps(table, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    content: dict[str, Any] = {"data": {pod.ROUTES_FILE: text}}
    if binary:
        content["binaryData"] = dict(binary)
    return make(
        CONFIG_MAP,
        names.routes_name(settings.deployment),
        settings.namespace,
        names.deployment_labels(settings.deployment),
        {names.GENERATION: str(table["generation"]), **({names.ID: id} if id else {})},
        content,
    )


def _service_account(release: Release) -> dict[str, Any]:
    content: dict[str, Any] = {"automountServiceAccountToken": False}
    secrets = release.spec.get("platform", {}).get("pull_secrets")
    if secrets:
        content["imagePullSecrets"] = [{"name": name} for name in secrets]
    return content


def _network_policy(settings: Settings, release: Release, selector: Mapping[str, str]) -> dict[str, Any]:
    ports = (pod.PORT,) if is_plaintext(release) else (pod.PORT, pod.PROBE_PORT)
    return {
        "podSelector": {"matchLabels": dict(selector)},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": {names.CALLER: settings.deployment}}}],
                "ports": [{"port": port, "protocol": "TCP"} for port in ports],
            }
        ],
    }


def _deployment(
    settings: Settings, release: Release, selector: Mapping[str, str], *, replicas: int | None
) -> dict[str, Any]:
    return {
        # Where there is an autoscaler the number is its own: a value here would undo its work at each apply.
        **({} if replicas is None else {"replicas": replicas}),
        "revisionHistoryLimit": 1,
        "progressDeadlineSeconds": pod.START_LIMIT,
        "selector": {"matchLabels": dict(selector)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": pod.template(settings, release),
    }


def _autoscaler(name: str, least: int, most: int) -> dict[str, Any]:
    return {
        "scaleTargetRef": {"apiVersion": DEPLOYMENT.api, "kind": DEPLOYMENT.kind, "name": name},
        "minReplicas": least,
        "maxReplicas": most,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": _BUSY}},
            }
        ],
    }
