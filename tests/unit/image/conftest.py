# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the tests of the image room share: the base image, built once, and makers of wheels and packages."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from turbolift import spec
from turbolift.errors import PackagingError
from turbolift.image.archive import Fetcher, LockedPackage
from turbolift.image.base import build
from turbolift.image.layout import Layout
from turbolift.image.rootfs import write_rootfs
from unit.image.registries import running

WheelMaker = Callable[..., Path]


def pytest_configure(config: pytest.Config) -> None:
    """Say what the marker means."""
    config.addinivalue_line("markers", "network: needs Debian packages from where apt gets its own")


@dataclass(frozen=True)
class Base:
    """The base image of the lock: its layout, its unpacked file system, the packages it was made from."""

    lock: dict[str, Any]
    layout: Layout
    rootfs: Path
    debs: Path


@pytest.fixture(scope="session")
def lock_file() -> Path:
    """The base lock of the package."""
    with resources.as_file(resources.files("turbolift.image").joinpath("base-lock.json")) as path:
        return Path(path)


@pytest.fixture(scope="session")
def base(lock_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    """Build the base once.

    Skips where its packages cannot be had. TURBOLIFT_TEST_DEBS names a folder that keeps them.
    """
    folder = tmp_path_factory.mktemp("base")
    kept = os.environ.get("TURBOLIFT_TEST_DEBS")
    debs = Path(kept) if kept else folder / "debs"
    lock = spec.load("base-lock", lock_file)
    fetcher = Fetcher(debs)
    try:
        for one in lock["packages"]:
            fetcher.get(LockedPackage.from_json(one))
    except PackagingError as error:
        pytest.skip(f"the base's packages cannot be had here: {error}")
    build(lock, fetcher, folder / "layout")
    layout = Layout(folder / "layout")
    write_rootfs(layout, folder / "rootfs", python=lock["python"])
    return Base(lock, layout, folder / "rootfs", debs)


@pytest.fixture
def wheel(tmp_path: Path) -> WheelMaker:
    """A maker of wheels: ``wheel("name", "1.0", {"name.py": "x = 1"}, requires=("other",))``."""
    return lambda *args, **kwargs: make_wheel(tmp_path / "wheels", *args, **kwargs)


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str | bytes],
    *,
    requires: tuple[str, ...] = (),
    tag: str = "py3-none-any",
) -> Path:
    """Write a valid wheel and return its path."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {one}\n" for one in requires)
    content: dict[str, str | bytes] = {
        **files,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = []
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in content.items():
            data = text.encode() if isinstance(text, str) else text
            archive.writestr(zipfile.ZipInfo(member), data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{member},sha256={digest},{len(data)}")
        record.append(f"{info}/RECORD,,")
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "\n".join(record) + "\n")
    return path


@pytest.fixture
def tar_file(tmp_path: Path) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], Path]:
    """A maker of layer blobs by the standard library, for members that our own writer refuses to write."""

    def make(members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for member, data in members:
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        path = tmp_path / f"{hashlib.sha256(buffer.getvalue()).hexdigest()}.tar"
        path.write_bytes(buffer.getvalue())
        return path

    return make


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python -m turbolift.image`` as a program of its own."""

    def run(
        *args: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        python: str = sys.executable,
    ) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(os.path.abspath(one) for one in sys.path if one)
        return subprocess.run(
            [python, "-m", "turbolift.image", *map(str, args)],
            cwd=cwd,
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "PYTHONPATH": path,
                "PYTHONDONTWRITEBYTECODE": "1",
                **(env or {}),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Debian's docker-registry on a loopback port."""
    with running(tmp_path / "registry") as host:
        yield host
