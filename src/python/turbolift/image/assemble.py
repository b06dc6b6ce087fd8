# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The ``assemble`` command: config, manifest and index of a function's or an app's image from a base and layers.

Paths in the image: ``/app/site-packages`` (third-party), ``/app/shim`` (turbolift), ``/app/src``
(first-party).
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from turbolift import spec
from turbolift.errors import PackagingError
from turbolift.image import layout
from turbolift.image.archive import log
from turbolift.image.base import PYTHON_ANNOTATION
from turbolift.image.blob import FIXED_TIME

PYTHONPATH = "/app/shim:/app/src:/app/site-packages"
USER = "65532:65532"
PORT = 8080
CLOSURE_ANNOTATION = "dev.turbolift.closure"

_TITLE = "org.opencontainers.image.title"
_IDENTITY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def serve(function: str) -> list[str]:
    """Return the arguments by which Python serves a tagged function."""
    return ["-m", "turbolift.shim", "--function", function]


def execute(app: str) -> list[str]:
    """Return the arguments by which Python runs a program: a module, or a function in one."""
    module, _, name = app.partition(":")
    if name == "__main__":
        return ["-m", module]
    return ["-c", f"import sys; from {module} import {name}; sys.exit({name}())"]


def add(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "assemble",
        help="write the config and manifest of a function's image",
        description="Put layers on a base: writes the image's config and manifest, an index that lists it, "
        "and image.json (digests, layers with their kinds). Blobs of base and layers are linked or copied "
        "beside them unless --new-blobs-only.",
    )
    parser.add_argument("--base", type=Path, required=True, help="OCI layout of the base")
    parser.add_argument(
        "--layer",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="output of layer, bottom first (repeatable)",
    )
    runs = parser.add_mutually_exclusive_group(required=True)
    runs.add_argument("--entrypoint-function", metavar="MODULE:QUALNAME", help="serve this tagged function")
    runs.add_argument(
        "--entrypoint-app",
        metavar="MODULE:FUNCTION",
        help="run this program; MODULE:__main__ runs the module as `python -m` does",
    )
    parser.add_argument(
        "--spec", type=Path, help="the function spec; its digest becomes the annotation dev.turbolift.spec"
    )
    parser.add_argument(
        "--python", help="the interpreter's path in the base (default: as the base's layout says)"
    )
    parser.add_argument(
        "--base-name", default="", help="name of the base for the annotation, as registry/repository"
    )
    parser.add_argument(
        "--annotation",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="added to the manifest (repeatable)",
    )
    parser.add_argument(
        "--new-blobs-only",
        action="store_true",
        help="write config and manifest, but not the blobs of base and layers",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the OCI layout and image.json")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    annotations = {}
    for one in options.annotation:
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise PackagingError(f"--annotation {one}: not KEY=VALUE")
        annotations[key] = value
    if options.spec is not None:
        annotations["dev.turbolift.spec"] = spec.digest(_json(options.spec))
    summary = assemble(
        layout.Layout(options.base),
        options.layer,
        options.entrypoint_function or options.entrypoint_app,
        options.out,
        entry=serve if options.entrypoint_function else execute,
        python=options.python,
        base_name=options.base_name,
        annotations=annotations,
        copy=not options.new_blobs_only,
    )
    log(f"{summary['function']}: {summary['manifest']}")


def assemble(
    base: layout.Layout,
    layers: Sequence[Path],
    function: str,
    out: Path,
    *,
    entry: Callable[[str], list[str]] = serve,
    python: str | None = None,
    base_name: str = "",
    annotations: Mapping[str, str] | None = None,
    copy: bool = True,
) -> dict[str, Any]:
    """Write the image of `function` into `out`; return the summary that ``image.json`` holds. `entry` tells what Python is given.

    Summary: ``manifest`` and ``config`` (digests), ``manifest_size``, ``config_size``, ``base`` (digest),
    ``python``, ``function``, ``layers`` (descriptors with ``kind`` and ``diff_id``, the base's first).
    """
    if not _IDENTITY.fullmatch(function):
        raise PackagingError(f"{function!r}: not a function's identity (module:qualname)")
    image = base.image()
    python = python or _base_python(base, image)
    stack: list[dict[str, Any]] = [
        {"kind": "base", **one.descriptor(), "diff_id": one.diff_id} for one in image.layers
    ]
    sources = [base.blob_path(one.digest) for one in image.layers]
    for folder in layers:
        document = _json(folder / "layer.json")
        if document is None:
            continue
        stack.append(document)
        sources.append(folder / "blobs" / "sha256" / document["digest"][7:])
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(FIXED_TIME))
    diff_ids = [one["diff_id"] for one in stack]
    names = {_TITLE: function, "org.opencontainers.image.base.digest": image.digest}
    if base_name:
        names["org.opencontainers.image.base.name"] = base_name
    notes = {
        **names,
        "org.opencontainers.image.created": created,
        layout.FUNCTION_ANNOTATION: function,
        # What the base contributes is named by its own digest: this one is of what was put on it, byte code
        # included.
        CLOSURE_ANNOTATION: spec.digest(diff_ids[len(image.layers) :]),
        **(annotations or {}),
    }
    config = layout.write_json_blob(
        out,
        _config(image, [python, *entry(function)], entry is serve, diff_ids, stack, created, notes),
        layout.CONFIG,
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": layout.MANIFEST,
        "config": config,
        "layers": [{key: one[key] for key in ("mediaType", "digest", "size")} for one in stack],
        "annotations": notes,
    }
    descriptor = layout.write_json_blob(out, manifest, layout.MANIFEST)
    listed = {
        **descriptor,
        "platform": _platform(image),
        "annotations": {layout.FUNCTION_ANNOTATION: function},
    }
    layout.write_index(out, [listed])
    if copy:
        for source in sources:
            layout.copy_blob(source, out)
    summary = {
        "function": function,
        "manifest": descriptor["digest"],
        "manifest_size": descriptor["size"],
        "config": config["digest"],
        "config_size": config["size"],
        "base": image.digest,
        "python": python,
        "layers": stack,
    }
    (out / "image.json").write_bytes(spec.canonical(summary))
    return summary


