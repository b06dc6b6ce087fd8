# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Real bundles for tests: made of a few lines of user code by `turbolift.image`, as the Pants plugin makes
them.

What all bundles share (base image, third-party tree, shim) is built once and kept below ``$TURBOLIFT_CACHE``
or ``~/.cache/turbolift``, each under a name that its inputs are hashed into.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turbolift import spec
from turbolift.deploy.bundle import version_of
from turbolift.deploy.names import slug
from turbolift.image import assemble, layer, layout
from turbolift.image.describe import describe

LOCK = Path(__file__).parents[3] / "3rdparty" / "python" / "default.lock"
ROOTS = "aiohttp\nprometheus-client\nuvloop\nyarl\n"
"""What the shim and the client in a function's image import beside the standard library."""

SHIM_ROOMS = ("api", "client", "contract", "shim", "spec", "wire")

Sources = Mapping[str, str]
"""Path below the source root -> text."""


class CannotBuildError(Exception):
    """This machine cannot build what tests run on: no package archive, or no package index, can be reached."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What bundles are made from."""

    cache: Path
    base: Path
    rootfs: Path
    third_party: Path
    shim: Path

    def bundle(
        self,
        out: Path,
        functions: Mapping[str, Sources],
        *,
        platform: str | None = "local",
        deployment: str = "deploy",
    ) -> Path:
        """Write a bundle of `functions` (identity -> its first-party sources) to the new folder `out`."""
        descriptors, entries = [], []
        (out / "specs").mkdir(parents=True)
        for function, sources in functions.items():
            image, document = self._function(out, function, sources)
            path = f"specs/{slug(function)}.json"
            (out / path).write_text(json.dumps(document, indent=2), "utf-8")
            entries.append(
                {
                    "function": function,
                    "target": document["target"],
                    "image": image["digest"],
                    "spec": path,
                    "version": version_of(image["digest"], document),
                }
            )
            descriptors.append(image)
        layout.write_index(out, descriptors)
        index = {"version": 1, "deployment": deployment, "platform": platform, "functions": entries}
        (out / "bundle.json").write_text(json.dumps(index, indent=2), "utf-8")
        return out

    def _function(self, out: Path, function: str, sources: Sources) -> tuple[dict[str, Any], dict[str, Any]]:
        """Put the image of `function` into the layout `out`; return its descriptor and its spec."""
        key = _digest(json.dumps([function, sorted(sources.items())]), self.shim.name, self.third_party.name)
        kept = _once(self.cache / "functions", key, lambda part: self._build(part, function, sources))
        shutil.copytree(kept / "image" / "blobs", out / "blobs", dirs_exist_ok=True, copy_function=_link)
        document = json.loads((kept / "spec.json").read_text("utf-8"))
        return layout.Layout(kept / "image").descriptors()[0], document

    def _build(self, part: Path, function: str, sources: Sources) -> None:
        tree = part / "src"
        for name, text in sources.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        layer.build("first-party", tree, "app/src", self.rootfs, part / "layer")
        said = describe(
            self.rootfs,
            [self.shim / "tree", tree, self.third_party / "tree"],
            function,
            part / "describe.json",
        )
        assemble.assemble(
            layout.Layout(self.base),
            [self.third_party / "layer", self.shim / "layer", part / "layer"],
            function,
            part / "image",
        )
        document = {
            "version": 1,
            "function": function,
            "target": f"src:{slug(function)}",
            "source": min(sources),
            "line": 1,
            "contract": said["contract"],
            "options": said["options"],
            "platform": said["platform"],
            "python": said["python"],
            "closure": {"digest": spec.digest(sorted(sources.items())), "sources": sorted(sources)},
        }
        spec.validate("function-spec", document, source="the test")
        (part / "spec.json").write_text(json.dumps(document), "utf-8")


def workshop() -> Workshop:
    """Return the workshop; raises CannotBuildError with the reason where it cannot be made here."""
    cache = Path(os.environ.get("TURBOLIFT_CACHE") or Path.home() / ".cache" / "turbolift") / "tests"
    lock = Path(spec.__file__).parent.parent / "image" / "base-lock.json"
    base = _once(cache, f"base-{_digest(lock.read_bytes())}", lambda part: _base(part, lock, cache / "debs"))
    rootfs = base / "rootfs"
    deps_key = _digest(LOCK.read_bytes(), ROOTS, base.name)
    deps = _once(cache, f"third-party-{deps_key}", lambda part: _third_party(part, lock, rootfs))
    shim = _once(cache, f"shim-{_digest(*_shim_files(), base.name)}", lambda part: _shim(part, rootfs))
    return Workshop(cache, base / "layout", rootfs, deps, shim)


def _base(part: Path, lock: Path, debs: Path) -> None:
    _image("base", "--lock", lock, "--out", part / "layout", "--rootfs", part / "rootfs", "--debs", debs)


def _third_party(part: Path, lock: Path, rootfs: Path) -> None:
    roots = part / "roots.txt"
    roots.write_text(ROOTS, "utf-8")
    given: list[str | Path] = ["--requirements", roots, "--lock", LOCK, "--complete-platform", lock]
    _image("third-party", *given, "--out", part / "tree")
    layer.build("third-party", part / "tree", "app/site-packages", rootfs, part / "layer")


def _package() -> Path:
    return Path(importlib.import_module("turbolift").__file__ or "").parent


def _shim_files() -> list[bytes]:
    found = []
    for room in (".", *SHIM_ROOMS):
        folder = _package() / room
        for path in sorted(folder.glob("*.py") if room == "." else folder.rglob("*")):
            if path.suffix in (".py", ".json"):
                found.append(str(path.relative_to(_package())).encode() + path.read_bytes())
    return found


def _shim(part: Path, rootfs: Path) -> None:
    target = part / "tree" / "turbolift"
    target.mkdir(parents=True)
    for path in _package().glob("*.py"):
        shutil.copy(path, target)
    for room in SHIM_ROOMS:
        shutil.copytree(
            _package() / room,
            target / room,
            ignore=shutil.ignore_patterns("__pycache__", ".*_cache", "BUILD"),
        )
    layer.build("shim", part / "tree", "app/shim", rootfs, part / "layer")


def _image(*arguments: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "turbolift.image", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotBuildError(f"python -m turbolift.image {arguments[0]}: {done.stderr.strip()[-800:]}")


def _once(folder: Path, key: str, make: Callable[[Path], None]) -> Path:
    """Return ``folder/key``, filled by `make` if it is not there; it appears only when it is whole."""
    path = folder / key
    if not path.is_dir():
        part = folder / f".part-{key}-{os.getpid()}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            make(part)
            if not path.is_dir():
                part.rename(path)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return path


def _link(source: str, target: str) -> None:
    if not os.path.exists(target):
        os.link(source, target)


def _digest(*parts: bytes | str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]
