# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The plain form of Kubernetes objects, and which kinds turbolift makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turbolift.deploy.k8s import names
from turbolift.spec import digest

Object = dict[str, Any]
"""An object as its JSON: ``apiVersion``, ``kind``, ``metadata`` and the rest."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object: how it is written in a manifest (`api`, `kind`) and in a path (`plural`)."""

    api: str
    kind: str
    plural: str

    @property
    def group(self) -> str:
        """The API group, empty for the core one."""
        return self.api.rpartition("/")[0]

    @property
    def resource(self) -> str:
        """What kubectl calls it in full, as ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str, name: str = "") -> str:
        """Return the path of the collection in `namespace`, or of one object in it."""
        root = f"/apis/{self.api}" if self.group else f"/api/{self.api}"
        return f"{root}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
SERVICE = Kind("v1", "Service", "services")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
AUTOSCALER = Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
SECRET = Kind("v1", "Secret", "secrets")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
POD = Kind("v1", "Pod", "pods")
EVENT = Kind("v1", "Event", "events")
JOB = Kind("batch/v1", "Job", "jobs")
REPLICA_SET = Kind("apps/v1", "ReplicaSet", "replicasets")

RELEASE_KINDS = (SERVICE_ACCOUNT, NETWORK_POLICY, SERVICE, DISRUPTION_BUDGET, DEPLOYMENT, AUTOSCALER)
"""What a release is made of, in the order of its making: closed before it runs, and scaled once it exists."""

OWN_KINDS = (*RELEASE_KINDS, JOB, CONFIG_MAP, LEASE)
"""All that turbolift writes and finds by label; a Job is an app's, the last two are the deployment's own. Secrets are found
by their names alone (`turbolift.deploy.k8s.keys`): whoever may list them may read those of everybody."""

_BY_KIND = {(one.api, one.kind): one for one in (*OWN_KINDS, SECRET)}


def kind_of(document: Mapping[str, Any]) -> Kind:
    """Return the kind of an object that turbolift made."""
    return _BY_KIND[document["apiVersion"], document["kind"]]


def make(
    kind: Kind,
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    content: Mapping[str, Any],
) -> Object:
    """Return an object, with the hash of all that it says in an annotation: equal ones need no write."""
    document: Object = {
        "apiVersion": kind.api,
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": dict(labels),
            "annotations": dict(annotations),
        },
        **content,
    }
    document["metadata"]["annotations"][names.SPEC_HASH] = digest(document)
    return document


def title(document: Mapping[str, Any]) -> str:
    """Return how people are told of an object: ``Deployment/name``."""
    return f"{document['kind']}/{document['metadata']['name']}"


def annotation(document: Mapping[str, Any], name: str) -> str | None:
    """Return an annotation of an object, or None."""
    found = (document["metadata"].get("annotations") or {}).get(name)
    return found if isinstance(found, str) else None


def label(document: Mapping[str, Any], name: str) -> str | None:
    """Return a label of an object, or None."""
    found = (document["metadata"].get("labels") or {}).get(name)
    return found if isinstance(found, str) else None
