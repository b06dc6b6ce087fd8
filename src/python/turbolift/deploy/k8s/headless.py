# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The ways to a version: a Service that leads to any of its pods, and, where there may be several, a name for each of them.

The name is that of a headless Service: the cluster's DNS answers it with the addresses of the pods that are ready, so that
callers see pods come and go, and need no rights in the cluster for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from turbolift.deploy.k8s import names, pod
from turbolift.deploy.k8s.objects import SERVICE, Object, annotation, kind_of, make
from turbolift.deploy.k8s.settings import Settings
from turbolift.deploy.platform import Instance, Release

_SUFFIX = "-each"


def each_name(name: str) -> str:
    """Return the name of the headless Service beside the Service `name`: a DNS label of 63 characters at most."""
    readable, identity, version = name.rsplit("-", 2)
    return f"{readable[: -len(_SUFFIX)] if len(name) > 63 - len(_SUFFIX) else readable}-{identity}-{version}{_SUFFIX}"


def is_headless(document: Mapping[str, Any]) -> bool:
    """Return whether an object is a Service that stands for each of its pods."""
    return kind_of(document) is SERVICE and document["spec"].get("clusterIP") == "None"


def service(settings: Settings, release: Release) -> Object:
    """Return the Service that stands for each of the pods of `release`."""
    # Without the annotations of a release: it is none of its own, also for a deployer from before there were such.
    return make(
        SERVICE,
        each_name(names.object_name(release.function, release.version)),
        settings.namespace,
        names.labels(settings.deployment, release),
        {},
        {
            "spec": service_spec(
                names.selector_labels(settings.deployment, release), pod.port_name(release), headless=True
            )
        },
    )


def service_spec(selector: Mapping[str, str], port: str, *, headless: bool = False) -> dict[str, Any]:
    """Return the ``spec`` of a Service for the pods that `selector` finds, at their port of the name `port`."""
    served = {"name": port, "port": pod.PORT, "targetPort": port, "protocol": "TCP", "appProtocol": port}
    # Only pods that are ready are given out: publishNotReadyAddresses is false unless it is said.
    ip = {"clusterIP": "None"} if headless else {}
    return {"type": "ClusterIP", **ip, "selector": dict(selector), "ports": [served]}


def instance(
    settings: Settings, name: str, function: str, version: str, *, plaintext: bool, several: bool
) -> Instance:
    """Return the instance whose objects are called `name`."""
    scheme = "http" if plaintext else "https"

    def url(service: str) -> str:
        return f"{scheme}://{names.server_names(service, settings.namespace)[-1]}:{pod.PORT}"

    return Instance(name, function, version, "k8s", url(name), url(each_name(name)) if several else "")


def instances_of(settings: Settings, objects: Iterable[Object]) -> list[Instance]:
    """Return the instances that `objects` are of."""
    found: dict[str, tuple[str, str]] = {}
    plaintext, headless = set(), set()
    for one in objects:
        name = one["metadata"]["name"]
        if is_headless(one):
            headless.add(name)
            continue
        function, version = annotation(one, names.FUNCTION), annotation(one, names.FULL_VERSION)
        if function and version:
            found[name] = (function, version)
        if kind_of(one) is SERVICE and one["spec"]["ports"][0].get("name") == "http":
            plaintext.add(name)
    return [
        instance(settings, name, *of, plaintext=name in plaintext, several=each_name(name) in headless)
        for name, of in found.items()
    ]
