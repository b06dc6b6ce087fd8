# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""`pants package`: a function's or app's OCI layout, and a deployment's bundle, under dist/."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any, Iterable

from pants.core.goals.package import (
    BuiltPackage,
    BuiltPackageArtifact,
    OutputPathField,
    PackageFieldSet,
)
from pants.engine.addresses import Address, UnparsedAddressInputs
from pants.engine.fs import (
    AddPrefix,
    CreateDigest,
    Digest,
    FileContent,
    MergeDigests,
    SymlinkEntry,
)
from pants.engine.rules import Get, MultiGet, collect_rules, rule
from pants.engine.target import AllTargets, Targets
from pants.engine.unions import UnionRule
from pants.util.logging import LogLevel

from turbolift_pants.documents import BundleEntry, bundle_files, layout_files, pretty
from turbolift_pants.get.app import AppFieldSet, AppImage, AppImageRequest
from turbolift_pants.get.find import TaggedFiles
from turbolift_pants.get.generate import FunctionFieldSet
from turbolift_pants.get.image import FunctionImage, FunctionImageRequest, thaw
from turbolift_pants.get.manifests import Manifests, ManifestsRequest
from turbolift_pants.get.tools import CannotPackage
from turbolift_pants.steps import SHARED_BLOBS, blobs_link, package_path, renders, selected, with_parameters
from turbolift_pants.target_types import (
    DeploymentAppsField,
    DeploymentFunctionsField,
    DeploymentNamespaceField,
    DeploymentPlatformField,
    DeploymentRegistryField,
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
class OneLayoutRequest:
    """An image to be written as a layout of its own at `path` in dist/, its spec beside it as `document`."""

    image: FunctionImage
    address: Address
    path: str
    document: str


@dataclass(frozen=True)
class OneLayout:
    package: BuiltPackage


@rule(desc="Write an OCI layout", level=LogLevel.DEBUG)
async def write_layout(request: OneLayoutRequest) -> OneLayout:
    image, path = request.image, request.path
    spec = thaw(image.spec)
    files = layout_files([BundleEntry(image.function, image.target, thaw(image.manifest), spec)])
    digest = await Get(
        Digest,
        CreateDigest(
            [
                *(FileContent(f"{path}/{name}", content) for name, content in files.items()),
                FileContent(f"{path}/{request.document}", pretty(spec)),
                SymlinkEntry(f"{path}/blobs", blobs_link(path)),
            ]
        ),
    )
    blobs = await Get(SharedBlobs, SharedBlobsRequest((image,)))
    return OneLayout(
        BuiltPackage(
            await Get(Digest, MergeDigests([digest, blobs.digest])),
            (
                BuiltPackageArtifact(
                    path, extra_log_lines=(f"    {image.function} {image.manifest['digest']}",)
                ),
            ),
        )
    )


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
    return (await Get(OneLayout, OneLayoutRequest(image, address, path, "function.json"))).package


@dataclass(frozen=True)
class AppPackageFieldSet(PackageFieldSet, AppFieldSet):
    pass


@rule(desc="Write an app's OCI layout", level=LogLevel.DEBUG)
async def package_app(field_set: AppPackageFieldSet) -> BuiltPackage:
    address = field_set.address
    built = await Get(AppImage, AppImageRequest(plain(field_set)))
    path = field_set.output_path.value or package_path(
        address.spec_path, with_parameters(address.target_name, address.parameters)
    )
    return (await Get(OneLayout, OneLayoutRequest(built.image, address, path, "app.json"))).package


def plain(field_set: AppPackageFieldSet) -> AppFieldSet:
    """Return the same fields, so that one app is built once whoever asks for it."""
    return AppFieldSet(**{field.name: getattr(field_set, field.name) for field in fields(field_set)})


@dataclass(frozen=True)
class BundleRequest:
    """A deployment to be packaged: its functions' images in one layout, their specs, the bundle's index."""

    address: Address
    functions: tuple[str, ...]
    platform: str | None
    apps: tuple[str, ...] = ()


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
    named = await Get(
        Targets,
        UnparsedAddressInputs(
            request.apps,
            owning_address=request.address,
            description_of_origin=f"the `apps` field of {request.address}",
        ),
    )
    strays = [target.address.spec for target in named if not AppFieldSet.is_applicable(target)]
    if strays:
        raise CannotPackage(f"{request.address}: apps= names {', '.join(strays)}, which is no turbolift_app.")
    built = await MultiGet(Get(AppImage, AppImageRequest(AppFieldSet.create(target))) for target in named)
    apps = [one.image for one in built]
    try:
        files = bundle_files(request.address.target_name, request.platform, entries(images), entries(apps))
    except ValueError as error:
        raise CannotPackage(f"{request.address}: {error}") from None
    small = await Get(Digest, CreateDigest([FileContent(path, content) for path, content in files.items()]))
    digest = await Get(
        Digest, MergeDigests([small, *(d for image in (*images, *apps) for d in (image.small, image.blobs))])
    )
    return Bundle(digest, small, (*images, *apps))


def entries(images: Iterable[FunctionImage]) -> list[BundleEntry]:
    return [BundleEntry(i.function, i.target, thaw(i.manifest), thaw(i.spec)) for i in images]


@dataclass(frozen=True)
class DeploymentPackageFieldSet(PackageFieldSet):
    required_fields = (DeploymentFunctionsField, DeploymentPlatformField)

    functions: DeploymentFunctionsField
    apps: DeploymentAppsField
    platform: DeploymentPlatformField
    namespace: DeploymentNamespaceField
    registry: DeploymentRegistryField
    output_path: OutputPathField


@rule(desc="Write a deployment's bundle", level=LogLevel.DEBUG)
async def package_deployment(field_set: DeploymentPackageFieldSet) -> BuiltPackage:
    bundle = await Get(
        Bundle,
        BundleRequest(
            field_set.address,
            tuple(field_set.functions.value or ()),
            field_set.platform.value,
            tuple(field_set.apps.value or ()),
        ),
    )
    path = field_set.output_path.value or package_path(
        field_set.address.spec_path, field_set.address.target_name
    )
    blobs = await Get(SharedBlobs, SharedBlobsRequest(bundle.images))
    small, link = await MultiGet(
        Get(Digest, AddPrefix(bundle.small, path)),
        Get(Digest, CreateDigest([SymlinkEntry(f"{path}/blobs", blobs_link(path))])),
    )
    parts = [small, blobs.digest, link]
    told = [f"    {len(bundle.images)} images"]
    namespace, registry = field_set.namespace.value, field_set.registry.value
    if namespace and registry and renders(field_set.platform.value, namespace, registry):
        manifests = await Get(
            Manifests,
            ManifestsRequest(bundle.small, field_set.address.target_name, namespace, registry),
        )
        parts.append(await Get(Digest, AddPrefix(manifests.digest, f"{path}/manifests")))
        told.append(f"    kubectl apply -k dist/{path}/manifests")
    return BuiltPackage(
        await Get(Digest, MergeDigests(parts)),
        (BuiltPackageArtifact(path, extra_log_lines=tuple(told)),),
    )


def rules() -> list[Any]:
    return [
        *collect_rules(),
        UnionRule(PackageFieldSet, FunctionPackageFieldSet),
        UnionRule(PackageFieldSet, AppPackageFieldSet),
        UnionRule(PackageFieldSet, DeploymentPackageFieldSet),
    ]
