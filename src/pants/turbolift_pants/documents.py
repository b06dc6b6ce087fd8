# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The documents that the rules write: specs of functions and apps, and the index of a bundle. No engine, no Pants.

CPython 3.9 syntax: this runs inside Pants.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping, Sequence


def slug(function: str) -> str:
    """Return a file name for a function: readable, and unique by a hash of the identity."""
    text = re.sub(r"[^a-z0-9]+", "-", function.lower()).strip("-")
    return f"{text[:48].strip('-')}-{hashlib.sha256(function.encode()).hexdigest()[:8]}"


def canonical(document: Any) -> bytes:
    """Return the canonical JSON of a document, as turbolift.spec does."""
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def pretty(document: Any) -> bytes:
    """Return a document as people read it."""
    return json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False).encode() + b"\n"


@dataclass(frozen=True)
class Closure:
    """The files of one function, by layer, as (path in the layer, sha256)."""

    shim: tuple[tuple[str, str], ...]
    first_party: tuple[tuple[str, str], ...]
    requirements: tuple[str, ...]


def closure_digest(closure: Closure, resolved: Sequence[Mapping[str, Any]]) -> str:
    """Return the digest of everything that can change what the function does: its files and its distributions."""
    document = {
        "files": sorted([path, sha] for path, sha in (*closure.shim, *closure.first_party)),
        "distributions": sorted([d["name"], d["version"]] for d in resolved),
    }
    return "sha256:" + hashlib.sha256(canonical(document)).hexdigest()


def function_spec(
    describe: Mapping[str, Any],
    *,
    target: str,
    source: str,
    line: int,
    closure: Closure,
    resolved: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Render the function spec from what the built closure says of itself and what the rules know."""
    return {
        "version": 1,
        "function": describe["function"],
        "target": target,
        "source": source,
        "line": line,
        "doc": describe.get("doc", ""),
        "contract": describe["contract"],
        "options": describe["options"],
        "platform": describe["platform"],
        "python": describe["python"],
        "closure": {
            "digest": closure_digest(closure, resolved),
            "sources": sorted(path for path, _ in closure.first_party),
            "requirements": sorted(f"{d['name']}=={d['version']}" for d in resolved),
        },
    }


def app_spec(
    *,
    app: str,
    target: str,
    source: str,
    kind: str,
    options: Mapping[str, Any],
    functions: Iterable[str],
    closure: Closure,
    resolved: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Render the spec of an app; `functions` are the tagged functions among its sources."""
    return {
        "version": 1,
        "app": app,
        "target": target,
        "source": source,
        "kind": kind,
        "options": dict(options),
        "functions": sorted(functions),
        "closure": {
            "digest": closure_digest(closure, resolved),
            "sources": sorted(path for path, _ in closure.first_party),
            "requirements": sorted(f"{d['name']}=={d['version']}" for d in resolved),
        },
    }


def version(image: str, spec: Mapping[str, Any]) -> str:
    """Return a function's version: the sha256 of its image digest and its rendered spec."""
    return hashlib.sha256(image.encode() + b"\n" + canonical(spec)).hexdigest()


@dataclass(frozen=True)
class BundleEntry:
    """One function of a bundle."""

    function: str
    target: str
    manifest: Mapping[str, Any] = field(hash=False)
    spec: Mapping[str, Any] = field(hash=False)


def layout_files(entries: Iterable[BundleEntry]) -> dict[str, bytes]:
    """Return the small files of an OCI layout of the images of `entries`."""
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {**entry.manifest, "annotations": {"dev.turbolift.function": entry.function}} for entry in entries
        ],
    }
    return {"oci-layout": canonical({"imageLayoutVersion": "1.0.0"}), "index.json": canonical(index)}


def bundle_files(
    deployment: str, platform: str | None, entries: Iterable[BundleEntry], apps: Iterable[BundleEntry] = ()
) -> dict[str, bytes]:
    """Return the small files of a bundle: its index, the layout's index and one spec a function or app.

    Raises ValueError where two functions have one identity, or an app calls what is not in the bundle.
    """
    files: dict[str, bytes] = {}
    functions = []
    targets: dict[str, str] = {}
    entries = sorted(entries, key=lambda entry: entry.function)
    for entry in entries:
        if entry.function in targets:
            raise ValueError(
                f"two functions are both {entry.function}: {targets[entry.function]} and {entry.target}. The module path below "
                "the source root and the name are a function's identity: rename one, or deploy them apart by the functions= field."
            )
        targets[entry.function] = entry.target
        path = f"specs/{slug(entry.function)}.json"
        files[path] = pretty(entry.spec)
        functions.append(
            {
                "function": entry.function,
                "target": entry.target,
                "image": entry.manifest["digest"],
                "spec": path,
                "version": version(entry.manifest["digest"], entry.spec),
            }
        )
    versions = {one["function"]: one["version"] for one in functions}
    apps = sorted(apps, key=lambda entry: entry.function)
    named = []
    for app in apps:
        strays = [one for one in app.spec["functions"] if one not in versions]
        if strays:
            raise ValueError(
                f"{app.target} calls {', '.join(strays)}, which the deployment's functions= leaves out: an app calls what is rolled "
                "out with it."
            )
        path = f"specs/{slug(app.function)}.json"
        files[path] = pretty(app.spec)
        pins = {one: versions[one] for one in app.spec["functions"]}
        named.append(
            {
                "app": app.function,
                "target": app.target,
                "image": app.manifest["digest"],
                "spec": path,
                "pins": pins,
                "version": version(app.manifest["digest"], {**app.spec, "pins": pins}),
            }
        )
    files.update(layout_files([*entries, *apps]))
    index = {"version": 1, "deployment": deployment, "platform": platform, "functions": functions}
    files["bundle.json"] = pretty({**index, "apps": named} if named else index)
    return files
