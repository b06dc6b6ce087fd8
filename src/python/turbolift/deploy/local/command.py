# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line and the environment of a function's process: what its image says, with paths of this
machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from turbolift.errors import PackagingError
from turbolift.image.interpreter import base_command
from turbolift.image.layout import Image
from turbolift.image.unpack import resolve_in

# What only makes sense inside the image; `base_command` has this machine's values for what is needed of it.
_INSIDE = frozenset({"PATH", "HOME", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "SSL_CERT_DIR"})


def function_command(
    rootfs: Path,
    layers: Sequence[Path],
    image: Image,
    *,
    listen: Sequence[str],
    home: Path,
    env: Mapping[str, str],
) -> tuple[list[str], dict[str, str]]:
    """Return (argv, environment) that serve the function of `image`, where the shim's arguments `listen` say.

    `layers` are the unpacked application layers, bottom first; `home` is its home folder; `env` goes over
    what the image's config says. Nothing of this process's own environment is passed on. Raises
    PackagingError.
    """
    config = image.config.get("config") or {}
    inside = dict(one.split("=", 1) for one in config.get("Env") or [] if "=" in one)
    entry = config.get("Entrypoint") or []
    if entry[1:3] != ["-m", "turbolift.shim"]:
        raise PackagingError(
            f"{image.digest}: its entry point is {entry!r}, not turbolift's shim: not an image of "
            "'python -m turbolift.image assemble'"
        )
    path = python_path(layers, inside.get("PYTHONPATH", ""))
    return base_command(
        rootfs,
        # -P: the current folder is no place to import from.
        ["-P", *entry[1:], *listen],
        python=entry[0],
        env={
            **_kept(rootfs, inside),
            "HOME": str(home),
            **env,
            "PYTHONPATH": os.pathsep.join(map(str, path)),
        },
    )


def supervisor_command(
    rootfs: Path, program: Path, record: Path, image: Image
) -> tuple[list[str], dict[str, str]]:
    """Return (argv, environment) that run the supervisor `program` on the instance `record` by the base's own
    Python.
    """
    python = ((image.config.get("config") or {}).get("Entrypoint") or [None])[0]
    return base_command(rootfs, ["-S", "-P", "-B", str(program), str(record)], python=python)


def python_path(layers: Sequence[Path], inside: str) -> list[Path]:
    """Return the folders of this machine that stand for the image's PYTHONPATH `inside`, in its order."""
    found = []
    for name in inside.split(":"):
        if name:
            found += [folder for layer in reversed(layers) if (folder := layer / name.strip("/")).is_dir()]
    return found


def _kept(rootfs: Path, inside: Mapping[str, str]) -> dict[str, str]:
    """Return what of the image's environment holds here; a path into the base becomes one into its folder."""
    kept = {}
    for name, value in inside.items():
        if name in _INSIDE:
            continue
        if value.startswith("/"):
            here = resolve_in(rootfs, value)
            if not here.exists():
                continue
            value = str(here)
        kept[name] = value
    return kept
