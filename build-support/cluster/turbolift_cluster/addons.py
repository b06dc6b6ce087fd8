# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What runs in the cluster from the start: CoreDNS and metrics-server, as the objects that their projects publish, shortened."""

from __future__ import annotations

from typing import Any

from .api import Document
from .settings import Cluster

_NAMESPACE = "kube-system"
_COREFILE = """.:5353 {
    errors
    health :8080
    ready :8181
    kubernetes cluster.local in-addr.arpa {
        pods insecure
        ttl 5
    }
    cache 5
    loadbalance
}
"""


def dns(cluster: Cluster, image: str) -> list[Document]:
    """Return CoreDNS: two replicas, so that names resolve while a node is drained. It knows the cluster's names and no others."""
    container = {
        "name": "coredns",
        "image": image,
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": "dns", "containerPort": 5353, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 5353, "protocol": "TCP"},
        ],
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "170Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "livenessProbe": {
            "httpGet": {"path": "/health", "port": 8080},
            "timeoutSeconds": 5,
            "failureThreshold": 5,
        },
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
        "securityContext": _RESTRICTED,
    }
    volumes = [{"name": "config", "configMap": {"name": "coredns"}}]
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": "dns-tcp"},
    ]
    rules = [
        {
            "apiGroups": [""],
            "resources": ["endpoints", "services", "pods", "namespaces"],
            "verbs": ["list", "watch"],
        },
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    service = _object(
        "v1",
        "Service",
        "kube-dns",
        spec={"clusterIP": cluster.dns, "selector": _labels("coredns"), "ports": ports},
    )
    return [
        _object("v1", "ServiceAccount", "coredns"),
        *_role("system:coredns", rules, "coredns"),
        _object("v1", "ConfigMap", "coredns", data={"Corefile": _COREFILE}),
        _deployment("coredns", 2, container, volumes),
        service,
    ]


def metrics(image: str) -> list[Document]:
    """Return metrics-server, from which a HorizontalPodAutoscaler and `kubectl top` have their figures."""
    container = {
        "name": "metrics-server",
        "image": image,
        "args": [
            "--cert-dir=/tmp",
            "--secure-port=10250",
            "--kubelet-preferred-address-types=InternalIP",
            "--kubelet-certificate-authority=/etc/authority/ca.crt",
            "--kubelet-use-node-status-port",
            "--metric-resolution=10s",
            "--kubelet-request-timeout=5s",
        ],
        "ports": [{"name": "https", "containerPort": 10250}],
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "https", "scheme": "HTTPS"},
            "periodSeconds": 2,
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "authority", "mountPath": "/etc/authority", "readOnly": True},
        ],
        "securityContext": _RESTRICTED,
    }
    volumes: list[dict[str, Any]] = [
        {"name": "tmp", "emptyDir": {}},
        {"name": "authority", "configMap": {"name": "kube-root-ca.crt"}},
    ]
    rules = [
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]},
    ]
    readers = [
        {"apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}
    ]
    labels = {f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in ("admin", "edit", "view")}
    reader = _object(
        "rbac.authorization.k8s.io/v1", "ClusterRole", "system:aggregated-metrics-reader", rules=readers
    )
    reader["metadata"]["labels"] = labels
    delegator = _binding(
        "ClusterRoleBinding", "metrics-server:system:auth-delegator", "ClusterRole", "system:auth-delegator"
    )
    authenticator = _binding(
        "RoleBinding", "metrics-server-auth-reader", "Role", "extension-apiserver-authentication-reader"
    )
    api = {
        "group": "metrics.k8s.io",
        "version": "v1beta1",
        "service": {"name": "metrics-server", "namespace": _NAMESPACE},
        "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    ports = [{"name": "https", "port": 443, "targetPort": "https"}]
    return [
        _object("v1", "ServiceAccount", "metrics-server"),
        reader,
        *_role("system:metrics-server", rules, "metrics-server"),
        delegator,
        authenticator,
        _deployment("metrics-server", 1, container, volumes),
        _object(
            "v1", "Service", "metrics-server", spec={"selector": _labels("metrics-server"), "ports": ports}
        ),
        _object("apiregistration.k8s.io/v1", "APIService", "v1beta1.metrics.k8s.io", spec=api),
    ]


def enforcer() -> list[Document]:
    """Return what the nodes' enforcer of NetworkPolicy may read."""
    rules = [
        {"apiGroups": [""], "resources": ["pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["list", "watch"]},
    ]
    name = "turbolift:network-policy"
    binding = _binding("ClusterRoleBinding", name, "ClusterRole", name)
    binding["subjects"] = [{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}]
    return [_object("rbac.authorization.k8s.io/v1", "ClusterRole", name, rules=rules), binding]


_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CLUSTER_WIDE = ("ClusterRole", "ClusterRoleBinding", "APIService")


def _object(version: str, kind: str, name: str, **fields: Any) -> Document:
    metadata = {"name": name} if kind in _CLUSTER_WIDE else {"name": name, "namespace": _NAMESPACE}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name}


def _deployment(name: str, replicas: int, container: Document, volumes: list[dict[str, Any]]) -> Document:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": _labels(name)},
    }
    pod = {
        "serviceAccountName": name,
        "priorityClassName": "system-cluster-critical",
        "topologySpreadConstraints": [spread],
        "containers": [container],
        "volumes": volumes,
    }
    template = {"metadata": {"labels": _labels(name)}, "spec": pod}
    spec = {"replicas": replicas, "selector": {"matchLabels": _labels(name)}, "template": template}
    return _object("apps/v1", "Deployment", name, spec=spec)


def _role(name: str, rules: list[dict[str, Any]], account: str) -> list[Document]:
    role = _object("rbac.authorization.k8s.io/v1", "ClusterRole", name, rules=rules)
    return [role, _binding("ClusterRoleBinding", name, "ClusterRole", name, account)]


def _binding(kind: str, name: str, role_kind: str, role: str, account: str = "metrics-server") -> Document:
    subject = {"kind": "ServiceAccount", "name": account, "namespace": _NAMESPACE}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role}
    return _object("rbac.authorization.k8s.io/v1", kind, name, roleRef=reference, subjects=[subject])
