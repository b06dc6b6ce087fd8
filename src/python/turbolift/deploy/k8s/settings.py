# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the objects of a deployment depend on beside its releases: where they go, and where images come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from turbolift.deploy.k8s.names import function_name
from turbolift.deploy.platform import DRAIN, Release
from turbolift.errors import ConfigurationError

_NAMESPACE = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_REGISTRY = r"[A-Za-z0-9][-.A-Za-z0-9]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a deployment's objects go (`namespace`), the ``host/prefix`` that its images are below (`registry`),
    and the seconds that a pod gets for its calls when it is stopped (`drain`; None: as tagged, 30 at least).
    """

    deployment: str
    namespace: str
    registry: str
    drain: float | None = None

    def repository(self, function: str) -> str:
        """Return ``host/prefix/name`` of the repository of a function's images."""
        return f"{self.registry}/{function_name(function)}"

    def image(self, release: Release) -> str:
        """Return the reference of a release's image: by digest, never by a tag."""
        return f"{self.repository(release.function)}@{release.image}"

    def drain_of(self, release: Release) -> float:
        """Return the seconds that a pod of `release` gets for its calls."""
        return self.drain if self.drain is not None else max(DRAIN, release.options.get("timeout") or 0.0)


def is_plaintext(release: Release) -> bool:
    """Return whether calls of `release` come by plain HTTP: its tag says ``K8s(plaintext=True)``."""
    platform: Mapping[str, object] = release.spec.get("platform", {})
    return platform.get("kind") == "k8s" and platform.get("plaintext") is True


def check_namespace(text: str, where: str) -> str:
    """Return `text` if it can be a namespace. Raises ConfigurationError that names `where` it was given."""
    if not re.fullmatch(_NAMESPACE, text):
        raise ConfigurationError(f"{where} {text!r}: no name of a namespace (a-z, 0-9 and -, 63 at most)")
    return text


def check_registry(text: str, where: str) -> str:
    """Return `text` if images can be pushed below it. Raises ConfigurationError."""
    if not re.fullmatch(_REGISTRY, text):
        raise ConfigurationError(f"{where} {text!r}: write HOST/PREFIX, as registry.example/team")
    host = text.partition("/")[0]
    if not ("." in host or ":" in host or host == "localhost"):
        raise ConfigurationError(
            f"{where} {text!r}: name the registry's host too, as registry.example/{text}"
        )
    return text


def declared(field: str, flag: str | None, releases: Iterable[Release]) -> str | None:
    """Return `field` of the tags' ``K8s(...)``, unless the command line says it (`flag`).

    Raises ConfigurationError where the tags of one deployment disagree: it goes to one place.
    """
    if flag:
        return flag
    told: dict[str, list[str]] = {}
    for release in releases:
        platform: Mapping[str, object] = release.spec.get("platform", {})
        value = platform.get(field)
        if platform.get("kind") == "k8s" and isinstance(value, str):
            told.setdefault(value, []).append(release.function)
    if len(told) > 1:
        shown = "; ".join(f"{value} ({functions[0]})" for value, functions in sorted(told.items()))
        raise ConfigurationError(
            f"the tags of this deployment name {len(told)} values of K8s({field}=...): {shown}. One deployment "
            f"goes to one: pass --{field}, or make two deployments"
        )
    return next(iter(told), None)
