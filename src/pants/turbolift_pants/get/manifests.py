# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The manifests of a deployment for a cluster, as its deployer renders them: no cluster is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pants.backend.python.util_rules.pex import VenvPexProcess
from pants.engine.fs import AddPrefix, Digest, MergeDigests, RemovePrefix
from pants.engine.process import FallibleProcessResult
from pants.engine.rules import Get, collect_rules, rule
from pants.util.logging import LogLevel

from turbolift_pants.get.tools import DEPLOY_TOOL, ROOMS, CannotPackage, Tool, ToolRequest


@dataclass(frozen=True)
class ManifestsRequest:
    """`bundle` holds the bundle without its blobs."""

    bundle: Digest
    deployment: str
    namespace: str
    registry: str


@dataclass(frozen=True)
class Manifests:
    """`digest` holds the YAML files and the kustomization."""

    digest: Digest


@rule(desc="Render manifests", level=LogLevel.DEBUG)
async def render_manifests(request: ManifestsRequest) -> Manifests:
    tool = await Get(Tool, ToolRequest, DEPLOY_TOOL)
    bundle = await Get(Digest, AddPrefix(request.bundle, "bundle"))
    result = await Get(
        FallibleProcessResult,
        VenvPexProcess(
            tool.venv,
            argv=(
                "-m",
                "turbolift.deploy",
                "--bundle=bundle",
                f"--deployment={request.deployment}",
                f"--namespace={request.namespace}",
                f"--registry={request.registry}",
                "render",
                "manifests",
            ),
            input_digest=await Get(Digest, MergeDigests([tool.rooms, bundle])),
            description=f"Render the manifests of {request.deployment}",
            output_directories=("manifests",),
            extra_env={"PEX_EXTRA_SYS_PATH": ROOMS, "PYTHONDONTWRITEBYTECODE": "1"},
            level=LogLevel.DEBUG,
        ),
    )
    if result.exit_code != 0:
        raise CannotPackage(
            f"The manifests of {request.deployment} cannot be rendered.\n{result.stderr.decode(errors='replace').strip()}"
        )
    return Manifests(await Get(Digest, RemovePrefix(result.output_digest, "manifests")))


def rules() -> list[Any]:
    return [*collect_rules()]
