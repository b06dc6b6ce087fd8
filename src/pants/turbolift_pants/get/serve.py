# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""`pants run` on a function's target: serve it from its package, in the foreground."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pants.base.build_root import BuildRoot
from pants.core.goals.package import OutputPathField
from pants.core.goals.run import RunFieldSet, RunInSandboxBehavior, RunRequest
from pants.engine.rules import Get, collect_rules, rule
from pants.util.logging import LogLevel

from turbolift_pants.get.deploy import Deployer, DeployerRequest
from turbolift_pants.get.generate import FunctionFieldSet
from turbolift_pants.get.image import FunctionImage, FunctionImageRequest
from turbolift_pants.get.package import Bundle, BundleRequest
from turbolift_pants.target_types import FunctionFileField, FunctionLineField, FunctionNameField


@dataclass(frozen=True)
class FunctionRunFieldSet(RunFieldSet):
    required_fields = (FunctionFileField, FunctionNameField)
    run_in_sandbox_behavior = RunInSandboxBehavior.NOT_SUPPORTED

    file: FunctionFileField
    function: FunctionNameField
    line: FunctionLineField
    output_path: OutputPathField


@rule(desc="Prepare to serve a function", level=LogLevel.DEBUG)
async def run_function(field_set: FunctionRunFieldSet, build_root: BuildRoot) -> RunRequest:
    deployer = (await Get(Deployer, DeployerRequest())).request
    image = await Get(
        FunctionImage,
        FunctionImageRequest(
            FunctionFieldSet(
                field_set.address,
                file=field_set.file,
                function=field_set.function,
                line=field_set.line,
                output_path=field_set.output_path,
            )
        ),
    )
    bundle = await Get(Bundle, BundleRequest(field_set.address, (field_set.address.spec,), "local"))
    return RunRequest(
        digest=deployer.digest,
        args=(
            *deployer.args,
            f"--deployment={field_set.address.target_name}",
            f"--workspace={build_root.path}",
            "--bundle={chroot}/__bundle",
            "serve",
            image.function,
        ),
        extra_env=deployer.extra_env,
        append_only_caches=deployer.append_only_caches,
        immutable_input_digests={"__bundle": bundle.digest},
    )


def rules() -> list[Any]:
    return [*collect_rules(), *FunctionRunFieldSet.rules()]
