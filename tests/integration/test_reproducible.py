# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Law 2: same input, same digest; in two clones that share nothing, and by the image builder run by hand on other Pythons.

What may be shared: the launcher's own installation, which only runs the build.
"""

from __future__ import annotations

import glob
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integration.layouts import SHIM, SOURCES, blob, digest_of, entries_of, read, without_byte_code
from integration.repositories import Repository, temporary_clone

PACKAGE = ["--filter-target-type=turbolift_function", "package", "examples::"]
FUNCTION = "pricing.quote:quote"
LAYOUT = "examples/pricing/quote.quote"


@pytest.fixture(scope="module")
def here() -> Iterator[Repository]:
    """A clone that uses this user's stores and environment; packaged."""
    with temporary_clone() as clone:
        clone.run_pants(PACKAGE)
        yield clone


def images(repository: Repository) -> dict[str, str]:
    """Return function -> image digest of what is in dist/."""
    folders = [path.parent for path in (repository.root / "dist").glob("examples/*/*/function.json")]
    return {read(folder / "function.json")["function"]: digest_of(folder) for folder in folders}


def launcher_cache() -> str:
    """Return the launcher's cache, as ./pants finds it."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get("TURBOLIFT_CACHE") or os.path.join(cache, "turbolift")


def test_two_clones_that_share_nothing(here: Repository, tmp_path: Path) -> None:
    with temporary_clone(name="another folder/clone") as clone:
        for path in [clone.root, *clone.root.rglob("*")]:
            path.chmod(0o700 if path.is_dir() or os.access(path, os.X_OK) else 0o600)
            os.utime(path, (1_000_000_000, 1_000_000_000))
        for name in ("home", "tmp"):
            (tmp_path / name).mkdir()
        clone.umask = 0o077
        clone.env = {
            "HOME": str(tmp_path / "home"),
            "LC_ALL": "C",
            "PANTS_LOCAL_STORE_DIR": str(tmp_path / "store"),
            "PANTS_NAMED_CACHES_DIR": str(tmp_path / "named"),
            "PYTHONHASHSEED": "7",
            "TMPDIR": str(tmp_path / "tmp"),
            "TURBOLIFT_CACHE": launcher_cache(),
            "TZ": "Pacific/Kiritimati",
            "XDG_CACHE_HOME": str(tmp_path / "home/.cache"),
        }
        clone.run_pants(["--no-pantsd", *PACKAGE])
        assert images(clone) == images(here)
        assert FUNCTION in images(here)
    # The next test's builds are by other Pythons, but a downloaded Debian package is what its hash says.
    shutil.move(tmp_path / "named/turbolift_debs", here.state.parent / "debs")
    shutil.rmtree(tmp_path, ignore_errors=True)


def pythons() -> dict[str, str]:
    """Return minor version -> interpreter, from TURBOLIFT_TEST_PYTHONS (a path list) or those installed here."""
    given = os.environ.get("TURBOLIFT_TEST_PYTHONS")
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    patterns = [f"{root}/versions/3.*/bin/python3.*", "/usr/local/bin/python3.*", "/usr/bin/python3.*"]
    paths = (
        given.split(os.pathsep)
        if given
        else [path for pattern in patterns for path in sorted(glob.glob(pattern))]
    )
    found: dict[str, str] = {}
    for path in [*paths, sys.executable]:
        if not re.fullmatch(r"python3?(\.\d+)?", os.path.basename(path)):
            continue
        asked = subprocess.run(
            [path, "-c", "import ensurepip, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
        version = asked.stdout.strip()
        if asked.returncode == 0 and version in ("3.11", "3.12", "3.13", "3.14"):
            found.setdefault(version, path)
    return found


@dataclass(frozen=True)
class Builder:
    """The image builder on some Python, to be run by hand in `folder`."""

    python: Path
    rooms: Path
    folder: Path

    def run(self, *arguments: str) -> None:
        """Run one command of the builder."""
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(self.rooms),
            "TZ": "UTC",
        }
        env |= {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_", "http", "HTTP"))}
        done = subprocess.run(
            [str(self.python), "-m", "turbolift.image", *arguments],
            cwd=self.folder, env=env, capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def copy_in_any_order(names: set[str], source: Path, target: Path) -> None:
    """Copy files as a file system might list them: in no order, with today's dates."""
    shuffled = sorted(names)
    random.Random(11).shuffle(shuffled)
    for name in shuffled:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


@pytest.mark.parametrize("choice", [0, 1])
def test_the_builder_by_hand_on_another_python(here: Repository, tmp_path: Path, choice: int) -> None:
    found = sorted(pythons().items(), reverse=True, key=lambda one: int(one[0].split(".")[1]))
    if choice >= len(found):
        pytest.skip(
            f"needs {choice + 1} CPythons of 3.11 to 3.14 with venv, and found {dict(found)}; TURBOLIFT_TEST_PYTHONS names more"
        )
    root = here.root
    venv = tmp_path / "venv"
    subprocess.run([found[choice][1], "-m", "venv", str(venv)], check=True)
    python = venv / "bin/python"
    tool = [
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        "-r",
        str(root / "build-support/locks/image-tool.txt"),
    ]
    subprocess.run([str(python), "-m", "pip", "install", *tool], check=True)

    layout = root / "dist" / LAYOUT
    spec: Any = read(layout / "function.json")
    entries = entries_of(layout)
    work = tmp_path / "work"
    work.mkdir()
    copy_in_any_order(set(spec["closure"]["sources"]), root / "examples", work / "src")
    copy_in_any_order(without_byte_code(entries[SHIM]), root / "src/python", work / "shim")
    (work / "requirements.txt").write_text(
        "\n".join(reversed(spec["closure"]["requirements"])) + "\n", "utf-8"
    )
    lock = f"--lock={root / 'src/python/turbolift/image/base-lock.json'}"
    debs = here.state.parent / "debs"
    pins = f"--lock={root / '3rdparty/python/default.lock'}"
    build = Builder(python, root / "src/python", work).run
    build("base", lock, "--out=base", "--rootfs=rootfs", f"--debs={debs}")
    build(
        "third-party",
        "--requirements=requirements.txt",
        pins,
        lock.replace("--lock", "--complete-platform"),
        "--out=deps",
    )
    layers = [
        ("third-party", "deps", "app/site-packages"),
        ("shim", "shim", SHIM),
        ("first-party", "src", SOURCES),
    ]
    for kind, tree, prefix in layers:
        build(
            "layer",
            f"--kind={kind}",
            f"--tree={tree}",
            f"--prefix={prefix}",
            "--base-rootfs=rootfs",
            f"--out=layer-{kind}",
        )
    trees = ["--third-party=deps", "--shim=shim", "--first-party=src"]
    build("describe", "--base-rootfs=rootfs", *trees, f"--function={FUNCTION}", "--out=describe.json")
    described = read(work / "describe.json")
    assert {key: described["contract"][key] for key in spec["contract"]} == spec["contract"]
    build(
        "assemble",
        "--base=base",
        *(f"--layer=layer-{kind}" for kind, _, _ in layers),
        f"--entrypoint-function={FUNCTION}",
        f"--annotation=dev.turbolift.closure={spec['closure']['digest']}",
        f"--annotation=dev.turbolift.contract={spec['contract']['digest']}",
        "--out=image",
    )
    mine, theirs = work / "image", layout
    ours, others = (read(blob(one, digest_of(one))) for one in (mine, theirs))
    assert ours == others  # says more than two digests would
    assert digest_of(mine) == digest_of(theirs)
