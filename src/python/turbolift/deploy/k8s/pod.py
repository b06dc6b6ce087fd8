# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The pod of a function: it fits the "restricted" Pod Security Standard, and its times fit the shim's drain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from turbolift.deploy.k8s import names
from turbolift.deploy.k8s.settings import Settings
from turbolift.deploy.platform import Release

PORT = 8080
PORT_NAME = "http"
USER = 65532
ROUTES_DIR = "/etc/turbolift"
ROUTES_FILE = "routes.json"

LEAVE = 5
"""Seconds between a pod's leaving of the Service and its SIGTERM: every node must have heard of the former."""

KILL_AFTER = 10
"""Seconds that the kubelet waits longer than preStop and drain together, before it kills."""

START_LIMIT = 900
"""Seconds that an import may take before the kubelet starts the container anew; a rollout gives up by itself."""

_CPU = "100m"
_MEMORY = "128Mi"
TMP = "512Mi"

POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def template(settings: Settings, release: Release) -> dict[str, Any]:
    """Return the pod template of `release`."""
    selector = names.selector_labels(settings.deployment, release)
    platform = _platform(release)
    spec: dict[str, Any] = {
        "serviceAccountName": names.object_name(release.function, release.version),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": LEAVE + math.ceil(settings.drain_of(release)) + KILL_AFTER,
        "securityContext": POD_SECURITY,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector},
            }
            for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
        ],
        "containers": [_container(settings, release, platform)],
        "volumes": [
            {"name": "tmp", "emptyDir": {"sizeLimit": TMP}},
            {
                # Written at the first switch, which comes after the first start. Only what callers read: the
                # ConfigMap also holds what a rollback needs.
                "name": "routes",
                "configMap": {
                    "name": names.routes_name(settings.deployment),
                    "optional": True,
                    "items": [{"key": ROUTES_FILE, "path": ROUTES_FILE}],
                },
            },
        ],
    }
    if platform.get("node_selector"):
        spec["nodeSelector"] = dict(sorted(platform["node_selector"].items()))
    if platform.get("tolerations"):
        spec["tolerations"] = [dict(sorted(one.items())) for one in platform["tolerations"]]
    return {
        "metadata": {
            "labels": {
                **names.labels(settings.deployment, release),
                # A function may call others.
                names.CALLER: settings.deployment,
            },
            "annotations": {
                names.FUNCTION: release.function,
                names.FULL_VERSION: release.version,
                "prometheus.io/scrape": "true",
                "prometheus.io/port": str(PORT),
                "prometheus.io/path": "/metrics",
            },
        },
        "spec": spec,
    }


def _container(settings: Settings, release: Release, platform: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "function",
        "image": settings.image(release),
        # The reference is a digest: what a node has is what is meant.
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": PORT_NAME, "containerPort": PORT, "protocol": "TCP"}],
        "env": _environment(settings, release, platform),
        "resources": resources(release.options, platform.get("resources") or {}),
        "startupProbe": _probe("/readyz", period=1, timeout=2, failures=START_LIMIT),
        "readinessProbe": _probe("/readyz", period=2, timeout=2, failures=2),
        # Patient: a function that is busy on the event loop is not dead.
        "livenessProbe": _probe("/healthz", period=10, timeout=5, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE}}},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "routes", "mountPath": ROUTES_DIR, "readOnly": True},
        ],
    }


def _environment(settings: Settings, release: Release, platform: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the environment, by name; secrets and configurations by reference, ours last."""
    given = {"HOME": "/tmp", **release.options.get("env", {})}
    # The kubelet puts variables in for "$(NAME)"; two dollars are one.
    values: dict[str, Any] = {name: {"value": text.replace("$", "$$")} for name, text in given.items()}
    for field, source in (("configs", "configMapKeyRef"), ("secrets", "secretKeyRef")):
        for name, reference in (platform.get(field) or {}).items():
            object_name, _, key = reference.partition("/")
            values[name] = {"valueFrom": {source: {"name": object_name, "key": key}}}
    ours = {
        "TURBOLIFT": "on",
        "TURBOLIFT_GRACE": f"{settings.drain_of(release):g}",
        "TURBOLIFT_ROUTES": f"{ROUTES_DIR}/{ROUTES_FILE}",
        "TURBOLIFT_VERSION": release.version,
    }
    values |= {name: {"value": text} for name, text in ours.items()}
    return [{"name": name, **values[name]} for name in sorted(values)]


def resources(options: Mapping[str, Any], extended: Mapping[str, Any]) -> dict[str, Any]:
    """Return the resources of a container, by the options ``cpu`` and ``memory`` and the `extended` ones."""
    requests: dict[str, str] = {
        "cpu": options.get("cpu") or _CPU,
        "memory": options.get("memory") or _MEMORY,
    }
    limits: dict[str, str] = {}
    if options.get("memory"):
        # No limit of cpu: it would throttle where the node has cpu to spare. Memory cannot be taken back.
        limits["memory"] = options["memory"]
    for name, amount in sorted(extended.items()):
        requests[name] = limits[name] = amount
    return {"requests": requests, **({"limits": limits} if limits else {})}


def _probe(path: str, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": PORT_NAME, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
        "successThreshold": 1,
    }


def _platform(release: Release) -> dict[str, Any]:
    """Return what the tag's ``K8s(...)`` says; nothing where the function was tagged for another platform."""
    platform: dict[str, Any] = release.spec.get("platform", {})
    return platform if platform.get("kind") == "k8s" else {}
