# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Resolving for the base's platform by the real pex, from folders of wheels: every hash counts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from turbolift.image.pextool import pex_command

Command = Callable[..., subprocess.CompletedProcess[str]]
WheelMaker = Callable[..., Path]

# Names that no index has: pex may look there for pip.
TOP, LIB = "turbolift_test_top", "turbolift_test_lib"


@pytest.fixture(scope="session")
def pex_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pex")


class Case:
    """A folder with wheels, their lock, and the command on them."""

    def __init__(self, tmp_path: Path, command: Command, lock_file: Path, pex_root: Path) -> None:
        self.folder, self._command, self._base_lock, self._pex_root = tmp_path, command, lock_file, pex_root
        self.lock: dict[str, list[str]] = {}
        self.text = ""
        self.wheels = tmp_path / "wheels"
        self.wheels.mkdir()

    def add(self, path: Path) -> None:
        name, version = path.name.removesuffix(".tar.gz").split("-")[:2]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.lock.setdefault(f"{name}=={version}", []).append(digest)

    def run(
        self, *roots: str, out: str = "out", python: str = sys.executable, fresh: bool = False
    ) -> subprocess.CompletedProcess[str]:
        (self.folder / "roots.txt").write_text("".join(f"{one}\n" for one in roots))
        lines = [
            f"{pin} " + " ".join(f"--hash=sha256:{one}" for one in digests)
            for pin, digests in self.lock.items()
        ]
        (self.folder / "lock.txt").write_text(self.text or "".join(f"{one}\n" for one in lines))
        cache = [] if fresh else ["--pex-root", str(self._pex_root)]
        done = self._command(
            "third-party", "--requirements", "roots.txt", "--lock", "lock.txt",
            "--complete-platform", self._base_lock, "--out", out, "--report", "report.json",
            "--no-index", "--find-links", self.wheels, *cache,
            cwd=self.folder, python=python,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        return done

    def fails(self, *roots: str) -> str:
        done = self.run(*roots)
        assert done.returncode == 1
        assert not (self.folder / "out").exists()
        return done.stderr


@pytest.fixture
def case(tmp_path: Path, command: Command, lock_file: Path, pex_root: Path, wheel: WheelMaker) -> Case:
    made = Case(tmp_path, command, lock_file, pex_root)
    marker = "python_version == '3.11' and sys_platform == 'linux'"
    made.add(wheel(TOP, "1.0", {f"{TOP}.py": "x = 1"}, requires=(f"{LIB}>=1 ; {marker}",)))
    made.add(wheel(LIB, "1.5", {f"{LIB}/__init__.py": "y = 2"}))
    wheel(LIB, "2.0", {f"{LIB}/__init__.py": "y = 3"})
    return made


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mode, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_closure_is_unpacked_at_the_locked_versions(case: Case) -> None:
    done = case.run(TOP)
    assert done.returncode == 0, done.stderr
    assert (case.folder / "out" / LIB / "__init__.py").read_text() == "y = 2"
    report = json.loads((case.folder / "report.json").read_text())
    assert [(one["name"], one["version"], one["files"]) for one in report["distributions"]] == [
        ("turbolift-test-lib", "1.5", 4),
        ("turbolift-test-top", "1.0", 4),
    ]
    assert report["distributions"][1]["sha256"] == case.lock[f"{TOP}==1.0"][0]


def test_no_requirements_give_an_empty_folder(case: Case) -> None:
    assert case.run().returncode == 0
    assert os.listdir(case.folder / "out") == []
    assert json.loads((case.folder / "report.json").read_text()) == {"distributions": [], "notes": []}


@pytest.mark.parametrize("pin", [f"{TOP}==1.0", f"{LIB}==1.5"])
def test_one_wrong_hash_fails(case: Case, pin: str) -> None:
    right = case.lock[pin][0]
    wrong = ("0" if right[0] != "0" else "1") + right[1:]
    case.lock[pin] = [wrong]
    said = case.fails(TOP)
    assert f"the hash of {pin.replace('==', ' ').replace('_', '-')} is wrong" in said
    assert right in said
    assert wrong in said


def test_a_better_wheel_that_is_not_locked_is_not_taken(case: Case, wheel: WheelMaker) -> None:
    wheel(LIB, "1.5", {f"{LIB}/__init__.py": "y = 'evil'"}, tag="cp311-cp311-manylinux_2_17_x86_64")
    said = case.fails(TOP)
    assert "cp311-cp311-manylinux_2_17_x86_64.whl has sha256" in said
    assert "lock anew" in said


def test_the_wheel_for_the_base_is_chosen_not_the_builder_s(case: Case, wheel: WheelMaker) -> None:
    for tag in (
        "cp311-cp311-manylinux_2_36_x86_64",
        "cp313-cp313-manylinux_2_17_x86_64",
        "cp311-cp311-manylinux_2_37_x86_64",
    ):
        case.add(wheel(LIB, "1.5", {f"{LIB}/__init__.py": f"y = {tag!r}"}, tag=tag))
    done = case.run(TOP)
    assert done.returncode == 0, done.stderr
    assert (
        case.folder / "out" / LIB / "__init__.py"
    ).read_text() == "y = 'cp311-cp311-manylinux_2_36_x86_64'"


@pytest.mark.parametrize("tampered", [False, True])
def test_a_lock_in_the_format_of_pex(case: Case, tampered: bool) -> None:
    argv, env = pex_command()
    if sys.version_info >= (3, 12):
        pytest.skip("pex has a pip of its own for CPython 3.11 only, and these tests use no index")
    made = subprocess.run(
        [
            *argv[:-1], "pex.cli", "lock", "create", f"{TOP}==1.0", f"{LIB}==1.5", "--style=universal",
            "--pip-version=vendored", "--resolver-version=pip-2020-resolver", "--no-pypi",
            f"--find-links={case.wheels}", "--interpreter-constraint=CPython==3.11.*",
            "--target-system=linux", f"--pex-root={case.folder / 'pex'}", "--indent=1",
            f"--output={case.folder / 'pex.lock'}",
        ],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    text = (case.folder / "pex.lock").read_text()
    right = case.lock[f"{LIB}==1.5"][0]
    assert right in text
    case.text = "// made by a tool\n" + (text.replace(right, "0" * 64) if tampered else text)
    if tampered:
        said = case.fails(TOP)
        assert LIB in said
        assert right in said
        assert "0" * 64 in said
        return
    done = case.run(TOP)
    assert done.returncode == 0, done.stderr
    assert (case.folder / "out" / LIB / "__init__.py").read_text() == "y = 2"


def test_a_distribution_with_sources_only_is_named(case: Case) -> None:
    sdist = case.wheels / "turbolift_test_src-1.0.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("turbolift_test_src-1.0/PKG-INFO"))
    case.add(sdist)
    said = case.fails("turbolift-test-src", TOP)
    assert "error: turbolift-test-src==1.0: there is no wheel for the base image (CPython 3.11." in said
    assert "Asked for: turbolift-test-src, turbolift_test_top" in said


def test_what_the_lock_lacks_is_named(case: Case) -> None:
    assert "turbolift-missing>=1 is required, but the lock has no turbolift-missing" in case.fails(
        "turbolift-missing>=1"
    )
    del case.lock[f"{LIB}==1.5"]
    assert f"{LIB} 2.0 is needed (by {TOP}), but is not in the lock" in case.fails(TOP)


def test_a_folder_that_is_not_empty_is_refused(case: Case) -> None:
    (case.folder / "out").mkdir()
    (case.folder / "out" / "x").touch()
    done = case.run(TOP)
    assert (done.returncode, done.stderr) == (1, "error: out: is not empty: give a new folder\n")


def _others() -> list[str]:
    """Return interpreters of other versions than this one that have what the command needs."""
    found = []
    listed = os.environ.get("TURBOLIFT_TEST_PYTHONS", "").split(os.pathsep)
    for path in [*filter(None, listed), *(shutil.which(f"python3.{minor}") for minor in (11, 12, 13))]:
        probe = "import sys, deflate, pex, jsonschema; print(sys.version_info[1])"
        if path:
            done = subprocess.run([path, "-c", probe], capture_output=True, text=True, check=False)
            if done.returncode == 0 and int(done.stdout) != sys.version_info[1]:
                found.append(path)
    return found


def test_the_builder_s_python_has_no_say(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    others = _others()
    if not others:
        pytest.skip(
            "no second CPython with pex, deflate and jsonschema is on PATH: name some in "
            "TURBOLIFT_TEST_PYTHONS"
        )
    assert case.run(TOP).returncode == 0
    report = (case.folder / "report.json").read_bytes()
    monkeypatch.setattr(
        sys, "path", [one for one in sys.path if "site-packages" not in one and "lib/python3" not in one]
    )
    for number, python in enumerate(others):
        done = case.run(TOP, out=f"out-{number}", python=python, fresh=True)
        assert done.returncode == 0, done.stderr
        assert tree(case.folder / f"out-{number}") == tree(case.folder / "out")
        assert (case.folder / "report.json").read_bytes() == report
