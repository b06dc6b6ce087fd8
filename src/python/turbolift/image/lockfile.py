# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Read locks of third-party distributions: requirement lists with hashes, and pex's own format."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turbolift.errors import PackagingError

_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*(.*)")
_PIN = re.compile(r"===?\s*([^\s;,]+)\s*(?:;\s*(.*))?\Z")
_HASH = re.compile(r"\s--hash[= ]\s*(\S+)")


@dataclass(frozen=True, slots=True)
class Pin:
    """One locked distribution: normalised name, version, marker of its line (or ""), allowed sha256s."""

    name: str
    version: str
    marker: str
    sha256: frozenset[str]
    where: str


@dataclass(frozen=True, slots=True)
class Root:
    """One requirement as it was asked for: normalised name, the whole text, and whether it has a marker."""

    name: str
    text: str
    conditional: bool


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock; ``pex_json`` is the text of a pex-format lock, None for a requirement list."""

    path: Path
    pins: tuple[Pin, ...]
    pex_json: str | None

    def get(self, name: str) -> list[Pin]:
        """Return the pins of a distribution; several where the lock forks by marker."""
        return [one for one in self.pins if one.name == normalise(name)]

    def pin(self, name: str, version: str) -> Pin | None:
        """Return the pin of exactly this version, or None."""
        for one in self.get(name):
            if _same_version(one.version, version):
                return one
        return None


def normalise(name: str) -> str:
    """Return the normalised name of a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> Lock:
    """Read the lock `path`; raises PackagingError with file and line for what cannot be used."""
    text = _read(path)
    body = "".join(
        line for line in text.splitlines(keepends=True) if not line.lstrip().startswith(("//", "#"))
    )
    if body.lstrip().startswith("{"):
        return Lock(path, tuple(_pex_pins(path, body)), body)
    return Lock(path, tuple(_list_pins(path, text)), None)


def read_roots(path: Path) -> list[Root]:
    """Read the list of requirements `path` (a requirement a line; comments and hashes are ignored)."""
    roots = []
    for number, line in _logical_lines(_read(path)):
        text = _HASH.sub("", line).strip()
        match = _NAME.match(text)
        if match is None or text.startswith("-"):
            raise PackagingError(f"{path}:{number}: not a requirement: {text}")
        if match[3].startswith("@"):
            raise PackagingError(
                f"{path}:{number}: {match[1]} is asked for by address; only what the lock pins by version "
                "and hash can be packaged"
            )
        roots.append(Root(normalise(match[1]), text, ";" in text))
    return roots


def _list_pins(path: Path, text: str) -> Iterator[Pin]:
    for number, line in _logical_lines(text):
        where = f"{path}:{number}"
        if line.startswith("-"):
            option = line.split()[0].partition("=")[0]
            if option in ("-e", "--editable", "-r", "--requirement", "-c", "--constraint"):
                raise PackagingError(
                    f"{where}: {option} cannot be used in a lock: give one list of pins with hashes"
                )
            continue  # where an index is, is the caller's to say
        hashes = _HASH.findall(line)
        requirement = _HASH.sub("", line).strip()
        match = _NAME.match(requirement)
        pin = _PIN.match(match[3]) if match else None
        if match is None or pin is None:
            raise PackagingError(
                f"{where}: not a pinned requirement (NAME==VERSION --hash=sha256:...): {requirement}"
            )
        sha256 = frozenset(one[7:] for one in hashes if one.startswith("sha256:"))
        if not sha256:
            raise PackagingError(f"{where}: {match[1]} has no sha256 hash: lock it with hashes")
        yield Pin(normalise(match[1]), pin[1], (pin[2] or "").strip(), sha256, where)


def _pex_pins(path: Path, body: str) -> Iterator[Pin]:
    try:
        document: dict[str, Any] = json.loads(body)
        for resolve in document["locked_resolves"]:
            for one in resolve["locked_requirements"]:
                hashes = frozenset(item["hash"] for item in one["artifacts"] if item["algorithm"] == "sha256")
                yield Pin(normalise(one["project_name"]), one["version"], "", hashes, str(path))
    except ValueError as error:
        raise PackagingError(f"{path}: this lock is not JSON: {error}") from None
    except (KeyError, TypeError) as error:
        raise PackagingError(f"{path}: JSON, but not a lock of pex: no {error}") from None


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) with continued lines joined, comments and empty lines left out."""
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        stripped = re.sub(r"(^|\s)#.*", "", line).rstrip()
        start = start or number
        if stripped.endswith("\\"):
            pending += stripped[:-1] + " "
            continue
        whole = (pending + stripped).strip()
        if whole:
            yield start, whole
        pending, start = "", 0
    if pending.strip():
        yield start, pending.strip()


def _same_version(left: str, right: str) -> bool:
    def key(version: str) -> str:
        return re.sub(r"(\.0)+(?=$|\+)", "", version.lower().lstrip("v"))

    return key(left) == key(right)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise PackagingError(f"{path}: cannot read this file: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PackagingError(f"{path}: not UTF-8 text") from None
