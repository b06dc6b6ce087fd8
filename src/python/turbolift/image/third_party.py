# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The ``third-party`` command: resolve for the base's platform, and unpack exactly the locked wheels.

pex resolves (its answer: which wheels fit the base, transitively), with the lock's pins as constraints. Bare
constraints enforce no hash, so every wheel that pex chose is then compared with the lock: one whose hash is
not there fails, be it that the file was changed, that the lock was, or that the index has meanwhile got a
wheel that fits the base better. Never is another locked file taken instead: the same lock gives the same
bytes, or nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from turbolift import spec
from turbolift.errors import PackagingError
from turbolift.image import wheels
from turbolift.image.archive import log
from turbolift.image.lockfile import Lock, Root, normalise, read_lock, read_roots
from turbolift.image.pextool import pex_command

_NOT_FOUND = re.compile(r"No matching distribution found for ([^\n]+)")
_NO_MATCH = re.compile(r"no matching distributions available for your environment:\n((?:[ ]{4,}\S+\n)+)")
_NO_PIP = re.compile(r"No matching distribution found for (pip==\S+)")
# The newest pip that this pex knows, so that all builders choose alike. Where no index has it, the one inside
# pex, which runs on CPython 3.11 only.
_PIPS = [["--pip-version=latest"]]
if sys.version_info < (3, 12):
    _PIPS.append(["--pip-version=vendored", "--resolver-version=pip-2020-resolver"])
_SHOWN = 4
_UNREACHABLE = re.compile(r"[^\n]*(?:Retry\(total=0,|Max retries exceeded|Could not fetch URL)[^\n]*")


