# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Names, labels and annotations of what turbolift makes in a cluster: all of it is found by label alone."""

from __future__ import annotations

import hashlib
import re

from turbolift.deploy.platform import Release
from turbolift.errors import ConfigurationError

MANAGER = "turbolift"
"""Our field manager, and the value of ``app.kubernetes.io/managed-by``."""

NAME = "app.kubernetes.io/name"
VERSION = "app.kubernetes.io/version"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"

CALLER = "turbolift.dev/caller"
"""Label of pods whose calls the NetworkPolicy of a function admits; its value is the deployment."""

FUNCTION = "turbolift.dev/function"
FULL_VERSION = "turbolift.dev/version"
SPEC_HASH = "turbolift.dev/spec-hash"
MIN_REPLICAS = "turbolift.dev/min-replicas"
GENERATION = "turbolift.dev/generation"
ID = "turbolift.dev/id"

_LABEL = 63
_IDENTITY_HASH = 8
_VERSION_HEX = 10
_READABLE = _LABEL - _IDENTITY_HASH - _VERSION_HEX - 2


def function_name(function: str) -> str:
    """Return a DNS label for a function: readable, and unique by 8 hex digits of its identity's hash.

    It begins with a letter, as the names of Services must, and leaves room for a version.
    """
    text = re.sub(r"[^a-z0-9]+", "-", function.lower()).strip("-")
    if not re.match(r"[a-z]", text):
        text = f"f-{text}"
    readable = text[:_READABLE].strip("-")
    return f"{readable}-{hashlib.sha256(function.encode()).hexdigest()[:_IDENTITY_HASH]}"


def object_name(function: str, version: str) -> str:
    """Return the name of every object of a function at a version: a DNS label of 63 characters at most."""
    return f"{function_name(function)}-{version[:_VERSION_HEX]}"


def routes_name(deployment: str) -> str:
    """Return the name of the ConfigMap that callers of `deployment` follow."""
    return f"turbolift-{deployment}"


def authority_name(deployment: str) -> str:
    """Return the name of the Secret that keeps the authority of a deployment's certificates."""
    return f"turbolift-{deployment}-ca"


def caller_name(deployment: str) -> str:
    """Return the name of the Secret that callers of a deployment mount."""
    return f"turbolift-{deployment}-caller"


def server_names(name: str, namespace: str) -> tuple[str, ...]:
    """Return the names that a Service is called by in its cluster."""
    return name, f"{name}.{namespace}", f"{name}.{namespace}.svc"


def deployment_labels(deployment: str) -> dict[str, str]:
    """Return the labels of everything of `deployment`."""
    if len(deployment) > _LABEL - len("turbolift-"):
        raise ConfigurationError(
            f"deployment {deployment!r}: too long for a label in a cluster: {_LABEL - len('turbolift-')} "
            "characters at most"
        )
    return {PART_OF: deployment, MANAGED_BY: MANAGER}


def selector_labels(deployment: str, release: Release) -> dict[str, str]:
    """Return the labels that single out the pods of one release; they never change."""
    return {
        NAME: function_name(release.function),
        VERSION: release.version[:_VERSION_HEX],
        PART_OF: deployment,
    }


def labels(deployment: str, release: Release) -> dict[str, str]:
    """Return the labels of every object of `release`."""
    return {**selector_labels(deployment, release), **deployment_labels(deployment)}


def selector(deployment: str) -> str:
    """Return the label selector that finds everything of `deployment`."""
    return ",".join(f"{key}={value}" for key, value in deployment_labels(deployment).items())


def pod_selector(deployment: str, function: str, version: str) -> str:
    """Return the label selector that finds the pods of one version."""
    wanted = {NAME: function_name(function), VERSION: version[:_VERSION_HEX], PART_OF: deployment}
    return ",".join(f"{key}={value}" for key, value in wanted.items())
