# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Apps: the image of a program that calls tagged functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pants.core.goals.package import OutputPathField
from pants.engine.rules import Get, collect_rules, rule
from pants.engine.target import FieldSet, InferDependenciesRequest, InferredDependencies
from pants.engine.unions import UnionRule
from pants.util.frozendict import FrozenDict
from pants.util.logging import LogLevel

from turbolift_pants.documents import app_spec
from turbolift_pants.get.closure import ClosureRequest, SourceClosure
from turbolift_pants.get.find import TaggedFiles
from turbolift_pants.get.image import (
    Assembled,
    AssembleRequest,
    FunctionImage,
    PackedClosure,
    PackedClosureRequest,
)
from turbolift_pants.get.owners import OwningSource, OwningSourceRequest
from turbolift_pants.steps import entry_point, identity
from turbolift_pants.target_types import (
    AppArgsField,
    AppCpuField,
    AppDependenciesField,
    AppEntryPointField,
    AppEnvField,
    AppKindField,
    AppMemoryField,
    AppReplicasField,
)


@dataclass(frozen=True)
class AppFieldSet(FieldSet):
    required_fields = (AppEntryPointField, AppKindField)

    entry_point: AppEntryPointField
    kind: AppKindField
    args: AppArgsField
    env: AppEnvField
    replicas: AppReplicasField
    cpu: AppCpuField
    memory: AppMemoryField
    output_path: OutputPathField


@dataclass(frozen=True)
class AppImage:
    """One app, built; its identity is `module:function`, or `module:__main__`."""

    image: FunctionImage


@dataclass(frozen=True)
class AppImageRequest:
    field_set: AppFieldSet


@rule(desc="Package an app", level=LogLevel.DEBUG)
async def build_app_image(request: AppImageRequest, tagged: TaggedFiles) -> AppImage:
    field_set = request.field_set
    path = field_set.entry_point.path
    name = entry_point(field_set.entry_point.value)[1]
    sources = await Get(
        SourceClosure, ClosureRequest(field_set.address, path, f"{field_set.address} ({path})", False)
    )
    packed = await Get(PackedClosure, PackedClosureRequest(field_set.address, sources))
    below_root = {path: file for file, path in sources.paths.items()}
    app = identity(sources.entry, name)
    spec = app_spec(
        app=app,
        target=field_set.address.spec,
        source=path,
        kind=field_set.kind.value,
        options={
            "args": list(field_set.args.value or ()),
            "env": dict(field_set.env.value or {}),
            "replicas": field_set.replicas.value,
            "cpu": field_set.cpu.value,
            "memory": field_set.memory.value,
        },
        functions=[
            identity(below_root[file.path], function.qualname)
            for file in tagged.files
            if file.path in below_root
            for function in file.functions
        ],
        closure=packed.closure,
        resolved=packed.third_party.resolved,
    )
    assembled = await Get(
        Assembled,
        AssembleRequest(
            app,
            (f"--entrypoint-app={app}",),
            FrozenDict(closure=spec["closure"]["digest"]),
            packed.layers,
        ),
    )
    return AppImage(
        FunctionImage(
            app,
            field_set.address.spec,
            assembled.manifest,
            FrozenDict.deep_freeze(spec),
            assembled.small,
            assembled.blobs,
        )
    )


@dataclass(frozen=True)
class InferAppFieldSet(FieldSet):
    required_fields = (AppEntryPointField, AppDependenciesField)

    entry_point: AppEntryPointField


class InferAppDependencies(InferDependenciesRequest):
    infer_from = InferAppFieldSet


@rule(desc="Infer the dependency of an app on its file", level=LogLevel.DEBUG)
async def infer_app_dependencies(request: InferAppDependencies) -> InferredDependencies:
    field_set = request.field_set
    owner = await Get(OwningSource, OwningSourceRequest(field_set.entry_point.path, field_set.address))
    return InferredDependencies([owner.address])


def rules() -> list[Any]:
    return [*collect_rules(), UnionRule(InferDependenciesRequest, InferAppDependencies)]
