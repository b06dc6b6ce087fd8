# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The image of one function: its closure, the layers, what the built closure says of itself, config and manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pants.backend.python.subsystems.repos import PythonRepos
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
    PythonSourceFilesRequest,
    StrippedPythonSourceFiles,
)
from pants.core.target_types import FileSourceField
from pants.core.util_rules.stripped_source_files import StrippedFileName, StrippedFileNameRequest
from pants.engine.addresses import Address, Addresses, UnparsedAddressInputs
from pants.engine.fs import (
    EMPTY_DIGEST,
    AddPrefix,
    CreateDigest,
    Digest,
    DigestContents,
    DigestEntries,
    DigestSubset,
    FileContent,
    FileEntry,
    GlobMatchErrorBehavior,
    MergeDigests,
    PathGlobs,
    RemovePrefix,
)
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

from turbolift_pants.get.base import PLATFORM, BaseImage
from turbolift_pants.get.find import TaggedFiles
from turbolift_pants.get.generate import FunctionFieldSet, OwningSource, OwningSourceRequest
from turbolift_pants.get.tools import CannotPackage, ImageStep, ImageStepResult
from turbolift_pants.steps import (
    Closure,
    brings_shim,
    function_spec,
    identity,
    no_runtime,
    runtime_extras,
)
from turbolift_pants.subsystem import TurboliftSubsystem


@dataclass(frozen=True)
class FunctionImage:
    """One function, built.

    `small` holds `blobs/sha256/...` of its own config and manifest; `blobs` those of its layers and of the base.
    """

    function: str
    target: str
    manifest: FrozenDict[str, Any]
    spec: FrozenDict[str, Any]
    small: Digest
    blobs: Digest


@dataclass(frozen=True)
class FunctionImageRequest:
    field_set: FunctionFieldSet


# ------------------------------------------------------------------------------------------------ the shim's own closure


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


# ------------------------------------------------------------------------------------------------------------- layers


@dataclass(frozen=True)
class ThirdPartyRequest:
    """Requirements of one closure, to be resolved for the base's platform; equal sets share everything below."""

    requirements: tuple[str, ...]
    resolve: str


@dataclass(frozen=True)
class ThirdParty:
    """`tree` holds the unpacked wheels; `resolved` lists them."""

    tree: Digest
    resolved: tuple[FrozenDict[str, Any], ...]


@rule(desc="Resolve third-party distributions for the base", level=LogLevel.DEBUG)
async def resolve_third_party(
    request: ThirdPartyRequest, base: BaseImage, python_setup: PythonSetup, repos: PythonRepos
) -> ThirdParty:
    if not request.requirements:
        return ThirdParty(EMPTY_DIGEST, ())
    lock_path = python_setup.resolves[request.resolve]
    lock, requirements = await MultiGet(
        Get(
            Digest,
            PathGlobs(
                [lock_path],
                glob_match_error_behavior=GlobMatchErrorBehavior.error,
                description_of_origin=f"the resolve `{request.resolve}`",
            ),
        ),
        Get(
            Digest,
            CreateDigest([FileContent("requirements.txt", "\n".join(request.requirements).encode() + b"\n")]),
        ),
    )
    digest = await Get(Digest, MergeDigests([lock, requirements, base.platform]))
    result = await Get(
        ImageStepResult,
        ImageStep(
            argv=(
                "third-party",
                "--requirements=requirements.txt",
                f"--lock={lock_path}",
                f"--complete-platform={PLATFORM}",
                "--out=tree",
                "--report=resolved.json",
                "--pex-root=.cache/turbolift_pex",
                *(f"--index={index}" for index in repos.indexes),
                *(f"--find-links={links}" for links in repos.find_links),
                *(f"--path-mapping={mapping}" for mapping in repos.path_mappings),
            ),
            digest=digest,
            description=f"Resolve {len(request.requirements)} requirements of `{request.resolve}` for the base image",
            output_files=("resolved.json",),
            output_directories=("tree",),
            caches=FrozenDict({"turbolift_pex": ".cache/turbolift_pex"}),
        ),
    )
    tree, report = await MultiGet(
        Get(
            Digest,
            RemovePrefix(
                await Get(Digest, DigestSubset(result.output_digest, PathGlobs(["tree/**"]))), "tree"
            ),
        ),
        Get(DigestContents, DigestSubset(result.output_digest, PathGlobs(["resolved.json"]))),
    )
    return ThirdParty(
        tree,
        tuple(
            FrozenDict(name=d["name"], version=d["version"])
            for d in json.loads(report[0].content)["distributions"]
        ),
    )