def _platform(image: layout.Image) -> dict[str, str]:
    return {key: image.config[key] for key in ("architecture", "os", "variant") if key in image.config}


def _config(
    image: layout.Image,
    argv: list[str],
    listens: bool,
    diff_ids: list[str],
    stack: list[dict[str, Any]],
    created: str,
    labels: Mapping[str, str],
) -> dict[str, Any]:
    inherited = dict(image.config.get("config") or {})
    environment = dict(one.split("=", 1) for one in inherited.get("Env") or [] if "=" in one)
    environment |= {"PYTHONPATH": PYTHONPATH, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    # Hooks of the base's own program make no sense here.
    for key in ("Cmd", "Healthcheck", "OnBuild", "Volumes", "Entrypoint"):
        inherited.pop(key, None)
    history = list(image.config.get("history") or [])
    if sum(not one.get("empty_layer") for one in history) != len(image.layers):
        history = [{"created": created, "created_by": "base"} for _ in image.layers]
    history += [
        {"created": created, "created_by": f"turbolift {one['kind']}"}
        for one in stack
        if one["kind"] != "base"
    ]
    return {
        **_platform(image),
        "created": created,
        "config": {
            **inherited,
            "User": USER,
            "WorkingDir": "/app",
            "Env": [f"{key}={value}" for key, value in environment.items()],
            "Entrypoint": argv,
            **({"ExposedPorts": {f"{PORT}/tcp": {}}} if listens else {}),
            "Labels": {**(inherited.get("Labels") or {}), **labels},
        },
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history,
    }


def _base_python(base: layout.Layout, image: layout.Image) -> str:
    for one in base.descriptors():
        if one["digest"] == image.digest and PYTHON_ANNOTATION in (one.get("annotations") or {}):
            return str(one["annotations"][PYTHON_ANNOTATION])
    raise PackagingError(
        f"{base.path}: does not say where its Python is: give --python, or make it with the commands base or "
        "registry-base"
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PackagingError(f"{path}: cannot read this file: {error.strerror}") from None
    except ValueError as error:
        raise PackagingError(f"{path}: not JSON: {error}") from None
