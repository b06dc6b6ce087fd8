# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The deployment's state in the cluster: one ConfigMap holds the route table and what a rollback needs.

It is replaced in one write, which is the moment of a switch. Another machine reads it before it does anything, so
that a laptop and CI may deploy in turn.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import secrets
from collections.abc import Mapping
from typing import Any

from turbolift.deploy.k8s import names, render
from turbolift.deploy.k8s.apply import check_ours
from turbolift.deploy.k8s.cluster import ApiError, Cluster
from turbolift.deploy.k8s.objects import CONFIG_MAP, annotation
from turbolift.deploy.k8s.settings import Settings
from turbolift.errors import DeployError

STATE = "state.json.gz"
_TABLE = "routes.json"
_LIMIT = 1 << 20


class Memory:
    """Reads and replaces the ConfigMap; a replacement fails where somebody else replaced it since the reading."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._version: str | None = None
        self._table: dict[str, Any] = {}
        self.id = secrets.token_hex(4)
        """What tells this deployment from one of the same name in another cluster; made at its first switch."""

    def recall(self, deployment: str) -> dict[str, bytes] | None:
        """Return the files of the deployment's state, by name; None where nothing is deployed."""
        live = self._cluster.get(CONFIG_MAP, names.routes_name(deployment))
        if live is None:
            self._version = None
            return None
        check_ours(live, deployment)
        self._version = live["metadata"]["resourceVersion"]
        self.id = annotation(live, names.ID) or self.id
        try:
            self._table = json.loads((live.get("data") or {}).get(_TABLE, "{}"))
            packed = base64.b64decode((live.get("binaryData") or {})[STATE])
            files = json.loads(gzip.decompress(packed))
            return {name: text.encode() for name, text in files.items()}
        except (KeyError, ValueError, OSError, EOFError, AttributeError, binascii.Error):
            # A table that `render` made for GitOps: there is nothing to go back to.
            return None

    def table(self, deployment: str) -> dict[str, Any] | None:
        """Return the route table as it is in the cluster; what a later `publish` replaces is not changed by it."""
        live = self._cluster.get(CONFIG_MAP, names.routes_name(deployment))
        if live is None:
            return None
        check_ours(live, deployment)
        found: dict[str, Any] = json.loads((live.get("data") or {}).get(_TABLE, "null"))
        return found

    def routed(self) -> set[tuple[str, str]]:
        """Return (function, version) of what the table names that was last read or written."""
        return {(name, one["version"]) for name, one in self._table.get("routes", {}).items()}

    @property
    def generation(self) -> str:
        """The number of the table that was last read or written."""
        return str(self._table.get("generation", 0))

    def publish(self, settings: Settings, files: Mapping[str, bytes]) -> None:
        """Replace the table, and what is kept with it. Raises DeployError where another run did so meanwhile."""
        table = json.loads(files[_TABLE])
        text = json.dumps({name: data.decode() for name, data in sorted(files.items())}, sort_keys=True)
        packed = base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()
        if len(packed) > _LIMIT * 0.9:
            raise DeployError(
                f"the state of this deployment is {len(packed) / 1e6:.2f} MB packed, and a ConfigMap holds 1 MB: make "
                "several deployments of it"
            )
        document = render.routes_map(settings, table, {STATE: packed}, id=self.id)
        if self._version is not None:
            document["metadata"]["resourceVersion"] = self._version
        else:
            live = self._cluster.get(CONFIG_MAP, document["metadata"]["name"])
            if live is not None:
                check_ours(live, settings.deployment)
        try:
            done = self._cluster.apply(document, force=True)
        except ApiError as error:
            if error.reason != "Conflict":
                raise
            raise DeployError(
                "another run has changed this deployment in the cluster since this one began: nothing was switched; "
                "deploy again"
            ) from None
        self._version = done["metadata"]["resourceVersion"]
        self._table = table
