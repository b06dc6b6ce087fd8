# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Objects as YAML files and a kustomization, for GitOps: the same bytes from the same releases, everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from turbolift.deploy.k8s import apps, names, render
from turbolift.deploy.k8s.objects import Object
from turbolift.deploy.k8s.settings import Settings
from turbolift.deploy.platform import App, Release
from turbolift.errors import DeployError

KUSTOMIZATION = "kustomization.yaml"
ROUTES = "routes.yaml"
_DOUBTFUL = re.compile(r"[-+.0-9~]|[yYnN]\Z|\Z")
_HEAD = "# Made by turbolift from the bundle of deployment {deployment!r}; what is edited here is lost.\n"


def to_yaml(documents: Sequence[Object]) -> str:
    """Return `documents` as one YAML text: block style, keys as rendered, no line cut."""
    # Only who writes YAML needs it; it comes with the kubernetes client.
    import yaml

    class Dumper(yaml.SafeDumper):
        """No anchors: each object stands alone."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def string(dumper: Any, text: str) -> Any:
        # Readers differ in what they take for a number or a truth: 10 hex digits as 1234567e10 are a float in Go.
        style = "|" if "\n" in text else "'" if _DOUBTFUL.match(text) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, string)
    return str(
        yaml.dump_all(
            documents,
            Dumper=Dumper,
            sort_keys=False,
            default_flow_style=False,
            allow_unicode=True,
            width=float("inf"),
            explicit_start=True,
        )
    )


def files(settings: Settings, releases: Iterable[Release], programs: Iterable[App] = ()) -> dict[str, str]:
    """Return file name -> text of all manifests of a deployment that serves exactly `releases` and runs `programs`."""
    head = _HEAD.format(deployment=settings.deployment)
    releases = sorted(releases, key=lambda one: one.function)
    found = {
        f"{names.function_name(one.function)}.yaml": head + to_yaml(render.release_objects(settings, one))
        for one in releases
    }
    found |= {
        f"{names.function_name(one.release.function)}.yaml": head + to_yaml(apps.app_objects(settings, one))
        for one in programs
    }
    table = render.route_table(settings, releases, generation=0)
    found[ROUTES] = head + to_yaml([render.routes_map(settings, table)])
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(found),
    }
    return {**found, KUSTOMIZATION: head + to_yaml([kustomization])}


def write(
    folder: Path, settings: Settings, releases: Iterable[Release], programs: Iterable[App] = ()
) -> list[Path]:
    """Write the manifests to `folder`, and remove those of functions that are no more; return the paths.

    Raises DeployError where the folder holds files that turbolift did not make.
    """
    wanted = files(settings, releases, programs)
    folder.mkdir(parents=True, exist_ok=True)
    head = _HEAD.format(deployment=settings.deployment).encode()
    for path in sorted(folder.glob("*.yaml")):
        if not path.read_bytes().startswith(head):
            raise DeployError(
                f"{path}: not made by turbolift for deployment {settings.deployment!r}: give a folder of its own"
            )
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_bytes(text.encode())
    return [folder / name for name in sorted(wanted)]
