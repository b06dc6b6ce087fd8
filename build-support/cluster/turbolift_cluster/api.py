# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A small client of the API server, as the administrator: get, and server-side apply."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import ClusterError

Document = dict[str, Any]
_MANAGER = "turbolift-cluster"
# Where the kinds that we apply are in the API: (plural, whether they are in a namespace).
_KINDS = {
    "APIService": ("apiservices", False),
    "ClusterRole": ("clusterroles", False),
    "ClusterRoleBinding": ("clusterrolebindings", False),
    "ConfigMap": ("configmaps", True),
    "Deployment": ("deployments", True),
    "RoleBinding": ("rolebindings", True),
    "Service": ("services", True),
    "ServiceAccount": ("serviceaccounts", True),
}


class Api:
    """The API server of a cluster, by a kubeconfig that we wrote."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        authority = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        self._server: str = config["clusters"][0]["cluster"]["server"]
        self._token: str = config["users"][0]["user"]["token"]
        context = ssl.create_default_context(cadata=authority)
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def get(self, path: str, seconds: float = 5.0) -> Document:
        """Return what is at a path; raises OSError (urllib's errors are some) when it is not there or nobody answers."""
        return self._ask("GET", path, None, "", seconds)

    def watch(self, path: str, silence: float = 330.0) -> Iterator[Document]:
        """Yield the events of a watch until the server ends it; raises OSError after `silence` seconds without any."""
        request = urllib.request.Request(self._server + path, headers=self._headers())
        with self._opener.open(request, timeout=silence) as answer:
            for line in answer:
                yield json.loads(line)

    def apply(self, document: Document) -> None:
        """Apply one object by server-side apply. Raises ClusterError with the server's reason."""
        plural, namespaced = _KINDS[document["kind"]]
        version, name = document["apiVersion"], document["metadata"]["name"]
        where = f"/namespaces/{document['metadata']['namespace']}" if namespaced else ""
        path = f"/{'apis' if '/' in version else 'api'}/{version}{where}/{plural}/{name}?fieldManager={_MANAGER}&force=true"
        try:
            self._ask("PATCH", path, json.dumps(document).encode(), "application/apply-patch+yaml", 20.0)
        except urllib.error.HTTPError as error:
            raise ClusterError(
                f"{document['kind']} {name}: {error.read().decode(errors='replace')[:2000]}"
            ) from error

    def _ask(self, method: str, path: str, body: bytes | None, kind: str, seconds: float) -> Document:
        request = urllib.request.Request(self._server + path, body, self._headers(kind), method=method)
        with self._opener.open(request, timeout=seconds) as answer:
            document: Document = json.loads(answer.read())
            return document

    def _headers(self, kind: str = "") -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        return {**headers, "Content-Type": kind} if kind else headers


def node_ready(document: Document) -> bool:
    """Whether a Node is Ready and takes pods."""
    conditions = document.get("status", {}).get("conditions", [])
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    taints = {taint["key"] for taint in document["spec"].get("taints", [])}
    return ready and not any(
        key.startswith("node.kubernetes.io/") and key != "node.kubernetes.io/unschedulable" for key in taints
    )
