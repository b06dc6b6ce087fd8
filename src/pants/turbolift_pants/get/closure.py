# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What an image is made of: own files, the shim's, and the requirements of both; refused where it has no place in an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pants.backend.python.subsystems.setup import PythonSetup
from pants.backend.python.target_types import (
    InterpreterConstraintsField,
    PythonProvidesField,
    PythonRequirementsField,
    PythonResolveField,
)
from pants.backend.python.util_rules.interpreter_constraints import InterpreterConstraints
from pants.backend.python.util_rules.pex_from_targets import InterpreterConstraintsRequest
from pants.backend.python.util_rules.pex_requirements import PexRequirements
from pants.backend.python.util_rules.python_sources import (
    PythonSourceFiles,
    PythonSourceFilesRequest,
    StrippedPythonSourceFiles,
)
from pants.core.target_types import FileSourceField
from pants.core.util_rules.stripped_source_files import StrippedFileName, StrippedFileNameRequest
from pants.engine.addresses import Address, Addresses, UnparsedAddressInputs
from pants.engine.fs import Digest
from pants.engine.rules import Get, MultiGet, collect_rules, rule
from pants.engine.target import (
    AllTargets,
    Target,
    Targets,
    TransitiveTargets,
    TransitiveTargetsRequest,
)
from pants.util.frozendict import FrozenDict
from pants.util.logging import LogLevel

from turbolift_pants.get.base import BaseImage
from turbolift_pants.get.find import TaggedFiles
from turbolift_pants.get.generate import FunctionFieldSet
from turbolift_pants.get.owners import OwningSource, OwningSourceRequest
from turbolift_pants.get.tools import CannotPackage
from turbolift_pants.steps import brings_shim, identity, no_runtime, repository_paths, runtime_extras
from turbolift_pants.subsystem import TurboliftSubsystem


@dataclass(frozen=True)
class ShimTargets:
    """The targets that bring the shim: turbolift's runtime and what it needs."""

    addresses: tuple[Address, ...]


@dataclass(frozen=True)
class ShimTargetsRequest:
    resolve: str


@rule(desc="Find turbolift's runtime", level=LogLevel.DEBUG)
async def find_shim_targets(
    request: ShimTargetsRequest, turbolift: TurboliftSubsystem, python_setup: PythonSetup
) -> ShimTargets:
    if turbolift.runtime:
        addresses = await Get(
            Addresses,
            UnparsedAddressInputs(
                [turbolift.runtime],
                owning_address=None,
                description_of_origin="the option `[turbolift].runtime`",
            ),
        )
        # A source target, as in turbolift's own repository, is taken as it is.
        named = await Get(Targets, Addresses, addresses)
        without_shim = [
            target.address.spec
            for target in named
            for extras in _runtime_extras(target)
            if not brings_shim(extras)
        ]
        if without_shim:
            raise CannotPackage(no_runtime(request.resolve, without_shim))
        return ShimTargets(tuple(addresses))
    targets = await Get(AllTargets)
    runtimes = [
        (target.address, extras)
        for target in targets
        for extras in _runtime_extras(target)
        if target[PythonResolveField].normalized_value(python_setup) == request.resolve
    ]
    able = sorted({address for address, extras in runtimes if brings_shim(extras)})
    if not able:
        raise CannotPackage(no_runtime(request.resolve, sorted(address.spec for address, _ in runtimes)))
    # Any of them serves; one is enough.
    return ShimTargets((able[0],))


def _runtime_extras(target: Target) -> list[frozenset[str]]:
    """The extras of each requirement of turbolift's runtime that `target` has."""
    if not target.has_field(PythonRequirementsField):
        return []
    found = (runtime_extras(str(requirement)) for requirement in target[PythonRequirementsField].value or ())
    return [extras for extras in found if extras is not None]


@dataclass(frozen=True)
class ClosureRequest:
    """The closure of the file `path`, which the target `address` depends on; with the shim where it is to be served. `where`
    names it in messages.
    """

    address: Address
    path: str
    where: str
    served: bool


@dataclass(frozen=True)
class SourceClosure:
    """What goes into an image: `shim` and `own` are source files below their roots, `requirements` are to be resolved by the lock of
    `resolve`; `paths` tells each own file's path in the repository, `entry` the file's own path below its root.
    """

    entry: str
    resolve: str
    requirements: tuple[str, ...]
    shim: Digest
    own: Digest
    paths: FrozenDict[str, str]


@dataclass(frozen=True)
class FunctionClosureRequest:
    field_set: FunctionFieldSet


