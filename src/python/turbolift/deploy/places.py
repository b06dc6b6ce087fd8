# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a run of the program works: which folder holds the deployment's state, and for a platform that has places
(namespaces of clusters), which one.

A deployment may be in many places at once, each with a state of its own below the deployment's folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from turbolift.deploy.platform import Release
from turbolift.errors import ConfigurationError

_PLACED = "k8s"


def locate(
    base: Path, kind: str | None, options: Mapping[str, str], releases: Sequence[Release]
) -> tuple[Path, object]:
    """Return the state folder and the place (None for a platform without places).

    `base` is the deployment's folder, `kind` what ``--platform`` says, `options` those of places, `releases` what is
    to be deployed. Raises ConfigurationError.
    """
    kinds = {one.platform for one in releases} or ({kind} if kind else set())
    if not kinds and not (base / "routes.json").exists() and (base / _PLACED).is_dir():
        # Asked about without a word of where: it is only in places.
        kinds = {_PLACED}
    if _PLACED not in kinds:
        if options:
            given = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(options))
            raise ConfigurationError(f"{given}: only platform k8s takes that: add --platform k8s")
        return base, None
    if len(kinds) > 1:
        there = sorted(f"{one.function} ({one.platform})" for one in releases)
        raise ConfigurationError(
            f"one deployment goes to k8s alone, or not at all: {', '.join(there[:4])}"
            + (" ..." if len(there) > 4 else "")
            + ": pass --platform, or make two deployments"
        )
    try:
        from turbolift.deploy.k8s import place
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"platform k8s needs the distribution {error.name!r}: pip install turbolift-runtime[deploy]"
        ) from None

    found = place.find(base, options, releases)
    return base / place.SCOPE / found.folder, found