@dataclass(frozen=True)
class LayerRequest:
    """A folder to be packed as a layer; equal folders share one process and one blob."""

    kind: str
    tree: Digest
    prefix: str


@dataclass(frozen=True)
class Layer:
    """`output` holds `layer.json` and `blobs/`."""

    output: Digest
    blobs: Digest


@rule(desc="Pack a layer", level=LogLevel.DEBUG)
async def pack_layer(request: LayerRequest, base: BaseImage) -> Layer:
    result = await Get(
        ImageStepResult,
        ImageStep(
            argv=(
                "layer",
                f"--kind={request.kind}",
                "--tree=__tree",
                f"--prefix={request.prefix}",
                "--base-rootfs=__base",
                "--out=layer",
            ),
            digest=EMPTY_DIGEST,
            description=f"Pack a {request.kind} layer",
            output_directories=("layer",),
            immutable=FrozenDict({"__base": base.rootfs, "__tree": request.tree}),
        ),
    )
    output = await Get(Digest, RemovePrefix(result.output_digest, "layer"))
    return Layer(output, await Get(Digest, DigestSubset(output, PathGlobs(["blobs/**"]))))


# --------------------------------------------------------------------------------------------------------------- image


@dataclass(frozen=True)
class AssembleRequest:
    """Layers to be put on the base.

    The contract's digest and the identity are in its manifest; the tag's options are in the function spec alone (and in the source
    file that holds the tag, so that editing it makes another first-party layer).
    """

    function: str
    closure_digest: str
    contract_digest: str
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Assembled:
    manifest: FrozenDict[str, Any]
    small: Digest
    blobs: Digest


@rule(desc="Assemble an image", level=LogLevel.DEBUG)
async def assemble_image(request: AssembleRequest, base: BaseImage) -> Assembled:
    prefixed = await MultiGet(
        Get(Digest, AddPrefix(layer.output, f"layers/{index}")) for index, layer in enumerate(request.layers)
    )
    inputs = await Get(
        Digest,
        MergeDigests([base.layout, *prefixed]),
    )
    result = await Get(
        ImageStepResult,
        ImageStep(
            argv=(
                "assemble",
                "--base=base",
                *(f"--layer=layers/{index}" for index in range(len(request.layers))),
                f"--entrypoint-function={request.function}",
                f"--annotation=dev.turbolift.closure={request.closure_digest}",
                f"--annotation=dev.turbolift.contract={request.contract_digest}",
                "--new-blobs-only",
                "--out=image",
            ),
            digest=inputs,
            description=f"Assemble the image of {request.function}",
            output_directories=("image",),
        ),
    )
    image = await Get(Digest, RemovePrefix(result.output_digest, "image"))
    small, index, blobs = await MultiGet(
        Get(Digest, DigestSubset(image, PathGlobs(["blobs/**"]))),
        Get(DigestContents, DigestSubset(image, PathGlobs(["index.json"]))),
        Get(Digest, MergeDigests([base.blobs, *(layer.blobs for layer in request.layers)])),
    )
    manifest = json.loads(index[0].content)["manifests"][0]
    return Assembled(FrozenDict.deep_freeze(manifest), small, blobs)


def _thaw(value: Any) -> Any:
    if isinstance(value, (dict, FrozenDict)):
        return {k: _thaw(v) for k, v in value.items()}
    return [_thaw(v) for v in value] if isinstance(value, (list, tuple)) else value


def _check_interpreter(constraints: InterpreterConstraints, base: BaseImage, where: str) -> None:
    version = base.python_version
    if constraints and not any(c.specifier.contains(version, prereleases=True) for c in constraints):
        raise CannotPackage(
            f"{where} needs {' or '.join(map(str, constraints))}, but the base image has CPython {version}. Choose a base with such an "
            "interpreter by `[turbolift].base`, or widen the interpreter constraints of the function's sources."
        )


