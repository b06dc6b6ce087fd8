# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The exact permissions that a deployer needs in its namespace, and a check of them before anything is done."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from turbolift.deploy.k8s.cluster import ApiError, Cluster
from turbolift.deploy.k8s.objects import LEASE, OWN_KINDS, SECRET
from turbolift.errors import DeployError

ROLE_NAME = "turbolift-deployer"

_WRITE = ("get", "list", "create", "patch", "delete")
_GROUPS = sorted({one.group for one in OWN_KINDS if one is not LEASE})
# (group, resources, verbs); docs/kubernetes.md shows the Role that is made of it, and a test deploys with it alone.
RULES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    *(
        (group, tuple(sorted(one.plural for one in OWN_KINDS if one.group == group)), _WRITE)
        for group in _GROUPS
    ),
    ("apps", ("deployments",), ("watch",)),
    ("batch", ("jobs",), ("watch",)),
    # By name alone, those of certificates: list would show everybody's.
    ("", (SECRET.plural,), ("get", "create", "patch", "delete")),
    (LEASE.group, (LEASE.plural,), ("get", "list", "create", "update", "delete")),
    # patch: an annotation, by which a kubelet shows the new route table at once.
    ("", ("pods",), ("list", "watch", "patch")),
    ("", ("pods/log",), ("get",)),
    # call, status, checks and forward; get is what a websocket asks for, create what SPDY does.
    ("", ("pods/portforward",), ("get", "create")),
    ("", ("events",), ("list",)),
)


def role(namespace: str) -> dict[str, Any]:
    """Return the Role that a deployer needs, no more."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": ROLE_NAME, "namespace": namespace},
        "rules": [
            {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
            for group, resources, verbs in RULES
        ],
    }


def check(cluster: Cluster) -> None:
    """Ask the API server for every permission; raises DeployError that lists what is missing.

    Also finds out that the namespace is not there: then nothing could be made in it.
    """
    wanted = [
        (group, resource, verb)
        for group, resources, verbs in RULES
        for resource in resources
        for verb in verbs
    ]

    def allowed(one: tuple[str, str, str]) -> bool:
        group, resource, verb = one
        plural, _, subresource = resource.partition("/")
        attributes = {"namespace": cluster.namespace, "verb": verb, "group": group, "resource": plural}
        if subresource:
            attributes["subresource"] = subresource
        answer = cluster.json(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            body={
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            },
        )
        return bool((answer.get("status") or {}).get("allowed"))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(allowed, wanted))
    missing: dict[str, list[str]] = {}
    for (group, resource, verb), yes in zip(wanted, answers, strict=True):
        if not yes:
            missing.setdefault(f"{resource}.{group}" if group else resource, []).append(verb)
    if missing:
        told = "; ".join(f"{', '.join(verbs)} {resource}" for resource, verbs in sorted(missing.items()))
        raise DeployError(
            f"no permission in {cluster.place}: {told}. docs/kubernetes.md has the Role that deploy needs; "
            "or is it another namespace? --namespace NAME"
        )
    _check_namespace(cluster)


def _check_namespace(cluster: Cluster) -> None:
    """Raise DeployError where the namespace is not there: making something in it, without doing so, tells."""
    probe = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"generateName": "turbolift-probe-", "namespace": cluster.namespace},
    }
    path = f"/api/v1/namespaces/{cluster.namespace}/configmaps"
    try:
        cluster.json("POST", path, {"dryRun": "All"}, probe)
    except ApiError as error:
        if error.status == 404:
            raise DeployError(
                f"there is no namespace {cluster.namespace!r} in context {cluster.place.context} "
                f"({cluster.place.server}): kubectl create namespace {cluster.namespace}, or --namespace NAME"
            ) from None
        raise
