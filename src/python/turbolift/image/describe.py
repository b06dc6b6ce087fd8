# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The ``describe`` command: run the built closure's ``--describe`` on the base's own interpreter.

What cannot be imported, or has no contract, fails here and not in production. The process has a clean
environment and sees only the three folders that go into the image.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turbolift import spec
from turbolift.errors import PackagingError
from turbolift.image.interpreter import base_command

_FRAME = re.compile(r'  File "([^"]+)", line \d+')
_TRACEBACK = "Traceback (most recent call last):"


def add(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "describe",
        help="ask a built function for its contract, on the base's own Python",
        description="Import the function from the folders that go into its image, with the base's own Python "
        "and a clean environment, and write its describe document (identity, contract, options).",
    )
    parser.add_argument("--base-rootfs", type=Path, required=True, help="the unpacked base (base --rootfs)")
    parser.add_argument("--python", help="the interpreter's path in the base (default: the newest in it)")
    parser.add_argument("--third-party", type=Path, help="folder that becomes /app/site-packages")
    parser.add_argument("--shim", type=Path, help="folder that becomes /app/shim")
    parser.add_argument("--first-party", type=Path, required=True, help="folder that becomes /app/src")
    parser.add_argument(
        "--paths",
        type=Path,
        help="JSON: path below --first-party -> the path that messages name (the repository's)",
    )
    parser.add_argument("--function", required=True, metavar="MODULE:QUALNAME")
    parser.add_argument("--out", type=Path, required=True, help="the describe document to write")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    folders = [one for one in (options.shim, options.first_party, options.third_party) if one is not None]
    paths = json.loads(options.paths.read_bytes()) if options.paths is not None else {}
    named = {os.path.abspath(options.first_party / path): name for path, name in paths.items()}
    describe(options.base_rootfs, folders, options.function, options.out, python=options.python, named=named)


def describe(
    rootfs: Path,
    folders: Sequence[Path],
    function: str,
    out: Path,
    *,
    python: str | None = None,
    named: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write the describe document of `function` to `out` and return it; `folders` are its ``sys.path``, `named`
    says by which name messages call a file (absolute path -> name; else its path in its folder).

    Raises PackagingError with the user's part of the traceback where the import or the contract fails.
    """
    for folder in folders:
        if not folder.is_dir():
            raise PackagingError(f"{folder}: no such folder")
    roots = [os.path.abspath(one) for one in folders]
    argv, env = base_command(
        rootfs,
        ["-P", "-m", "turbolift.shim", "--function", function, "--describe", os.path.abspath(out)],
        python=python,
        env={"PYTHONPATH": os.pathsep.join(roots), "PYTHONHASHSEED": "0", "TURBOLIFT": "off"},
    )
    out.unlink(missing_ok=True)
    done = subprocess.run(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0 or not out.is_file():
        said = (
            user_part(done.stderr, roots, named)
            or user_part(done.stdout, roots, named)
            or f"exit code {done.returncode}"
        )
        raise PackagingError(f"{function} cannot be described:\n{said}")
    return spec.load("describe", out)


def user_part(text: str, roots: Sequence[str], named: Mapping[str, str] | None = None) -> str:
    """Return what the process said, without frames that are not the user's; files below `roots` as `named`, or
    by their path there.
    """
    kept: list[str] = []
    skipping = False
    for line in text.rstrip().splitlines():
        frame = _FRAME.match(line)
        if frame is not None:
            path = frame[1]
            skipping = path.startswith("<frozen ") or "/turbolift/" in path or "/lib/python3" in path
        elif not line.startswith("    "):
            skipping = False
        if not skipping:
            kept.append(line)
    said = "\n".join(kept)
    if _TRACEBACK in said and not _FRAME.search(said):
        # Nothing of the user's is in it: then all of it is needed.
        said = text
    said = said.removeprefix("error: ")
    for path, name in (named or {}).items():
        said = said.replace(path, name)
    for root in roots:
        said = said.replace(f"{root}/", "")
    return said.strip()
