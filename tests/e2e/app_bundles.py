# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Puts an app into a bundle of functions, as `package` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from turbolift import spec
from turbolift.deploy.bundle import version_of
from turbolift.image import assemble, layer, layout
from unit.deploy.bundles import Workshop

APP = "shop.app:__main__"


def add_app(
    workshop: Workshop, bundle: Path, sources: dict[str, str], *, kind: str = "deployment", **options: Any
) -> Path:
    """Add `APP` with the first-party `sources`, pinned to all functions of the bundle in the folder `bundle`."""
    index = json.loads((bundle / "bundle.json").read_text("utf-8"))
    tree, built, image = (bundle.with_name(f"{bundle.name}-app-{part}") for part in ("src", "layer", "image"))
    for name, text in sources.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    layer.build("first-party", tree, "app/src", workshop.rootfs, built)
    layers = [workshop.third_party / "layer", workshop.shim / "layer", built]
    assemble.assemble(layout.Layout(workshop.base), layers, APP, image, entry=assemble.execute)
    for blob in (image / "blobs" / "sha256").iterdir():
        layout.copy_blob(blob, bundle)
    descriptors = [*layout.Layout(bundle).descriptors(), *layout.Layout(image).descriptors()]
    layout.write_index(bundle, descriptors)
    functions = {one["function"]: one["version"] for one in index["functions"]}
    document = {
        "version": 1,
        "app": APP,
        "target": "src:app",
        "source": "src/shop/app.py",
        "kind": kind,
        "options": {"args": [], "env": {}, "replicas": 1, "cpu": None, "memory": None, **options},
        "functions": sorted(functions),
        "closure": {
            "digest": spec.digest(sorted(sources.items())),
            "sources": sorted(sources),
            "requirements": [],
        },
    }
    (bundle / "specs" / "app.json").write_text(json.dumps(document), "utf-8")
    digest = descriptors[-1]["digest"]
    index["apps"] = [
        {
            "app": APP,
            "target": "src:app",
            "image": digest,
            "spec": "specs/app.json",
            "pins": functions,
            "version": version_of(digest, {**document, "pins": functions}),
        }
    ]
    (bundle / "bundle.json").write_text(json.dumps(index), "utf-8")
    return bundle
