# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The base image: an OCI layout, its unpacked files (whose interpreter later steps run), its platform."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pants.engine.env_vars import EnvironmentVars, EnvironmentVarsRequest
from pants.engine.fs import (
    EMPTY_DIGEST,
    CreateDigest,
    Digest,
    DigestContents,
    DigestSubset,
    FileContent,
    GlobMatchErrorBehavior,
    PathGlobs,
    RemovePrefix,
)
from pants.engine.rules import Get, MultiGet, collect_rules, rule
from pants.util.frozendict import FrozenDict
from pants.util.logging import LogLevel

from turbolift_pants.get.tools import ROOMS, ImageStep, ImageStepResult, Rooms, RoomsRequest
from turbolift_pants.subsystem import TurboliftSubsystem


@dataclass(frozen=True)
class BaseImage:
    """The base, in three forms.

    `layout` holds the OCI layout in `base/`; `blobs` its blobs alone, in `blobs/`; `rootfs` the unpacked files, at the root.
    `platform` holds `base-platform.json`, what pex resolves for; `python_version` is the base's own.
    """

    layout: Digest
    blobs: Digest
    rootfs: Digest
    platform: Digest
    python_version: str


PLATFORM = "base-platform.json"


@dataclass(frozen=True)
class DebianLock:
    """The lock of the Debian base, as `base-platform.json` (it records the platform beside the digest)."""

    digest: Digest


@rule(desc="Read the base image's lock", level=LogLevel.DEBUG)
async def read_debian_lock(turbolift: TurboliftSubsystem) -> DebianLock:
    if turbolift.base_lock:
        found = await Get(
            Digest,
            PathGlobs(
                [turbolift.base_lock],
                glob_match_error_behavior=GlobMatchErrorBehavior.error,
                description_of_origin="the option `[turbolift].base_lock`",
            ),
        )
    else:
        rooms = await Get(Rooms, RoomsRequest(("image",)))
        found = await Get(
            Digest, DigestSubset(rooms.digest, PathGlobs([f"{ROOMS}/turbolift/image/base-lock.json"]))
        )
    contents = await Get(DigestContents, Digest, found)
    return DebianLock(await Get(Digest, CreateDigest([FileContent(PLATFORM, contents[0].content)])))


@rule(desc="Build the base image", level=LogLevel.INFO)
async def build_base_image(turbolift: TurboliftSubsystem) -> BaseImage:
    # apt and the registry client go by what this machine is configured for.
    env = await Get(
        EnvironmentVars,
        EnvironmentVarsRequest(
            ["PATH", "HOME", "DOCKER_CONFIG", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE"]
        ),
    )
    if turbolift.base == "debian":
        lock = await Get(DebianLock)
        step = ImageStep(
            argv=(
                "base",
                f"--lock={PLATFORM}",
                "--out=base",
                "--rootfs=base-rootfs",
                "--debs=.cache/turbolift_debs",
                *(f"--mirror={mirror}" for mirror in turbolift.debian_mirrors),
            ),
            digest=lock.digest,
            description="Build the base image from locked Debian packages",
            output_directories=("base", "base-rootfs"),
            caches=FrozenDict({"turbolift_debs": ".cache/turbolift_debs"}),
            env=FrozenDict(env),
        )
    else:
        step = ImageStep(
            argv=(
                "registry-base",
                f"--reference={turbolift.base}",
                "--out=base",
                "--rootfs=base-rootfs",
                f"--complete-platform={PLATFORM}",
            ),
            digest=EMPTY_DIGEST,
            description=f"Pull the base image {turbolift.base}",
            output_directories=("base", "base-rootfs"),
            output_files=(PLATFORM,),
            env=FrozenDict(env),
        )
    result = await Get(ImageStepResult, ImageStep, step)
    layout, rootfs = await MultiGet(
        Get(Digest, DigestSubset(result.output_digest, PathGlobs(["base/**"]))),
        Get(Digest, DigestSubset(result.output_digest, PathGlobs(["base-rootfs/**"]))),
    )
    platform = (
        lock.digest
        if turbolift.base == "debian"
        else await Get(Digest, DigestSubset(result.output_digest, PathGlobs([PLATFORM])))
    )
    stripped, root, contents = await MultiGet(
        Get(Digest, RemovePrefix(layout, "base")),
        Get(Digest, RemovePrefix(rootfs, "base-rootfs")),
        Get(DigestContents, Digest, platform),
    )
    blobs = await Get(Digest, DigestSubset(stripped, PathGlobs(["blobs/**"])))
    document = json.loads(contents[0].content)
    marker = document.get("complete_platform", document)["marker_environment"]
    return BaseImage(layout, blobs, root, platform, marker["python_full_version"])


def rules() -> list[Any]:
    return [*collect_rules()]