@rule(desc="Package a tagged function", level=LogLevel.DEBUG)
async def build_function_image(
    request: FunctionImageRequest,
    tagged: TaggedFiles,
    python_setup: PythonSetup,
) -> FunctionImage:
    field_set = request.field_set
    path, qualname = field_set.file.path, field_set.function.value
    report = tagged.at(path)
    findings = report.findings_of(qualname or "") if report else ()
    if findings:
        raise CannotPackage(
            f"{field_set.address} cannot be packaged:\n" + "\n".join(f"  {finding}" for finding in findings)
        )
    owner, stripped = await MultiGet(
        Get(OwningSource, OwningSourceRequest(path, field_set.address)),
        Get(StrippedFileName, StrippedFileNameRequest(path)),
    )
    owner_targets = await Get(Targets, Addresses([owner.address]))
    resolve = owner_targets[0][PythonResolveField].normalized_value(python_setup)
    if not python_setup.enable_resolves:
        raise CannotPackage(
            "turbolift needs a lockfile with hashes: set `[python].enable_resolves = true` and `[python].resolves`."
        )
    where = f"{path}:{field_set.line.value} ({qualname})"
    base = await Get(BaseImage)
    # Before anything is inferred: that needs an interpreter which fits, and the machine may have none.
    if owner_targets[0].has_field(InterpreterConstraintsField):
        own_constraints = InterpreterConstraints.create_from_compatibility_fields(
            [owner_targets[0][InterpreterConstraintsField]], python_setup
        )
        _check_interpreter(own_constraints, base, where)
    shim = await Get(ShimTargets, ShimTargetsRequest(resolve))
    closure, shim_closure, constraints = await MultiGet(
        Get(TransitiveTargets, TransitiveTargetsRequest([field_set.address, *shim.addresses])),
        Get(TransitiveTargets, TransitiveTargetsRequest(shim.addresses)),
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
    third_party, shim_files, own_files = await MultiGet(
        Get(ThirdParty, ThirdPartyRequest(tuple(requirements), resolve)),
        Get(StrippedPythonSourceFiles, PythonSourceFilesRequest(shim_closure.closure)),
        Get(StrippedPythonSourceFiles, PythonSourceFilesRequest(own)),
    )
    shim_tree = shim_files.stripped_source_files.snapshot.digest
    own_tree = own_files.stripped_source_files.snapshot.digest
    layer_requests = [
        LayerRequest("third-party", third_party.tree, "app/site-packages"),
        LayerRequest("shim", shim_tree, "app/shim"),
        LayerRequest("first-party", own_tree, "app/src"),
    ]
    layer_requests = [r for r in layer_requests if r.tree != EMPTY_DIGEST]
    layers = await MultiGet(Get(Layer, LayerRequest, r) for r in layer_requests)

    function = identity(stripped.value, qualname)
    trees = {"__base": base.rootfs, "__deps": third_party.tree, "__shim": shim_tree, "__src": own_tree}
    described = await Get(
        ImageStepResult,
        ImageStep(
            argv=(
                "describe",
                "--base-rootfs=__base",
                *(("--third-party=__deps",) if third_party.tree != EMPTY_DIGEST else ()),
                *(("--shim=__shim",) if shim_tree != EMPTY_DIGEST else ()),
                "--first-party=__src",
                f"--function={function}",
                "--out=describe.json",
            ),
            digest=EMPTY_DIGEST,
            description=f"Describe {function}",
            output_files=("describe.json",),
            immutable=FrozenDict({k: v for k, v in trees.items() if v != EMPTY_DIGEST}),
        ),
    )
    shim_entries, own_entries, describe = await MultiGet(
        Get(DigestEntries, Digest, shim_tree),
        Get(DigestEntries, Digest, own_tree),
        Get(DigestContents, Digest, described.output_digest),
    )
    spec = function_spec(
        json.loads(describe[0].content),
        target=field_set.address.spec,
        source=path,
        line=field_set.line.value,
        closure=Closure(
            tuple((e.path, e.file_digest.fingerprint) for e in shim_entries if isinstance(e, FileEntry)),
            tuple((e.path, e.file_digest.fingerprint) for e in own_entries if isinstance(e, FileEntry)),
            tuple(requirements),
        ),
        resolved=third_party.resolved,
    )
    assembled = await Get(
        Assembled,
        AssembleRequest(function, spec["closure"]["digest"], spec["contract"]["digest"], tuple(layers)),
    )
    return FunctionImage(
        function,
        field_set.address.spec,
        assembled.manifest,
        FrozenDict.deep_freeze(spec),
        assembled.small,
        assembled.blobs,
    )


def thaw(value: FrozenDict[str, Any]) -> dict[str, Any]:
    """Return frozen JSON as plain dicts and lists."""
    return _thaw(value)  # type: ignore[no-any-return]


def rules():  # type: ignore[no-untyped-def]
    return collect_rules()
