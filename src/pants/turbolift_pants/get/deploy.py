# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""`pants run deploy` and `experimental-deploy`: packages the deployment (unless it is only asked something) and runs the deployer."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any

from pants.backend.python.util_rules.interpreter_constraints import InterpreterConstraints
from pants.backend.python.util_rules.pex import VenvPex, VenvPexRequest
from pants.backend.python.util_rules.pex_environment import PexEnvironment, PythonExecutable
from pants.base.build_root import BuildRoot
from pants.core.goals.deploy import DeployFieldSet, DeployProcess
from pants.core.goals.run import RunFieldSet, RunInSandboxBehavior, RunRequest, RunSubsystem
from pants.engine.env_vars import CompleteEnvironmentVars
from pants.engine.fs import Digest, MergeDigests
from pants.engine.process import InteractiveProcess
from pants.engine.rules import Get, MultiGet, collect_rules, rule
from pants.engine.target import FieldSet
from pants.engine.unions import UnionRule
from pants.util.logging import LogLevel

from turbolift_pants.get.package import Bundle, BundleRequest
from turbolift_pants.get.tools import ROOMS, TOOL_ROOMS, Rooms, RoomsRequest, tool_pex_request
from turbolift_pants.steps import builds_nothing, place_options
from turbolift_pants.subsystem import TurboliftSubsystem
from turbolift_pants.target_types import (
    DeploymentAppsField,
    DeploymentChecksField,
    DeploymentContextField,
    DeploymentFunctionsField,
    DeploymentInsecureRegistryField,
    DeploymentNamespaceField,
    DeploymentPlatformField,
    DeploymentRegistryField,
)


@dataclass(frozen=True)
class DeploymentFieldSet(FieldSet):
    required_fields = (DeploymentFunctionsField, DeploymentPlatformField)

    functions: DeploymentFunctionsField
    apps: DeploymentAppsField
    platform: DeploymentPlatformField
    context: DeploymentContextField
    namespace: DeploymentNamespaceField
    registry: DeploymentRegistryField
    insecure: DeploymentInsecureRegistryField
    checks: DeploymentChecksField


@dataclass(frozen=True)
class DeploymentRunFieldSet(RunFieldSet, DeploymentFieldSet):
    run_in_sandbox_behavior = RunInSandboxBehavior.NOT_SUPPORTED


@dataclass(frozen=True)
class DeployerRequest:
    """The deployer, to be run in the workspace."""


@dataclass(frozen=True)
class Deployer:
    request: RunRequest


@rule(desc="Prepare the deployer", level=LogLevel.DEBUG)
async def prepare_deployer(
    _: DeployerRequest, turbolift: TurboliftSubsystem, pex_environment: PexEnvironment
) -> Deployer:
    complete = pex_environment.in_workspace()
    request = tool_pex_request("deploy", turbolift)
    venv, python, rooms = await MultiGet(
        Get(VenvPex, VenvPexRequest(request, complete)),
        Get(PythonExecutable, InterpreterConstraints, request.interpreter_constraints),
        Get(Rooms, RoomsRequest(TOOL_ROOMS["deploy"])),
    )
    return Deployer(
        RunRequest(
            digest=await Get(Digest, MergeDigests([venv.digest, rooms.digest])),
            args=(os.path.join("{chroot}", venv.pex.argv0), "-m", "turbolift.deploy"),
            extra_env={
                **complete.environment_dict(python=python),
                "PEX_EXTRA_SYS_PATH": os.path.join("{chroot}", ROOMS),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            append_only_caches={
                **complete.append_only_caches,
                **(venv.append_only_caches or {}),
            },
        )
    )


@dataclass(frozen=True)
class DeployerRunRequest:
    """The deployer, to be run on a deployment with `arguments`."""

    field_set: DeploymentRunFieldSet
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class DeployerRun:
    request: RunRequest


@rule(desc="Prepare a deployment", level=LogLevel.DEBUG)
async def run_deployment(field_set: DeploymentRunFieldSet, run: RunSubsystem) -> RunRequest:
    return (await Get(DeployerRun, DeployerRunRequest(field_set, tuple(run.args)))).request


@rule(desc="Prepare a run of the deployer", level=LogLevel.DEBUG)
async def prepare_run(request: DeployerRunRequest, build_root: BuildRoot) -> DeployerRun:
    field_set = request.field_set
    deployer = (await Get(Deployer, DeployerRequest())).request
    args = (
        *deployer.args,
        f"--deployment={field_set.address.target_name}",
        f"--workspace={build_root.path}",
        *place_options(
            field_set.platform.value,
            field_set.context.value,
            field_set.namespace.value,
            field_set.registry.value,
            field_set.insecure.value,
            request.arguments,
        ),
    )
    immutable = {}
    if not builds_nothing(request.arguments):
        bundle = await Get(
            Bundle,
            BundleRequest(
                field_set.address,
                tuple(field_set.functions.value or ()),
                field_set.platform.value,
                tuple(field_set.apps.value or ()),
            ),
        )
        checks = (
            f"--check={function}={arguments}"
            for function, arguments in (field_set.checks.value or {}).items()
        )
        args += ("--bundle={chroot}/__bundle", *checks)
        immutable["__bundle"] = bundle.digest
    return DeployerRun(
        RunRequest(
            digest=deployer.digest,
            args=args,
            extra_env=deployer.extra_env,
            append_only_caches=deployer.append_only_caches,
            immutable_input_digests=immutable,
        )
    )


@dataclass(frozen=True)
class DeploymentDeployFieldSet(DeployFieldSet, DeploymentFieldSet):
    """The same fields, for `experimental-deploy`."""


@rule(desc="Prepare a deployment", level=LogLevel.DEBUG)
async def deploy_deployment(
    field_set: DeploymentDeployFieldSet, environment: CompleteEnvironmentVars
) -> DeployProcess:
    same = DeploymentRunFieldSet(**{one.name: getattr(field_set, one.name) for one in fields(field_set)})
    run = (await Get(DeployerRun, DeployerRunRequest(same, ()))).request
    return DeployProcess(
        name=field_set.address.spec,
        process=InteractiveProcess(
            argv=run.args,
            env={**environment, **run.extra_env},
            input_digest=run.digest,
            run_in_workspace=True,
            immutable_input_digests=run.immutable_input_digests,
            append_only_caches=run.append_only_caches,
        ),
    )


def rules() -> list[Any]:
    return [
        *collect_rules(),
        *DeploymentRunFieldSet.rules(),
        UnionRule(DeployFieldSet, DeploymentDeployFieldSet),
    ]
