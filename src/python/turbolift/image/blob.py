# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Turn a tar stream into one compressed layer blob whose bytes are the same on every machine.

Only libdeflate is used to compress: what the system's zlib, zlib-ng or isal write differs with their
versions, and even with the CPU. The stream is cut into gzip members of 64 MiB, so that a layer of any size
needs little memory; readers of gzip (and of layers: eStargz is made so) take several members for one stream.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import deflate

from turbolift.image import tar

# 2025-01-01: every file in every layer is dated so. Zip-based tools refuse dates before 1980, and humans
# wonder about 1970.
FIXED_TIME = 1735689600
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
MEMBER = 64 << 20
_LEVEL = 6
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A compressed layer: digest and size of the blob, ``diff_id`` (digest of the tar in it)."""

    digest: str
    size: int
    diff_id: str

    def descriptor(self) -> dict[str, Any]:
        """Return the OCI descriptor."""
        return {"mediaType": LAYER_GZIP, "digest": self.digest, "size": self.size}


def write_layer(entries: Iterable[tar.Entry], blobs: Path, *, mtime: int = FIXED_TIME) -> LayerBlob:
    """Write the layer of `entries` as ``<blobs>/<hex>`` and return what it is.

    The file appears under its name only when it is whole.
    """
    blobs.mkdir(parents=True, exist_ok=True)
    part = blobs / f".layer-{os.getpid()}"
    try:
        with part.open("wb") as file:
            sink = _Gzip(file.write)
            tar.write(entries, sink.write, mtime=mtime)
            sink.close()
        part.replace(blobs / sink.blob.hexdigest())
    finally:
        part.unlink(missing_ok=True)
    return LayerBlob(f"sha256:{sink.blob.hexdigest()}", sink.size, f"sha256:{sink.tar.hexdigest()}")


class _Gzip:
    def __init__(self, out: Any) -> None:
        self.blob = hashlib.sha256()
        self.tar = hashlib.sha256()
        self.size = 0
        self._out = out
        self._pending = bytearray()

    def write(self, data: bytes) -> None:
        self.tar.update(data)
        self._pending += data
        while len(self._pending) >= MEMBER:
            self._member(bytes(self._pending[:MEMBER]))
            del self._pending[:MEMBER]

    def close(self) -> None:
        if self._pending or not self.size:
            self._member(bytes(self._pending))
            self._pending.clear()

    def _member(self, data: bytes) -> None:
        body = bytes(deflate.deflate_compress(data, _LEVEL))
        member = _GZIP_HEADER + body + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)
        self.blob.update(member)
        self.size += len(member)
        self._out(member)
