# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Read and write OCI image layouts; all that is read is verified against its digest."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turbolift.errors import PackagingError
from turbolift.spec import canonical

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
FUNCTION_ANNOTATION = "dev.turbolift.function"
REF_NAME = "org.opencontainers.image.ref.name"

_CHUNK = 1 << 20
# The same bytes under Docker's older names: a new manifest uses OCI's.
_OCI_TYPES = {
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image: the blob's media type, digest and size, and the digest of the tar in it."""

    media_type: str
    digest: str
    size: int
    diff_id: str

    def descriptor(self) -> dict[str, Any]:
        """Return the OCI descriptor."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Image:
    """One image: the digest of its manifest, manifest and config (parsed), layers (bottom first)."""

    digest: str
    manifest: dict[str, Any]
    config: dict[str, Any]
    layers: tuple[Layer, ...]


def hex_of(digest: str) -> str:
    """Return the 64 hex digits of ``sha256:<hex>``.

    Raises PackagingError for anything else (it would become a path).
    """
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise PackagingError(f"not a sha256 digest: {digest!r}")
    return value


def sha256(data: bytes) -> str:
    """Return ``sha256:<hex>`` of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return ``sha256:<hex>`` of the file `path`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return "sha256:" + digest.hexdigest()


class Layout:
    """An OCI layout on disk, for reading. Everything that it returns was verified against its digest.

    Raises PackagingError, naming the file, for what is missing, broken or not an OCI layout.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / "oci-layout").is_file():
            raise PackagingError(f"{self.path}: not an OCI layout: it has no file oci-layout")

    def blob_path(self, digest: str) -> Path:
        """Return where the blob `digest` is (or would be)."""
        return self.path / "blobs" / "sha256" / hex_of(digest)

    def read(self, digest: str) -> bytes:
        """Return the bytes of a small blob (manifest, config)."""
        path = self.blob_path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise PackagingError(f"{path}: cannot read this blob: {error.strerror}") from None
        if sha256(data) != digest:
            raise PackagingError(f"{path}: damaged: its sha256 is {sha256(data)[7:]}")
        return data

    def verified(self, layer: Layer) -> Path:
        """Return the file of a layer's blob, after comparing its size and sha256."""
        path = self.blob_path(layer.digest)
        if not path.is_file():
            raise PackagingError(f"{path}: this layer's blob is missing")
        if path.stat().st_size != layer.size or sha256_file(path) != layer.digest:
            raise PackagingError(f"{path}: damaged: not {layer.size} bytes with the sha256 of its name")
        return path

    def descriptors(self) -> list[dict[str, Any]]:
        """Return the descriptors of ``index.json``."""
        index = _object((self.path / "index.json"), "index")
        manifests = index.get("manifests")
        if not isinstance(manifests, list) or not all(
            isinstance(one, dict) and isinstance(one.get("digest"), str) for one in manifests
        ):
            raise PackagingError(f"{self.path}/index.json: 'manifests' is not a list of descriptors")
        return manifests

    def functions(self) -> dict[str, str]:
        """Return the manifest digest of each function that the layout holds an image of, by identity."""
        return {
            one["annotations"][FUNCTION_ANNOTATION]: one["digest"]
            for one in self.descriptors()
            if FUNCTION_ANNOTATION in (one.get("annotations") or {})
        }

    def find(self, *, function: str | None = None, digest: str | None = None) -> str:
        """Return one manifest's digest: the only one, that of `function`, or `digest` if it is listed."""
        listed: list[str] = [one["digest"] for one in self.descriptors()]
        if function is not None:
            known = self.functions()
            if function not in known:
                raise PackagingError(
                    f"{self.path}: holds no image of {function}; it has: {', '.join(sorted(known)) or 'none'}"
                )
            return known[function]
        if digest is not None:
            if digest not in listed:
                raise PackagingError(
                    f"{self.path}: holds no manifest {digest}; it has: {', '.join(listed) or 'none'}"
                )
            return digest
        if len(listed) != 1:
            raise PackagingError(f"{self.path}: holds {len(listed)} images; say which one")
        return listed[0]

    def image(self, digest: str | None = None) -> Image:
        """Return the image with the manifest `digest` (the layout's only one if None)."""
        digest = digest or self.find()
        manifest = json.loads(self.read(digest))
        if "layers" not in manifest:
            raise PackagingError(f"{self.path}: {digest} is not the manifest of an image")
        config = json.loads(self.read(manifest["config"]["digest"]))
        diff_ids = config["rootfs"]["diff_ids"]
        if len(diff_ids) != len(manifest["layers"]):
            raise PackagingError(
                f"{self.path}: {digest} has {len(manifest['layers'])} layers, its config {len(diff_ids)} "
                "diff ids"
            )
        layers = tuple(
            Layer(_OCI_TYPES.get(one["mediaType"]) or one["mediaType"], one["digest"], one["size"], diff_id)
            for one, diff_id in zip(manifest["layers"], diff_ids, strict=True)
        )
        return Image(digest, manifest, config, layers)

    def verify(self) -> list[Image]:
        """Read every image and every blob that it needs; return the images."""
        images = [self.image(one["digest"]) for one in self.descriptors()]
        done: set[str] = set()
        for image in images:
            for layer in image.layers:
                if layer.digest not in done:
                    self.verified(layer)
                    done.add(layer.digest)
        return images


def write_json_blob(folder: Path, document: Any, media_type: str) -> dict[str, Any]:
    """Write the canonical JSON of `document` as a blob of the layout `folder`; return its descriptor."""
    data = canonical(document)
    digest = sha256(data)
    path = folder / "blobs" / "sha256" / digest[7:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def write_index(folder: Path, descriptors: Iterable[Mapping[str, Any]]) -> None:
    """Write ``oci-layout`` and ``index.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "oci-layout").write_bytes(canonical({"imageLayoutVersion": "1.0.0"}))
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [dict(one) for one in descriptors]}
    (folder / "index.json").write_bytes(canonical(index))


def copy_blob(source: Path, folder: Path) -> None:
    """Copy (by hard link where that works) the blob file `source` into the layout `folder`."""
    target = folder / "blobs" / "sha256" / source.name
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _object(path: Path, what: str) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PackagingError(f"{path}: cannot read this {what}: {error.strerror}") from None
    except ValueError as error:
        raise PackagingError(f"{path}: this {what} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise PackagingError(f"{path}: this {what} is not a JSON object")
    return document
