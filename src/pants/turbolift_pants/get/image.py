# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Images: layers on the base; and for a function, what its built closure says of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pants.engine.addresses import Address
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
    MergeDigests,
    PathGlobs,
    RemovePrefix,
)
from pants.engine.rules import Get, MultiGet, collect_rules, rule
from pants.util.frozendict import FrozenDict
from pants.util.logging import LogLevel

from turbolift_pants.documents import Closure, canonical, function_spec
from turbolift_pants.get.base import BaseImage
from turbolift_pants.get.closure import FunctionClosure, FunctionClosureRequest, SourceClosure
from turbolift_pants.get.generate import FunctionFieldSet
from turbolift_pants.get.layers import PATHS, Layer, LayerRequest, ThirdParty, ThirdPartyRequest
from turbolift_pants.get.tools import CannotPackage, ImageStep, ImageStepResult, plugin_version
from turbolift_pants.steps import unlike_versions


@dataclass(frozen=True)
class FunctionImage:
    """One function, or app, built.

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


@dataclass(frozen=True)
class AssembleRequest:
    """Layers to be put on the base; `entry` are the options that say what the image runs.

    A function's identity and its contract's digest are in its manifest; the tag's options are in the function spec alone (and in the
    source file that holds the tag, so that editing it makes another first-party layer).
    """

    name: str
    entry: tuple[str, ...]
    annotations: FrozenDict[str, str]
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
                *request.entry,
                *(f"--annotation=dev.turbolift.{key}={value}" for key, value in request.annotations.items()),
                "--new-blobs-only",
                "--out=image",
            ),
            digest=inputs,
            description=f"Assemble the image of {request.name}",
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


@dataclass(frozen=True)
class PackedClosureRequest:
    """The closure of the target `address`, to be packed."""

    address: Address
    sources: SourceClosure


@dataclass(frozen=True)
class PackedClosure:
    """The layers of a closure, the bottom one first; `closure` lists what is in them, `paths` holds `PATHS`."""

    layers: tuple[Layer, ...]
    third_party: ThirdParty
    closure: Closure
    paths: Digest


@rule(desc="Pack a closure", level=LogLevel.DEBUG)
async def pack_closure(request: PackedClosureRequest) -> PackedClosure:
    sources = request.sources
    third_party = await Get(ThirdParty, ThirdPartyRequest(sources.requirements, sources.resolve))
    unlike = unlike_versions(plugin_version(), third_party.resolved)
    if unlike:
        raise CannotPackage(f"{request.address}: {unlike}")
    paths = await Get(Digest, CreateDigest([FileContent(PATHS, canonical(dict(sources.paths)))]))
    wanted = [
        LayerRequest("third-party", third_party.tree, "app/site-packages"),
        LayerRequest("shim", sources.shim, "app/shim"),
        LayerRequest("first-party", sources.own, "app/src", paths),
    ]
    layers = await MultiGet(Get(Layer, LayerRequest, r) for r in wanted if r.tree != EMPTY_DIGEST)
    shim, own = await MultiGet(
        Get(DigestEntries, Digest, sources.shim), Get(DigestEntries, Digest, sources.own)
    )
    return PackedClosure(
        tuple(layers),
        third_party,
        Closure(
            tuple((e.path, e.file_digest.fingerprint) for e in shim if isinstance(e, FileEntry)),
            tuple((e.path, e.file_digest.fingerprint) for e in own if isinstance(e, FileEntry)),
            sources.requirements,
        ),
        paths,
    )


@rule(desc="Package a tagged function", level=LogLevel.DEBUG)
async def build_function_image(request: FunctionImageRequest) -> FunctionImage:
    field_set = request.field_set
    closure = await Get(FunctionClosure, FunctionClosureRequest(field_set))
    function, sources = closure.function, closure.sources
    base, packed = await MultiGet(
        Get(BaseImage), Get(PackedClosure, PackedClosureRequest(field_set.address, sources))
    )
    third_party, paths = packed.third_party, packed.paths
    trees = {"__base": base.rootfs, "__deps": third_party.tree, "__shim": sources.shim, "__src": sources.own}
    described = await Get(
        ImageStepResult,
        ImageStep(
            argv=(
                "describe",
                "--base-rootfs=__base",
                *(("--third-party=__deps",) if third_party.tree != EMPTY_DIGEST else ()),
                *(("--shim=__shim",) if sources.shim != EMPTY_DIGEST else ()),
                "--first-party=__src",
                f"--paths={PATHS}",
                f"--function={function}",
                "--out=describe.json",
            ),
            digest=paths,
            description=f"Describe {function}",
            output_files=("describe.json",),
            immutable=FrozenDict({k: v for k, v in trees.items() if v != EMPTY_DIGEST}),
        ),
    )
    describe = await Get(DigestContents, Digest, described.output_digest)
    spec = function_spec(
        json.loads(describe[0].content),
        target=field_set.address.spec,
        source=field_set.file.path,
        line=field_set.line.value,
        closure=packed.closure,
        resolved=third_party.resolved,
    )
    assembled = await Get(
        Assembled,
        AssembleRequest(
            function,
            (f"--entrypoint-function={function}",),
            FrozenDict(closure=spec["closure"]["digest"], contract=spec["contract"]["digest"]),
            packed.layers,
        ),
    )
    return FunctionImage(
        function,
        field_set.address.spec,
        assembled.manifest,
        FrozenDict.deep_freeze(spec),
        assembled.small,
        assembled.blobs,
    )


def thaw(value: Any) -> Any:
    """Return frozen JSON as plain dicts and lists."""
    if isinstance(value, (dict, FrozenDict)):
        return {k: thaw(v) for k, v in value.items()}
    return [thaw(v) for v in value] if isinstance(value, (list, tuple)) else value


def rules() -> list[Any]:
    return [*collect_rules()]
