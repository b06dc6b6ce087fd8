# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""`pants package`: a function's OCI layout, and a deployment's bundle, under dist/."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from pants.core.goals.package import (
    BuiltPackage,
    BuiltPackageArtifact,
    OutputPathField,
    PackageFieldSet,
)
from pants.engine.addresses import Address
from pants.engine.fs import (
    AddPrefix,
    CreateDigest,
    Digest,
    FileContent,
    MergeDigests,
    SymlinkEntry,
)
from pants.engine.rules import Get, MultiGet, collect_rules, rule
from pants.engine.target import AllTargets
from pants.engine.unions import UnionRule
from pants.util.logging import LogLevel

from turbolift_pants.get.find import TaggedFiles
from turbolift_pants.get.generate import FunctionFieldSet
from turbolift_pants.get.image import FunctionImage, FunctionImageRequest, thaw
from turbolift_pants.get.tools import CannotPackage
from turbolift_pants.steps import (
    SHARED_BLOBS,
    BundleEntry,
    blobs_link,
    bundle_files,
    package_path,
    pretty,
    selected,
    with_parameters,
)
from turbolift_pants.target_types import (
    DeploymentFunctionsField,
    DeploymentPlatformField,
    FunctionFileField,
    FunctionLineField,
    FunctionNameField,
)


@dataclass(frozen=True)
class SharedBlobsRequest:
    """All blobs of some images, once each, where the `blobs` links of layouts in dist/ point."""

    images: tuple[FunctionImage, ...]


@dataclass(frozen=True)
class SharedBlobs:
    digest: Digest


@rule(desc="Collect the blobs of images", level=LogLevel.DEBUG)
async def collect_shared_blobs(request: SharedBlobsRequest) -> SharedBlobs:
    merged = await Get(Digest, MergeDigests([d for i in request.images for d in (i.small, i.blobs)]))
    return SharedBlobs(await Get(Digest, AddPrefix(merged, os.path.dirname(SHARED_BLOBS))))


@dataclass(frozen=True)
class FunctionPackageFieldSet(PackageFieldSet):
    required_fields = (FunctionFileField, FunctionNameField)

    file: FunctionFileField
    function: FunctionNameField
    line: FunctionLineField
    output_path: OutputPathField


@rule(desc="Write a function's OCI layout", level=LogLevel.DEBUG)
async def package_function(field_set: FunctionPackageFieldSet) -> BuiltPackage:
    address = field_set.address
    image = await Get(
        FunctionImage,
        FunctionImageRequest(
            FunctionFieldSet(
                address,
                file=field_set.file,
                function=field_set.function,
                line=field_set.line,
                output_path=field_set.output_path,
            )
        ),
    )
    path = field_set.output_path.value or package_path(
        address.spec_path,
        with_parameters(address.generated_name or address.target_name, address.parameters),
    )
    entry = BundleEntry(image.function, image.target, thaw(image.manifest), thaw(image.spec))
    files = bundle_files(address.target_name, None, [entry])
    digest = await Get(
        Digest,
        CreateDigest(
            [
                FileContent(f"{path}/oci-layout", files["oci-layout"]),
                FileContent(f"{path}/index.json", files["index.json"]),
                FileContent(f"{path}/function.json", pretty(thaw(image.spec))),
                SymlinkEntry(f"{path}/blobs", blobs_link(path)),
            ]
        ),
    )
    blobs = await Get(SharedBlobs, SharedBlobsRequest((image,)))
    return BuiltPackage(
        await Get(Digest, MergeDigests([digest, blobs.digest])),
        (BuiltPackageArtifact(path, extra_log_lines=(f"    {image.function} {image.manifest['digest']}",)),),
    )


@dataclass(frozen=True)
class BundleRequest:
    """A deployment to be packaged: its functions' images in one layout, their specs, the bundle's index."""

    address: Address
    functions: tuple[str, ...]
    platform: str | None


@dataclass(frozen=True)
class Bundle:
    """`digest` holds the bundle at its root; `small` all of it but the blobs."""

    digest: Digest
    small: Digest
    images: tuple[FunctionImage, ...]


@rule(desc="Build a deployment's bundle", level=LogLevel.DEBUG)
async def build_bundle(request: BundleRequest, targets: AllTargets, tagged: TaggedFiles) -> Bundle:
    functions = [
        target
        for target in targets
        if target.has_field(FunctionNameField)
        and selected(target.address.spec_path, target.address.spec, request.functions)
    ]
    if not functions:
        strays = [file.path for file in tagged.files if file.functions]
        raise CannotPackage(
            f"{request.address} has no tagged function"
            + (f" among {', '.join(request.functions)}" if request.functions else "")
            + ". "
            + (
                f"There are some in {', '.join(strays[:5])}, which no turbolift_functions() target covers: run `pants tailor ::`."
                if strays
                else "Tag one with @turbolift.on(...) and run `pants tailor ::`."
            )
        )
    images = await MultiGet(
        Get(FunctionImage, FunctionImageRequest(FunctionFieldSet.create(target))) for target in functions
    )
    try:
        files = bundle_files(
            request.address.target_name,
            request.platform,
            [BundleEntry(i.function, i.target, thaw(i.manifest), thaw(i.spec)) for i in images],
        )
    except ValueError as error:
        raise CannotPackage(f"{request.address}: {error}") from None
    small = await Get(Digest, CreateDigest([FileContent(path, content) for path, content in files.items()]))
    digest = await Get(
        Digest, MergeDigests([small, *(d for image in images for d in (image.small, image.blobs))])
    )
    return Bundle(digest, small, tuple(images))


@dataclass(frozen=True)
class DeploymentPackageFieldSet(PackageFieldSet):
    required_fields = (DeploymentFunctionsField, DeploymentPlatformField)

    functions: DeploymentFunctionsField
    platform: DeploymentPlatformField
    output_path: OutputPathField


@rule(desc="Write a deployment's bundle", level=LogLevel.DEBUG)
async def package_deployment(field_set: DeploymentPackageFieldSet) -> BuiltPackage:
    bundle = await Get(
        Bundle,
        BundleRequest(field_set.address, tuple(field_set.functions.value or ()), field_set.platform.value),
    )
    path = field_set.output_path.value or package_path(
        field_set.address.spec_path, field_set.address.target_name
    )
    blobs = await Get(SharedBlobs, SharedBlobsRequest(bundle.images))
    small, link = await MultiGet(
        Get(Digest, AddPrefix(bundle.small, path)),
        Get(Digest, CreateDigest([SymlinkEntry(f"{path}/blobs", blobs_link(path))])),
    )
    return BuiltPackage(
        await Get(Digest, MergeDigests([small, blobs.digest, link])),
        (BuiltPackageArtifact(path, extra_log_lines=(f"    {len(bundle.images)} functions",)),),
    )


def rules() -> list[Any]:
    return [
        *collect_rules(),
        UnionRule(PackageFieldSet, FunctionPackageFieldSet),
        UnionRule(PackageFieldSet, DeploymentPackageFieldSet),
    ]
