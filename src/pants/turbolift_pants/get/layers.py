# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The layers of an image: third-party distributions resolved for the base, and folders packed; equal ones are made once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pants.backend.python.subsystems.repos import PythonRepos
from pants.backend.python.subsystems.setup import PythonSetup
from pants.engine.fs import (
    EMPTY_DIGEST,
    CreateDigest,
    Digest,
    DigestContents,
    DigestSubset,
    FileContent,
    GlobMatchErrorBehavior,
    MergeDigests,
    PathGlobs,
    RemovePrefix,
)
from pants.engine.rules import Get, MultiGet, collect_rules, rule
from pants.util.frozendict import FrozenDict
from pants.util.logging import LogLevel

from turbolift_pants.get.base import PLATFORM, BaseImage
from turbolift_pants.get.tools import ImageStep, ImageStepResult

PATHS = "paths.json"


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
    """A folder to be packed as a layer; equal folders share one process and one blob. `paths` is JSON: path in the folder -> in the
    repository, for messages.
    """

    kind: str
    tree: Digest
    prefix: str
    paths: Digest = EMPTY_DIGEST


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
                *((f"--paths={PATHS}",) if request.paths != EMPTY_DIGEST else ()),
            ),
            digest=request.paths,
            description=f"Pack a {request.kind} layer",
            output_directories=("layer",),
            immutable=FrozenDict({"__base": base.rootfs, "__tree": request.tree}),
        ),
    )
    output = await Get(Digest, RemovePrefix(result.output_digest, "layer"))
    return Layer(output, await Get(Digest, DigestSubset(output, PathGlobs(["blobs/**"]))))


def rules() -> list[Any]:
    return [*collect_rules()]
