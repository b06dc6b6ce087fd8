# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The base image: the lock's digest under any circumstances, and an interpreter that runs from any folder."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from turbolift import spec
from turbolift.errors import PackagingError
from turbolift.image import recipe
from turbolift.image.baselock import describe_changes
from turbolift.image.interpreter import LAUNCHER, base_command, find_python
from turbolift.image.platform import complete_platform

pytestmark = pytest.mark.network

Command = Callable[..., subprocess.CompletedProcess[str]]


INSPECTION = """
import bz2, ctypes, datetime, decimal, hashlib, json, lzma, multiprocessing, sqlite3, ssl, sys, uuid, zlib
import zoneinfo, _decimal, _uuid

paris = zoneinfo.ZoneInfo("Europe/Paris")
maps = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
said = {}
said["version"] = sys.version.split()[0]
said["executable"] = sys.executable
said["prefix"] = sys.prefix
said["foreign"] = sorted(one for one in maps if not one.startswith(sys.argv[1]))
said["zone"] = str(paris.utcoffset(datetime.datetime(2025, 7, 1)))
said["roots"] = len(ssl.create_default_context().get_ca_certs()) > 50
said["sqlite"] = sqlite3.connect(":memory:").execute("select 6*7").fetchone()[0]
said["libc"] = ctypes.CDLL(None).abs(-3)
said["sites"] = [one for one in sys.path if "packages" in one]
said["byte code"] = json.__cached__
print(json.dumps(said))
"""


def run(rootfs: Path, *args: str) -> str:
    argv, env = base_command(rootfs, args)
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout


def test_the_lock_is_valid_and_of_this_recipe(lock_file: Path) -> None:
    lock = spec.load("base-lock", lock_file)
    assert tuple(one["name"] for one in lock["packages"]) == tuple(sorted(recipe.PACKAGES))
    assert lock["python"] == recipe.PYTHON
    assert "://" not in lock_file.read_text("utf-8")


def test_the_base_has_the_digest_of_the_lock(base: Any) -> None:
    assert base.layout.image().digest == base.lock["digest"]
    base.layout.verify()


def test_the_same_base_under_other_circumstances(
    base: Any, command: Command, lock_file: Path, tmp_path: Path
) -> None:
    debs = tmp_path / "packages"
    debs.mkdir()
    for number, path in enumerate(sorted(base.debs.glob("*.deb"), reverse=True)):
        copy = debs / f"{number}.deb"
        shutil.copyfile(path, copy)
        os.utime(copy, (number, number))
    (tmp_path / "t m p").mkdir()
    jitter = {"HOME": "/nowhere", "TMPDIR": str(tmp_path / "t m p"), "TZ": "Asia/Kolkata", "LC_ALL": "C"}
    old = os.umask(0o077)
    try:
        done = command(
            "base", "--lock", lock_file, "--out", "out", "--rootfs", "root fs", "--debs", debs,
            cwd=tmp_path, env={**jitter, "PYTHONHASHSEED": "77"},
        )  # fmt: skip
    finally:
        os.umask(old)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    for name in ("index.json", "oci-layout"):
        assert (tmp_path / "out" / name).read_bytes() == (base.layout.path / name).read_bytes()
    assert run(tmp_path / "root fs", "-c", "print(1)") == "1\n"
    assert os.listdir(tmp_path / "t m p") == []


def test_another_digest_is_an_error(base: Any, command: Command, tmp_path: Path) -> None:
    lock = {**base.lock, "digest": "sha256:" + "0" * 64}
    (tmp_path / "lock.json").write_text(json.dumps(lock))
    done = command("base", "--lock", tmp_path / "lock.json", "--out", tmp_path / "out", "--debs", base.debs)
    assert done.returncode == 1
    assert f"came out as {base.lock['digest']}, but {tmp_path}/lock.json says sha256:000" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_standard_library_works_with_the_base_s_own_libraries(base: Any) -> None:
    said = json.loads(run(base.rootfs, "-P", "-c", INSPECTION, str(base.rootfs.resolve())))
    root = base.rootfs.resolve()
    assert said.pop("byte code").endswith("usr/lib/python3.11/json/__pycache__/__init__.cpython-311.pyc")
    assert said == {
        "version": base.lock["complete_platform"]["marker_environment"]["python_full_version"],
        "executable": f"{root}/usr/bin/{LAUNCHER}",
        "prefix": f"{root}/usr",
        "foreign": [],
        "zone": "2:00:00",
        "roots": True,
        "sqlite": 42,
        "libc": 3,
        "sites": [],
    }


def test_processes_that_python_starts_are_the_base_s_too(base: Any, tmp_path: Path) -> None:
    moved = tmp_path / "moved here"
    shutil.copytree(base.rootfs, moved, symlinks=True)
    program = (
        "import subprocess, sys; print(subprocess.run([sys.executable, '-I', '-c', "
        '\'import sys; print(sys.version.split()[0], sys.prefix, [one for one in open("/proc/self/maps") '
        'if ".so" in one and sys.prefix not in one])\'], env={}, capture_output=True, text=True).stdout)'
    )
    version = base.lock["complete_platform"]["marker_environment"]["python_full_version"]
    assert run(moved, "-c", program).strip() == f"{version} {moved.resolve()}/usr []"


def test_the_root_file_system_is_plain(base: Any) -> None:
    root = base.rootfs.resolve()
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            assert not os.readlink(path).startswith("/"), path
            assert os.path.realpath(path).startswith(f"{root}/"), path
            assert path.exists(), f"{path} points to nothing"
        elif not stat.S_ISDIR(mode):
            assert stat.S_ISREG(mode), path
            assert stat.S_IMODE(mode) in (0o644, 0o755), path
    assert find_python(root) == "/usr/bin/python3.11"


def test_the_complete_platform_of_the_lock_is_that_of_its_python(base: Any) -> None:
    assert complete_platform(base.rootfs) == base.lock["complete_platform"]


def test_a_folder_without_python_is_no_base(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    with pytest.raises(PackagingError, match=r"needs a CPython of 3\.11 or later in .*; it has none"):
        base_command(tmp_path, [])
    (tmp_path / "usr/bin/python3.9").write_bytes(b"")
    with pytest.raises(PackagingError, match=r"it has /usr/bin/python3\.9"):
        base_command(tmp_path, [])
    (tmp_path / "usr/bin/python3.12").write_bytes(b"#!/bin/sh\n")
    with pytest.raises(PackagingError, match=r"python3\.12: not a 64-bit Linux program"):
        base_command(tmp_path, [])


def test_changes_of_a_lock_are_told(lock_file: Path) -> None:
    lock = spec.load("base-lock", lock_file)
    assert describe_changes(lock, lock) == []
    new = {**lock, "packages": [dict(one) for one in lock["packages"]], "epoch": 1}
    gone = new["packages"].pop()
    new["packages"][0]["version"] = "99"
    old = lock["packages"][0]
    assert describe_changes(lock, new) == [
        f"  {old['name']} {old['version']} -> 99",
        f"- {gone['name']} {gone['version']}",
        f"  epoch: {lock['epoch']} -> 1",
    ]
