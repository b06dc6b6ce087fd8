# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Compile byte code with the base's own interpreter: hash-based, unchecked, the same on every machine.

Byte code that is dated goes stale once a layer fixes its mtimes; hash-based byte code does not, and unchecked
it costs no read of the source at start. Only the interpreter that will run it may write it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turbolift.errors import PackagingError
from turbolift.image.interpreter import base_command

# Runs under the base's Python. Frozen importlib's own writer makes the file; marshal's output depends on the
# order of work, so the list is sorted, and on nothing else, as hashing is seeded. The name in tracebacks is
# the one in the image.
_PROGRAM = r"""
import _imp, importlib._bootstrap_external as external, importlib.util as util, json, os, sys, warnings
warnings.simplefilter("ignore")
job = json.load(sys.stdin)
failed = []
for name in job["files"]:
    with open(os.path.join(job["root"], name), "rb") as file:
        source = file.read()
    try:
        code = compile(source, "/" + job["prefix"] + name, "exec", dont_inherit=True, optimize=0)
    except SyntaxError as error:
        failed.append([name, error.lineno or 0, error.msg or "invalid syntax"])
        continue
    except (ValueError, RecursionError, MemoryError) as error:
        failed.append([name, 0, str(error) or type(error).__name__])
        continue
    folder, base = os.path.split(name)
    cached = base[:-3] + "." + sys.implementation.cache_tag + ".pyc"
    target = os.path.join(job["out"], folder, "__pycache__", cached)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb") as file:
        file.write(external._code_to_hash_pyc(code, _imp.source_hash(util._RAW_MAGIC_NUMBER, source), False))
json.dump({"failed": failed, "version": sys.version.split()[0]}, sys.stdout)
"""


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that the base's Python cannot compile: name below the root, line (0 if unknown), message."""

    name: str
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """What was compiled: the base's Python version, and the files that it could not compile."""

    version: str
    broken: tuple[Broken, ...]


def compile_tree(
    rootfs: Path, root: Path, files: Sequence[str], out: Path, *, prefix: str = "", python: str | None = None
) -> Compiled:
    """Compile `files` (names below `root`) with the Python of `rootfs`, into ``__pycache__`` below `out`.

    `prefix` is where `root` will be in the image, as ``app/src``: tracebacks show it. Files that do not
    compile are reported, not raised: third-party packages ship templates that are no Python.
    """
    argv, env = base_command(rootfs, ["-S", "-P", "-c", _PROGRAM], python=python, env={"PYTHONHASHSEED": "0"})
    job = {
        "root": str(root.resolve()),
        "out": str(out.resolve()),
        "prefix": prefix and prefix.strip("/") + "/",
        "files": sorted(files),
    }
    try:
        done = subprocess.run(
            argv,
            env=env,
            input=json.dumps(job),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise PackagingError(
            f"{argv[0]}: cannot start the base's Python on this machine: {error.strerror}"
        ) from None
    if done.returncode != 0:
        raise PackagingError(
            f"{rootfs}: the base's Python failed (exit code {done.returncode}) while it compiled byte "
            f"code:\n{done.stderr.strip()}"
        )
    answer = json.loads(done.stdout)
    return Compiled(answer["version"], tuple(Broken(*one) for one in answer["failed"]))
