# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The pod of a function: it fits the "restricted" Pod Security Standard, and its times fit the shim's drain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from turbolift.client.routes import TLS_FOLDER
from turbolift.deploy.k8s import names
from turbolift.deploy.k8s.settings import Settings, is_plaintext
from turbolift.deploy.platform import Release
from turbolift.wire.tls import FILES

PORT = 8080
PROBE_PORT = 8081
"""Where a pod that takes calls over TLS answers probes, and says what it counts, by plain HTTP."""

PROBE_PORT_NAME = "probes"
USER = 65532
ROUTES_DIR = "/etc/turbolift"
ROUTES_FILE = "routes.json"
SERVER_DIR = "/etc/turbolift-server"

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
    plaintext = is_plaintext(release)
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
            # The table is written at the first switch, which comes after the first start.
            routes_volume(settings, names.routes_name(settings.deployment), optional=True),
            *([] if plaintext else [_server_volume(settings, release)]),
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
                "prometheus.io/port": str(PORT if plaintext else PROBE_PORT),
                "prometheus.io/path": "/metrics",
            },
        },
        "spec": spec,
    }


def port_name(release: Release) -> str:
    """Return the name of the port that calls of `release` go to."""
    return "http" if is_plaintext(release) else "https"


def routes_volume(settings: Settings, table: str, *, optional: bool) -> dict[str, Any]:
    """Return the volume of a caller: the route table of the ConfigMap `table`, and who the caller is."""
    # Only what callers read: a deployment's ConfigMap also holds what a rollback needs.
    routes: dict[str, Any] = {"name": table, "items": [{"key": ROUTES_FILE, "path": ROUTES_FILE}]}
    if optional:
        routes["optional"] = True
    secret = {
        "name": names.caller_name(settings.deployment),
        # There is none where every function is plaintext.
        "optional": True,
        "items": [{"key": name, "path": f"{TLS_FOLDER}/{name}"} for name in FILES],
    }
    return {"name": "routes", "projected": {"sources": [{"configMap": routes}, {"secret": secret}]}}


def _server_volume(settings: Settings, release: Release) -> dict[str, Any]:
    secret = names.object_name(release.function, release.version)
    # For the pod's group alone.
    return {"name": "server", "secret": {"secretName": secret, "defaultMode": 0o440}}


def _container(settings: Settings, release: Release, platform: dict[str, Any]) -> dict[str, Any]:
    plaintext = is_plaintext(release)
    probes = port_name(release) if plaintext else PROBE_PORT_NAME
    ports = [{"name": port_name(release), "containerPort": PORT, "protocol": "TCP"}]
    mounts = [
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "routes", "mountPath": ROUTES_DIR, "readOnly": True},
    ]
    if not plaintext:
        ports.append({"name": PROBE_PORT_NAME, "containerPort": PROBE_PORT, "protocol": "TCP"})
        mounts.append({"name": "server", "mountPath": SERVER_DIR, "readOnly": True})
    return {
        "name": "function",
        "image": settings.image(release),
        # The reference is a digest: what a node has is what is meant.
        "imagePullPolicy": "IfNotPresent",
        "ports": ports,
        "env": _environment(settings, release, platform),
        "resources": resources(release.options, platform.get("resources") or {}),
        "startupProbe": _probe("/readyz", probes, period=1, timeout=2, failures=START_LIMIT),
        "readinessProbe": _probe("/readyz", probes, period=2, timeout=2, failures=2),
        # Patient: a function that is busy on the event loop is not dead.
        "livenessProbe": _probe("/healthz", probes, period=10, timeout=5, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE}}},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": mounts,
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
    if not is_plaintext(release):
        ours |= {"TURBOLIFT_TLS": SERVER_DIR, "TURBOLIFT_PROBE_PORT": str(PROBE_PORT)}
    values |= {name: {"value": text} for name, text in ours.items()}
    # A host's name has 63 characters; that of a pod may have more, and errors say which it was.
    values["TURBOLIFT_POD"] = {"valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}
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


def _probe(path: str, port: str, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
        "successThreshold": 1,
    }


def _platform(release: Release) -> dict[str, Any]:
    """Return what the tag's ``K8s(...)`` says; nothing where the function was tagged for another platform."""
    platform: dict[str, Any] = release.spec.get("platform", {})
    return platform if platform.get("kind") == "k8s" else {}