def add(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "third-party",
        help="resolve requirements for the base's platform and unpack the locked wheels",
        description="Resolve requirements, with all that they need, for the base image's platform (never for "
        "this machine's Python), and unpack the wheels side by side. Only wheels are used, and only files "
        "whose hash is in the lock.",
    )
    parser.add_argument(
        "--requirements", type=Path, required=True, help="the requirements, one a line; may be empty"
    )
    parser.add_argument(
        "--lock", type=Path, required=True, help="list of pins with --hash (pip, uv), or a pex lock"
    )
    parser.add_argument(
        "--complete-platform",
        type=Path,
        required=True,
        help="the base's platform: the base lock, or pex's JSON",
    )
    parser.add_argument("--out", type=Path, required=True, help="new folder for the unpacked wheels")
    parser.add_argument("--report", type=Path, help="JSON file to list the distributions in")
    parser.add_argument(
        "--index",
        action="append",
        default=[],
        metavar="URL",
        help="package index instead of pip's default (repeatable)",
    )
    parser.add_argument(
        "--find-links",
        action="append",
        default=[],
        metavar="URL",
        help="folder or page with wheels (repeatable)",
    )
    parser.add_argument(
        "--path-mapping",
        action="append",
        default=[],
        metavar="NAME|PATH",
        help="what ${NAME} stands for in the addresses of a pex lock (repeatable)",
    )
    parser.add_argument("--no-index", action="store_true", help="use no index, only --find-links")
    parser.add_argument(
        "--pex-root", type=Path, help="folder to keep downloads in (default: a temporary one)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    lock = read_lock(options.lock)
    roots = read_roots(options.requirements)
    platform = read_platform(options.complete_platform)
    if options.out.exists() and any(options.out.iterdir()):
        raise PackagingError(f"{options.out}: is not empty: give a new folder")
    for root in roots:
        if not root.conditional and not lock.get(root.name):
            raise PackagingError(
                f"{lock.path}: {root.text} is required, but the lock has no {root.name}: lock anew"
            )
    with tempfile.TemporaryDirectory(prefix="turbolift-deps-") as folder:
        work = Path(folder)
        resolver = Resolver(
            platform,
            work,
            options.pex_root or work / "pex-root",
            indexes=options.index,
            find_links=options.find_links,
            no_index=options.no_index,
            path_mappings=options.path_mapping,
        )
        found = resolve(roots, lock, resolver) if roots else []
        notes = wheels.unpack(found, options.out)
    for note in notes:
        log(f"note: {note}")
    log(f"third-party: {len(found)} distributions, {sum(one.files for one in found)} files")
    if options.report is not None:
        document = {"distributions": [one.report() for one in found], "notes": notes}
        options.report.write_bytes(spec.canonical(document))


def read_platform(path: Path) -> dict[str, Any]:
    """Return the complete platform in `path`: pex's JSON, or the base lock, which has it as a member."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PackagingError(f"{path}: cannot read this file: {error.strerror}") from None
    except ValueError as error:
        raise PackagingError(f"{path}: not JSON: {error}") from None
    if isinstance(document, dict):
        document = document.get("complete_platform", document)
    if not isinstance(document, dict) or not {"marker_environment", "compatible_tags"} <= document.keys():
        raise PackagingError(
            f"{path}: not a complete platform: it needs marker_environment and compatible_tags"
        )
    return document


def resolve(roots: Sequence[Root], lock: Lock, resolver: Resolver) -> list[wheels.Wheel]:
    """Return the wheels of `roots` and all that they need, by name; each one's hash is in `lock`."""
    requirements = [one.text for one in roots]
    if lock.pex_json is not None:
        found = resolver.wheels(requirements, lock=lock.pex_json)
        _enforce(found, lock)
        return found
    pins = [f"{one.name}=={one.version}" + (f" ; {one.marker}" if one.marker else "") for one in lock.pins]
    found = resolver.wheels(requirements, constraints=pins)
    _enforce(found, lock)
    return found


def _enforce(found: Sequence[wheels.Wheel], lock: Lock) -> None:
    """Refuse wheels that `lock` does not have; raises PackagingError that names the distribution."""
    for wheel in found:
        pin = lock.pin(wheel.name, wheel.version)
        if pin is None:
            needers = [
                one.name
                for one in found
                if any(_name_of(line) == normalise(wheel.name) for line in one.requires)
            ]
            because = f" (by {', '.join(needers)})" if needers else ""
            raise PackagingError(
                f"{lock.path}: {wheel.name} {wheel.version} is needed{because}, but is not in the lock: lock "
                "anew"
            )
        if wheel.sha256 not in pin.sha256:
            expected = sorted(pin.sha256)
            more = [f"... {len(expected) - _SHOWN} more"] if len(expected) > _SHOWN else []
            listed = "\n    ".join(expected[:_SHOWN] + more)
            raise PackagingError(
                f"{pin.where}: the hash of {pin.name} {pin.version} is wrong.\n  {wheel.path.name} has "
                f"sha256\n    {wheel.sha256}\n  but the lock allows only\n    {listed}\nIf the index can be "
                "trusted (it may have got a wheel since), lock anew; if not, find out who changed the file "
                "or the lock"
            )


def _name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return normalise(match[0]) if match else ""


class Resolver:
    """Asks pex for the wheels of requirements on one platform; `work` is a folder for its files."""

    def __init__(
        self,
        platform: dict[str, Any],
        work: Path,
        pex_root: Path,
        *,
        indexes: Sequence[str] = (),
        find_links: Sequence[str] = (),
        no_index: bool = False,
        path_mappings: Sequence[str] = (),
    ) -> None:
        self._platform = platform
        self._work = work
        self._pex_root = pex_root
        self._sources = [f"--index={one}" for one in indexes] + [f"--find-links={one}" for one in find_links]
        if indexes or no_index:
            self._sources.insert(0, "--no-pypi")
        self._path_mappings = [f"--path-mapping={one}" for one in path_mappings]
        self._runs = 0
        here = [one for folder in find_links if os.path.isdir(folder) for one in os.listdir(folder)]
        self._pips = _PIPS
        if no_index and not any(one.startswith("pip-") for one in here):
            self._pips = _PIPS[-1:]  # without asking for what cannot be there

    def wheels(
        self,
        requirements: Sequence[str],
        *,
        constraints: Sequence[str] = (),
        lock: str | None = None,
    ) -> list[wheels.Wheel]:
        """Return the wheels that pex chooses, sorted by name.

        Raises PackagingError that names what has no wheel.
        """
        self._runs += 1
        folder = self._work / f"resolve-{self._runs}"
        folder.mkdir(parents=True)
        output = folder / "pex"

        def file(name: str, lines: Sequence[str]) -> str:
            path = folder / name
            path.write_text("".join(f"{one}\n" for one in lines), encoding="utf-8")
            return str(path)

        platform = file("platform.json", [json.dumps(self._platform, sort_keys=True)])
        arguments = [
            f"--requirement={file('requirements.txt', requirements)}",
            f"--complete-platform={platform}",
            f"--pex-root={self._pex_root}",
            f"--output-file={output}",
            *("--layout=loose", "--no-pre-install-wheels", "--no-build", "--no-compile"),
            *self._sources,
        ]
        if constraints:
            arguments.append(f"--constraints={file('constraints.txt', constraints)}")
        if lock is not None:
            # pex takes them with a lock alone.
            arguments += [f"--lock={file('lock.json', [lock])}", *self._path_mappings]
        done = self._pex(arguments)
        if done.returncode != 0:
            raise PackagingError(self._explain(done.stderr, requirements, constraints))
        found = [wheels.open_wheel(path) for path in (output / ".deps").glob("*.whl")]
        return sorted(found, key=lambda one: normalise(one.name))

    def _pex(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run pex with the newest pip, and where no index has that, with the one inside pex."""
        argv, env = pex_command()

        def once(pip: Sequence[str]) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*argv, *arguments, *pip],
                env=env,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
            )

        done = once(self._pips[0])
        if _NO_PIP.search(done.stderr) and len(self._pips) > 1:
            done = once(self._pips[1])
        return done

    def _explain(self, stderr: str, requirements: Sequence[str], constraints: Sequence[str]) -> str:
        """Turn what pex and pip said into what the user can act upon."""
        unreachable = _UNREACHABLE.search(stderr)
        if unreachable is not None:
            asked = ", ".join(requirements)
            return f"the package index could not be reached for {asked}:\n{_tail(unreachable[0])}"
        no_pip = _NO_PIP.search(stderr)
        if no_pip is not None:
            return (
                f"the package indexes that were given have no {no_pip[1]}, which pex resolves with: give one "
                "that has it (--index, --find-links), or run this program on CPython 3.11, where pex brings "
                "its own"
            )
        missing = _missing(stderr, constraints)
        if not missing:
            return f"pex could not resolve {', '.join(requirements)}:\n{_tail(stderr)}"
        markers = self._platform["marker_environment"]
        base = f"CPython {markers.get('python_full_version')}, {self._platform['compatible_tags'][0]}"
        return (
            f"{', '.join(missing)}: there is no wheel for the base image ({base}), and nothing is built from "
            "source, so that the same input always gives the same image. Choose a version that has a wheel, "
            "or build one for the base, give its folder with --find-links, and add its hash to the "
            f"lock.\nAsked for: {', '.join(requirements)}"
        )


def _missing(stderr: str, constraints: Sequence[str]) -> list[str]:
    """Return the requirements that pip found no wheel for, with the locked version where it names none."""
    text = re.sub(r"^pip: ?", "", stderr, flags=re.MULTILINE)
    pins = {_name_of(one): one.partition(" ;")[0] for one in constraints}
    names: list[str] = [one.strip() for one in _NOT_FOUND.findall(text)]
    listed = _NO_MATCH.search(text)
    if listed is not None:
        names += [one.strip() for one in listed[1].splitlines()]
    names = [pins.get(_name_of(one), one) if re.fullmatch(r"[\w.-]+", one) else one for one in names]
    return list(dict.fromkeys(names))


def _tail(text: str, lines: int = 25) -> str:
    kept = [
        one.removeprefix("pip: ") for one in text.splitlines() if one.strip() and not one.startswith("pid ")
    ]
    return "\n".join(kept[-lines:]) or text.strip()