@dataclass(frozen=True)
class FunctionClosure:
    """The closure of the tagged function with the identity `function`."""

    function: str
    sources: SourceClosure


def _check_interpreter(constraints: InterpreterConstraints, base: BaseImage, where: str) -> None:
    version = base.python_version
    if constraints and not any(c.specifier.contains(version, prereleases=True) for c in constraints):
        raise CannotPackage(
            f"{where} needs {' or '.join(map(str, constraints))}, but the base image has CPython {version}. Choose a base with such an "
            "interpreter by `[turbolift].base`, or widen the interpreter constraints of these sources."
        )


@rule(desc="Close a tagged function over what it needs", level=LogLevel.DEBUG)
async def close_function(request: FunctionClosureRequest, tagged: TaggedFiles) -> FunctionClosure:
    field_set = request.field_set
    path, qualname = field_set.file.path, field_set.function.value
    report = tagged.at(path)
    findings = report.findings_of(qualname or "") if report else ()
    if findings:
        raise CannotPackage(
            f"{field_set.address} cannot be packaged:\n" + "\n".join(f"  {finding}" for finding in findings)
        )
    where = f"{path}:{field_set.line.value} ({qualname})"
    sources = await Get(SourceClosure, ClosureRequest(field_set.address, path, where, True))
    return FunctionClosure(identity(sources.entry, qualname), sources)


@rule(desc="Close a file over what it needs", level=LogLevel.DEBUG)
async def close_source(request: ClosureRequest, python_setup: PythonSetup) -> SourceClosure:
    where = request.where
    owner, stripped = await MultiGet(
        Get(OwningSource, OwningSourceRequest(request.path, request.address)),
        Get(StrippedFileName, StrippedFileNameRequest(request.path)),
    )
    owner_targets = await Get(Targets, Addresses([owner.address]))
    resolve = owner_targets[0][PythonResolveField].normalized_value(python_setup)
    if not python_setup.enable_resolves:
        raise CannotPackage(
            "turbolift needs a lockfile with hashes: set `[python].enable_resolves = true` and `[python].resolves`."
        )
    base = await Get(BaseImage)
    # Before anything is inferred: that needs an interpreter which fits, and the machine may have none.
    if owner_targets[0].has_field(InterpreterConstraintsField):
        own_constraints = InterpreterConstraints.create_from_compatibility_fields(
            [owner_targets[0][InterpreterConstraintsField]], python_setup
        )
        _check_interpreter(own_constraints, base, where)
    shim: tuple[Address, ...] = ()
    if request.served:
        shim = (await Get(ShimTargets, ShimTargetsRequest(resolve))).addresses
    closure, shim_closure, constraints = await MultiGet(
        Get(TransitiveTargets, TransitiveTargetsRequest([request.address, *shim])),
        Get(TransitiveTargets, TransitiveTargetsRequest(shim)),
        Get(InterpreterConstraints, InterpreterConstraintsRequest([owner.address])),
    )
    _check_interpreter(constraints, base, where)
    files = [t.address for t in closure.closure if t.has_field(FileSourceField)]
    if files:
        raise CannotPackage(
            f"{where} depends on {', '.join(map(str, files))}: files() are not importable and have no place in an image. Make them "
            "resources() and read them with importlib.resources."
        )
    distributions = [t.address for t in closure.closure if t.has_field(PythonProvidesField)]
    if distributions:
        raise CannotPackage(
            f"{where} depends on {', '.join(map(str, distributions))}: a python_distribution is not built into an image, so its metadata "
            "and entry points would be missing. Depend on its sources, which are packaged as they are; or publish it, and depend on "
            "the python_requirement."
        )
    shim_addresses = {t.address for t in shim_closure.closure}
    own = [t for t in closure.closure if t.address not in shim_addresses]
    requirements = PexRequirements.req_strings_from_requirement_fields(
        t[PythonRequirementsField] for t in closure.closure if t.has_field(PythonRequirementsField)
    )
    shim_files, own_files, sources = await MultiGet(
        Get(StrippedPythonSourceFiles, PythonSourceFilesRequest(shim_closure.closure)),
        Get(StrippedPythonSourceFiles, PythonSourceFilesRequest(own)),
        Get(PythonSourceFiles, PythonSourceFilesRequest(own)),
    )
    return SourceClosure(
        stripped.value,
        resolve,
        tuple(requirements),
        shim_files.stripped_source_files.snapshot.digest,
        own_files.stripped_source_files.snapshot.digest,
        FrozenDict(repository_paths(sources.source_files.files, sources.source_roots)),
    )


def rules() -> list[Any]:
    return [*collect_rules()]
