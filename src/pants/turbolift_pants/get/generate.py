# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One target for each tagged function, and its dependency on the file that defines it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from pants.core.goals.package import OutputPathField
from pants.engine.rules import Get, MultiGet, collect_rules, rule
from pants.engine.target import (
    FieldSet,
    GeneratedTargets,
    GenerateTargetsRequest,
    InferDependenciesRequest,
    InferredDependencies,
)
from pants.engine.unions import UnionMembership, UnionRule
from pants.source.filespec import FilespecMatcher
from pants.util.logging import LogLevel

from turbolift_pants.get.find import TaggedFiles
from turbolift_pants.get.owners import (
    AllParametrisedSources,
    OwningSource,
    OwningSourceRequest,
    ParametrisedSourcesRequest,
)
from turbolift_pants.steps import generated_name
from turbolift_pants.target_types import (
    FunctionDependenciesField,
    FunctionFileField,
    FunctionLineField,
    FunctionNameField,
    ScannedFilesField,
    TurboliftFunctionsTarget,
    TurboliftFunctionTarget,
)


class GenerateFunctionTargets(GenerateTargetsRequest):
    generate_from = TurboliftFunctionsTarget


@rule(desc="Generate targets of tagged functions", level=LogLevel.DEBUG)
async def generate_function_targets(
    request: GenerateFunctionTargets, tagged: TaggedFiles, union_membership: UnionMembership
) -> GeneratedTargets:
    folder = request.generator.address.spec_path
    globs = request.generator[ScannedFilesField].value or ()
    matcher = FilespecMatcher(
        [os.path.join(folder, g) for g in globs if not g.startswith("!")],
        [os.path.join(folder, g[1:]) for g in globs if g.startswith("!")],
    )
    mine = set(matcher.matches([file.path for file in tagged.files]))
    files = [file for file in tagged.files if file.path in mine]
    folders = sorted({os.path.dirname(file.path) for file in files})
    owners = await MultiGet(
        Get(AllParametrisedSources, ParametrisedSourcesRequest(folder)) for folder in folders
    )
    parametrised = dict(zip(folders, owners))
    targets = []
    for file in files:
        relative = os.path.relpath(file.path, folder) if folder else file.path
        # What cannot be packaged gets a target too, whose packaging fails: it is never left out silently.
        targets += [
            TurboliftFunctionTarget(
                {
                    **request.template,
                    FunctionFileField.alias: relative,
                    FunctionNameField.alias: qualname,
                    FunctionLineField.alias: line,
                },
                request.template_address.parametrize(dict(parameters)).create_generated(
                    generated_name(relative, qualname)
                ),
                union_membership,
            )
            for qualname, line in file.entries()
            for parameters in parametrised[os.path.dirname(file.path)].of(file.path)
        ]
    return GeneratedTargets(request.generator, targets)


@dataclass(frozen=True)
class FunctionFieldSet(FieldSet):
    required_fields = (FunctionFileField, FunctionNameField)

    file: FunctionFileField
    function: FunctionNameField
    line: FunctionLineField
    output_path: OutputPathField


@dataclass(frozen=True)
class InferFieldSet(FieldSet):
    required_fields = (FunctionFileField, FunctionDependenciesField)

    file: FunctionFileField


class InferFunctionDependencies(InferDependenciesRequest):
    infer_from = InferFieldSet


@rule(desc="Infer the dependency of a tagged function on its file", level=LogLevel.DEBUG)
async def infer_function_dependencies(request: InferFunctionDependencies) -> InferredDependencies:
    field_set = request.field_set
    owner = await Get(OwningSource, OwningSourceRequest(field_set.file.path, field_set.address))
    return InferredDependencies([owner.address])


def rules() -> list[Any]:
    return [
        *collect_rules(),
        UnionRule(GenerateTargetsRequest, GenerateFunctionTargets),
        UnionRule(InferDependenciesRequest, InferFunctionDependencies),
    ]
