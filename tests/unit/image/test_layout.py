# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading an OCI layout: nothing is believed that its digest does not prove."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from turbolift.errors import PackagingError
from turbolift.image import layout, tar
from turbolift.image.blob import write_layer


def make(folder: Path, functions: tuple[str, ...] = ("shop.cart:total",)) -> layout.Layout:
    descriptors = []
    for function in functions:
        blob = write_layer([tar.Entry("name", data=function.encode())], folder / "blobs" / "sha256")
        config = {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [blob.diff_id]},
        }
        manifest = {
            "schemaVersion": 2,
            "config": layout.write_json_blob(folder, config, layout.CONFIG),
            "layers": [blob.descriptor()],
        }
        one = layout.write_json_blob(folder, manifest, layout.MANIFEST)
        descriptors.append({**one, "annotations": {layout.FUNCTION_ANNOTATION: function}})
    layout.write_index(folder, descriptors)
    return layout.Layout(folder)


def test_find_by_function_or_digest(tmp_path: Path) -> None:
    made = make(tmp_path, ("a:f", "b:g"))
    digests = made.functions()
    assert list(digests) == ["a:f", "b:g"]
    assert made.find(function="b:g") == digests["b:g"] == made.find(digest=digests["b:g"])
    assert [image.digest for image in made.verify()] == list(digests.values())
    with pytest.raises(PackagingError, match="holds no image of c:h; it has: a:f, b:g"):
        made.find(function="c:h")
    with pytest.raises(PackagingError, match="holds 2 images; say which one"):
        made.find()
    with pytest.raises(PackagingError, match="holds no manifest sha256:0000"):
        made.find(digest="sha256:" + "0" * 64)


def test_a_damaged_blob_is_refused(tmp_path: Path) -> None:
    made = make(tmp_path)
    image = made.image()
    path = made.verified(image.layers[0])
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(PackagingError, match=f"{path.name}: damaged"):
        made.verify()
    config = made.blob_path(image.manifest["config"]["digest"])
    config.write_bytes(b"{}")
    with pytest.raises(PackagingError, match="damaged: its sha256 is 44136fa3"):
        made.image()
    config.unlink()
    with pytest.raises(PackagingError, match="cannot read this blob: No such file"):
        made.image()


@pytest.mark.parametrize(
    "digest", ["sha256:../../../etc/passwd", "sha256:ABC", "md5:" + "0" * 64, "sha256:" + "A" * 64, ""]
)
def test_a_digest_never_becomes_another_path(tmp_path: Path, digest: str) -> None:
    made = make(tmp_path)
    with pytest.raises(PackagingError, match="not a sha256 digest"):
        made.blob_path(digest)


def test_docker_media_types_become_oci_ones(tmp_path: Path) -> None:
    made = make(tmp_path)
    manifest = made.image().manifest
    manifest["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    layout.write_index(tmp_path, [layout.write_json_blob(tmp_path, manifest, layout.MANIFEST)])
    assert made.image().layers[0].media_type == "application/vnd.oci.image.layer.v1.tar+gzip"


def test_what_is_no_layout_says_so(tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match="not an OCI layout"):
        layout.Layout(tmp_path)
    made = make(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps({"manifests": {}}))
    with pytest.raises(PackagingError, match="not a list of descriptors"):
        made.descriptors()
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(PackagingError, match="this index is not JSON"):
        made.descriptors()
