# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Get locked Debian packages: from a cache, from given mirrors, or from where apt gets its own.

No host is named here: apt's configuration is asked. What arrives is compared with the lock, so a mirror need
not be trusted.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turbolift.errors import PackagingError

_TRIES = 4
_TIMEOUT = 60.0
_FIELDS = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)"


@dataclass(frozen=True, slots=True)
class Source:
    """One place that apt reads packages from, as ``apt-get indextargets`` lists it."""

    uri: str
    release: str
    component: str


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """A package of the base lock; ``path`` is below the root of a Debian archive."""

    name: str
    version: str
    architecture: str
    path: str
    sha256: str
    size: int

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LockedPackage:
        """Make one from an item of the lock's ``packages``."""
        return cls(**document)


def apt_sources() -> list[Source]:
    """Return where this machine's apt reads binary packages from, in its order.

    Empty where there is no apt.
    """
    try:
        done = subprocess.run(
            ["apt-get", "indextargets", "--format", _FIELDS, "Created-By: Packages"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    found: list[Source] = []
    for line in done.stdout.splitlines():
        uri, release, component = line.split("|", 2)
        source = Source(uri.rstrip("/"), release, component)
        if source not in found:
            found.append(source)
    return found


def log(line: str) -> None:
    """Say how far we are, on stderr."""
    print(line, file=sys.stderr, flush=True)


class Fetcher:
    """Finds packages by their sha256.

    `cache` is a folder of ``.deb`` files, under any name; what is downloaded is put there as
    ``<sha256>.deb``. `mirrors` are roots of Debian archives that are tried before apt's own.
    """

    def __init__(self, cache: Path, mirrors: Sequence[str] = ()) -> None:
        self._cache = cache
        self._mirrors = [one.rstrip("/") for one in mirrors]
        self._apt: list[str] | None = None
        self._known: dict[str, Path] | None = None

    def get(self, package: LockedPackage) -> bytes:
        """Return the bytes of `package`.

        Raises PackagingError that says where it was looked for and what to do.
        """
        path = self._cache / f"{package.sha256}.deb"
        if not path.is_file():
            path = self._cached().get(package.sha256, path)
        if path.is_file():
            data = path.read_bytes()
            if _matches(package, data) is None:
                return data
            log(f"  {path.name}: damaged, is downloaded again")
        data = self._download(package)
        self._cache.mkdir(parents=True, exist_ok=True)
        path = self._cache / f"{package.sha256}.deb"
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(data)
        part.replace(path)
        return data

    def _cached(self) -> dict[str, Path]:
        """Return the packages in the cache folder that have other names than their hash."""
        if self._known is None:
            self._known = {}
            for path in sorted(self._cache.glob("*.deb")) if self._cache.is_dir() else ():
                if len(path.stem) != 64:
                    self._known[hashlib.sha256(path.read_bytes()).hexdigest()] = path
        return self._known

    def _roots(self) -> list[str]:
        if self._apt is None:
            self._apt = []
            for source in apt_sources():
                if source.uri not in self._apt:
                    self._apt.append(source.uri)
        return [*self._mirrors, *(one for one in self._apt if one not in self._mirrors)]

    def _download(self, package: LockedPackage) -> bytes:
        roots = self._roots()
        what = f"{package.name} {package.version}"
        if not roots:
            raise PackagingError(
                f"{what}: there is no apt on this machine to say where Debian packages come from. Give a "
                "Debian archive with --mirror URL, or a folder of the packages with --debs DIR; or take a "
                "base image from a registry, by digest (python -m turbolift.image registry-base --help)"
            )
        failures = []
        for root in roots:
            url = f"{root}/{urllib.parse.quote(package.path, safe='/+~:')}"
            try:
                data = _read(url)
            except _Unavailable as error:
                failures.append(f"{url}: {error}")
                continue
            problem = _matches(package, data)
            if problem is None:
                log(f"  {what}: {len(data):,} bytes")
                return data
            failures.append(f"{url}: {problem}")
        listed = "\n  ".join(failures)
        raise PackagingError(
            f"{what} ({package.path}) could not be had:\n  {listed}\nA mirror drops what a security update "
            "replaces. Give an archive that still has it (--mirror URL) or the file itself (--debs DIR), or "
            "make a new lock: python -m turbolift.image base-lock --help"
        )


class _Unavailable(Exception):
    """A mirror does not give the file."""


def _read(url: str) -> bytes:
    delay = 1.0
    problem = ""
    for attempt in range(1, _TRIES + 1):
        try:
            with urllib.request.build_opener(_proxies()).open(url, timeout=_TIMEOUT) as answer:
                data: bytes = answer.read()
                return data
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise _Unavailable(f"HTTP {error.code} {error.reason}") from None
            problem = f"HTTP {error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
            if isinstance(error, urllib.error.URLError) and (
                isinstance(error.reason, FileNotFoundError) or "unknown url type" in problem
            ):
                raise _Unavailable(problem) from None
        except ValueError as error:
            raise _Unavailable(str(error)) from None
        if attempt < _TRIES:
            log(f"  {url}: {problem}; try {attempt + 1} of {_TRIES} in {delay:g} s")
            time.sleep(delay)
            delay *= 2
    raise _Unavailable(f"{problem} ({_TRIES} tries)")


_memo: list[urllib.request.ProxyHandler] = []


def _proxies() -> urllib.request.ProxyHandler:
    """Return the proxies to use: the environment's, and where it has none, apt's."""
    if not _memo:
        proxies = urllib.request.getproxies()
        for scheme in ("http", "https"):
            if scheme not in proxies and (value := _apt_proxy(scheme)):
                proxies[scheme] = value
        _memo.append(urllib.request.ProxyHandler(proxies))
    return _memo[0]


def _apt_proxy(scheme: str) -> str:
    command = ["apt-config", "shell", "proxy", f"Acquire::{scheme}::Proxy"]
    try:
        line = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
    value = line.partition("=")[2].strip("'\"")
    return "" if value == "DIRECT" else value


def _matches(package: LockedPackage, data: bytes) -> str | None:
    """Return None if `data` is `package`, else what differs."""
    if len(data) != package.size:
        return f"{len(data)} bytes, the lock says {package.size}"
    got = hashlib.sha256(data).hexdigest()
    return None if got == package.sha256 else f"sha256 {got}, the lock says {package.sha256}"
