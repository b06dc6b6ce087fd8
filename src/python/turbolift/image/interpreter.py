# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Run the Python of an unpacked base image on this machine, through the base's own loader and libraries.

No container and no root: the kernel is the host's, all code is the image's. ``base_command`` gives the
command line; a small launcher beside the interpreter gives ``sys.executable``, so that processes which Python
itself starts are the base's too.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from turbolift.errors import PackagingError
from turbolift.image.unpack import resolve_in

LAUNCHER = "turbolift-python"
MINIMUM = (3, 11)

_PYTHON = re.compile(r"python3\.(\d+)")
_BIN_FOLDERS = ("usr/local/bin", "usr/bin", "opt/python/bin")
_LIBRARIES = (
    "usr/local/lib",
    "usr/local/lib/{triple}",
    "usr/lib/{triple}",
    "lib/{triple}",
    "usr/lib64",
    "lib64",
    "usr/lib",
    "lib",
)
_TRIPLES = {62: "x86_64-linux-gnu", 183: "aarch64-linux-gnu"}


def find_python(rootfs: Path) -> str:
    """Return the path in the image of its newest CPython, as ``/usr/bin/python3.11``.

    ``/usr/local`` goes before ``/usr``, as in a container's PATH. Raises PackagingError where there is none
    of 3.11 or later.
    """
    seen = []
    for folder in _BIN_FOLDERS:
        names = []
        path = resolve_in(rootfs, folder)
        if path.is_dir():
            for name in os.listdir(path):
                match = _PYTHON.fullmatch(name)
                if match and resolve_in(rootfs, f"{folder}/{name}").is_file():
                    names.append((int(match[1]), name))
        seen += [f"/{folder}/{name}" for _, name in names]
        good = [one for one in names if one[0] >= MINIMUM[1]]
        if good:
            return f"/{folder}/{max(good)[1]}"
    found = f"it has {', '.join(sorted(seen))}" if seen else "it has none"
    raise PackagingError(
        f"{rootfs}: the base needs a CPython of 3.11 or later in /usr/local/bin or /usr/bin; {found}"
    )


def base_command(
    rootfs: str | Path,
    args: Sequence[str],
    *,
    python: str | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Return (argv, environment) that run the base's Python with `args` on this machine.

    `rootfs` is an unpacked base (``--rootfs`` of ``base`` and ``registry-base``), `python` the interpreter's
    path in it (found if None), `env` is added to the environment, which is otherwise clean: nothing of this
    process's own.
    """
    root = Path(rootfs).resolve()
    inside = python or find_python(root)
    binary = resolve_in(root, inside)
    if not binary.is_file():
        raise PackagingError(f"{root}: has no interpreter {inside}: is this an unpacked base image?")
    loader, libraries, options = _loader(root, binary)
    launcher = resolve_in(root, os.path.dirname(inside)) / LAUNCHER
    argv0 = ["--argv0", str(launcher)] if "--argv0" in options and launcher.is_file() else []
    inhibit = ["--inhibit-cache"] if "--inhibit-cache" in options else []
    argv = [
        str(loader),
        *inhibit,
        *argv0,
        "--library-path",
        ":".join(map(str, libraries)),
        str(binary),
        *args,
    ]
    prefix = resolve_in(root, os.path.dirname(os.path.dirname(inside)) or "/")
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONHOME": str(prefix),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    zones = resolve_in(root, "usr/share/zoneinfo")
    if zones.is_dir():
        environment["PYTHONTZPATH"] = str(zones)
    certificates = resolve_in(root, "etc/ssl/certs/ca-certificates.crt")
    if certificates.is_file():
        environment["SSL_CERT_FILE"] = str(certificates)
    return argv, {**environment, **(env or {})}


def write_launcher(rootfs: str | Path, *, python: str | None = None) -> Path | None:
    """Write the launcher into an unpacked base and return its path; None where the loader is too old.

    It finds its file system from its own place, so the folder can be moved.
    """
    root = Path(rootfs).resolve()
    inside = python or find_python(root)
    binary = resolve_in(root, inside)
    loader, libraries, options = _loader(root, binary)
    if "--argv0" not in options:
        return None
    launcher = resolve_in(root, os.path.dirname(inside)) / LAUNCHER

    def relative(path: Path) -> str:
        return '"$root/' + path.relative_to(root).as_posix() + '"'

    up = "/".join([".."] * len(launcher.parent.relative_to(root).parts))
    inhibit = "--inhibit-cache " if "--inhibit-cache" in options else ""
    joined = ":".join(relative(one) for one in libraries)
    launcher.write_text(
        "#!/bin/sh\n"
        "# Runs the Python of this file system through its own loader.\n"
        'here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd -P) || exit\n'
        f'root=$(CDPATH= cd -- "$here/{up}" && pwd -P) || exit\n'
        f'exec {relative(loader)} {inhibit}--argv0 "$here/{LAUNCHER}" --library-path {joined} '
        f'{relative(binary)} "$@"\n',
        encoding="utf-8",
    )
    launcher.chmod(0o755)
    return launcher


def _loader(root: Path, binary: Path) -> tuple[Path, list[Path], frozenset[str]]:
    """Return the base's dynamic loader, the folders of its libraries, and which options it has."""
    if ":" in str(root) or ";" in str(root):
        raise PackagingError(
            f"{root}: a path with ':' or ';' in it cannot hold a base image: the loader splits there"
        )
    machine, name = _elf_interpreter(binary)
    loader = resolve_in(root, name)
    if not loader.is_file():
        raise PackagingError(f"{root}: the base's Python wants the loader {name}, which is not in it")
    triple = _TRIPLES.get(machine, "")
    libraries: list[Path] = []
    for pattern in _LIBRARIES:
        folder = resolve_in(root, pattern.format(triple=triple))
        if folder.is_dir() and folder not in libraries:
            libraries.append(folder)
    code = loader.read_bytes()
    options = frozenset(one for one in ("--argv0", "--inhibit-cache") if one.encode() in code)
    return loader, libraries, options


def _elf_interpreter(binary: Path) -> tuple[int, str]:
    """Return (machine number, loader's path) from a 64-bit little-endian ELF program."""
    with binary.open("rb") as file:
        head = file.read(64)
        if head[:6] != b"\x7fELF\x02\x01":
            raise PackagingError(f"{binary}: not a 64-bit Linux program")
        (machine,) = struct.unpack_from("<H", head, 18)
        (offset,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        for number in range(count):
            file.seek(offset + number * size)
            kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", file.read(size))
            if kind == 3:  # PT_INTERP
                file.seek(start)
                return machine, file.read(length).rstrip(b"\0").decode()
    raise PackagingError(f"{binary}: a static program: a base needs a dynamically linked Python")
