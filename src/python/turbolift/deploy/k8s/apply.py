# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Write objects server-side: only what changed, and never over somebody else's."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from turbolift.deploy.k8s import names
from turbolift.deploy.k8s.cluster import ApiError, Cluster
from turbolift.deploy.k8s.manifests import to_yaml
from turbolift.deploy.k8s.objects import Object, annotation, kind_of, label, title
from turbolift.errors import DeployError

_SERVERS_OWN = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink")


def is_ours(document: Object, deployment: str) -> bool:
    """Return whether an object is of this deployment."""
    return label(document, names.MANAGED_BY) == names.MANAGER and label(document, names.PART_OF) == deployment


def check_ours(document: Object, deployment: str) -> None:
    """Raise DeployError where an object of that name is there and is not this deployment's."""
    if is_ours(document, deployment):
        return
    manager = label(document, names.MANAGED_BY)
    other = label(document, names.PART_OF)
    whose = f"of the deployment {other!r}" if manager == names.MANAGER else "not made by turbolift"
    raise DeployError(
        f"{title(document)} in namespace {document['metadata']['namespace']} is there already and is {whose}: it is "
        "not touched. Rename or delete it, or deploy to another namespace"
    )


def is_current(live: Object, wanted: Object) -> bool:
    """Return whether `live` was made from exactly `wanted`."""
    return annotation(live, names.SPEC_HASH) == annotation(wanted, names.SPEC_HASH)


def apply(cluster: Cluster, deployment: str, wanted: Object, *, dry_run: bool = False) -> bool:
    """Make `wanted` so; return whether that needed a write.

    Raises DeployError where an object of that name is somebody else's, or somebody else's field manager says
    otherwise of a field of ours.
    """
    live = cluster.get(kind_of(wanted), wanted["metadata"]["name"])
    if live is not None:
        check_ours(live, deployment)
        if is_current(live, wanted):
            return False
    try:
        cluster.apply(wanted, dry_run=dry_run)
    except ApiError as error:
        if error.reason != "Conflict" or not error.causes:
            raise
        raise _conflict(wanted, error) from None
    return True


def difference(cluster: Cluster, deployment: str, wanted: Object) -> str:
    """Return what applying `wanted` would change of what is there, as the server says; a unified diff of YAML."""
    live = cluster.get(kind_of(wanted), wanted["metadata"]["name"])
    if live is not None:
        check_ours(live, deployment)
    try:
        new = cluster.apply(wanted, dry_run=True)
    except ApiError as error:
        if error.reason != "Conflict" or not error.causes:
            raise
        raise _conflict(wanted, error) from None
    return diff_text(live, new)


def diff_text(live: Object | None, new: Object | None) -> str:
    """Return the unified diff of two states of an object (None: it is not there)."""
    name = title(live or new or {})
    before, after = (_shown(one).splitlines(keepends=True) for one in (live, new))
    here = f"live/{name}" if live else "/dev/null"
    there = f"new/{name}" if new else "/dev/null"
    return "".join(difflib.unified_diff(before, after, here, there))


def remove(
    cluster: Cluster, documents: Iterable[Object], deployment: str, *, foreground: bool = False
) -> None:
    """Delete those of `documents` that are this deployment's."""
    for one in documents:
        if is_ours(one, deployment):
            cluster.delete(kind_of(one), one["metadata"]["name"], foreground=foreground)


def _shown(document: Object | None) -> str:
    """Return an object as people compare it: without what the server alone keeps."""
    if document is None:
        return ""
    metadata = {key: value for key, value in document["metadata"].items() if key not in _SERVERS_OWN}
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if not key.startswith("deployment.kubernetes.io/")
    }
    metadata["annotations"] = annotations
    told: dict[str, Any] = {**document, "metadata": metadata}
    told.pop("status", None)
    told.pop("binaryData", None)
    return to_yaml([_sorted(told)])


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def _conflict(wanted: Object, error: ApiError) -> DeployError:
    told = "; ".join(f"{one.get('field')}: {one.get('message')}" for one in error.causes)
    return DeployError(
        f"{title(wanted)}: somebody else changed fields that turbolift writes: {told}. Undo that, or delete the object, "
        "and deploy again"
    )
