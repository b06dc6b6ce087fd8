# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One target for each tagged function, and its dependency on the file that defines it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pants.backend.python.target_types import PythonSourceField
from pants.core.goals.package import OutputPathField
from pants.engine.addresses import Address
from pants.engine.internals.graph import Owners, OwnersRequest
from pants.engine.rules import Get, collect_rules, rule
from pants.engine.target import (
    FieldSet,
    GeneratedTargets,
    GenerateTargetsRequest,
    InferDependenciesRequest,
    InferredDependencies,
    InvalidFieldException,
    Targets,
)
from pants.engine.unions import UnionMembership, UnionRule
from pants.source.filespec import FilespecMatcher
from pants.util.logging import LogLevel

from turbolift_pants.get.find import TaggedFiles
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
    targets = []
    for file in tagged.files:
        if file.path not in mine:
            continue
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
                request.template_address.create_generated(generated_name(relative, qualname)),
                union_membership,
            )
            for qualname, line in file.entries()
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
class OwningSourceRequest:
    """Which python source owns the file `path`, asked for by the target `address`."""

    path: str
    address: Address


@dataclass(frozen=True)
class OwningSource:
    address: Address


@rule(desc="Find the owner of a tagged file", level=LogLevel.DEBUG)
async def find_owning_source(request: OwningSourceRequest) -> OwningSource:
    owners = await Get(Owners, OwnersRequest((request.path,)))
    targets = await Get(Targets, Owners, owners)
    sources = [target.address for target in targets if target.has_field(PythonSourceField)]
    if not sources:
        raise InvalidFieldException(
            f"{request.address}: no python_source target owns {request.path}, so its dependencies cannot be inferred. "
            "Run `pants tailor`, or add python_sources() to the BUILD file."
        )
    if len(sources) > 1:
        raise InvalidFieldException(
            f"{request.address}: {request.path} is owned by {', '.join(map(str, sources))}. A function has one closure: leave one "
            "owner, or put the file's other resolves into a file of their own."
        )
    return OwningSource(sources[0])


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


def rules():  # type: ignore[no-untyped-def]
    return [
        *collect_rules(),
        UnionRule(GenerateTargetsRequest, GenerateFunctionTargets),
        UnionRule(InferDependenciesRequest, InferFunctionDependencies),
    ]
