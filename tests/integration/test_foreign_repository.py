# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""turbolift in somebody else's repository: docs/adopt.md, followed to the letter.

Its files are written as they stand there, its commands run in their order, and each line that it shows must be printed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration.repositories import Repository, temporary_clone, temporary_repository, turbolift_repository

_BLOCK = re.compile(
    r"^<!-- (file: (?P<file>\S+)|run) -->\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class File:
    """A file that the page shows."""

    path: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command that the page shows, and lines of what it prints."""

    env: dict[str, str]
    arguments: tuple[str, ...]
    shown: tuple[str, ...]


def steps_of(page: str) -> list[File | Command]:
    """Return the files and commands of a page, in their order."""
    steps: list[File | Command] = []
    for block in _BLOCK.finditer(page):
        if block["file"]:
            steps.append(File(block["file"], block["text"]))
            continue
        for part in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
            line, *shown = part.splitlines()
            words = shlex.split(line)
            at = words.index("pants")
            env = dict(word.split("=", 1) for word in words[:at])
            steps.append(Command(env, tuple(words[at + 1 :]), tuple(shown)))
    return steps


def build_wheels(name: str) -> tuple[dict[str, bytes], str]:
    """Build both wheels in a clone whose folder is called `name`; return file name -> content, and what was printed."""
    with temporary_clone(name=name) as clone:
        done = clone.run_pants(["run", "build-support:wheels", "--", "--out", "made"])
        return {
            path.name: path.read_bytes() for path in sorted((clone.root / "made").glob("*.whl"))
        }, done.stdout


@pytest.fixture(scope="module")
def wheels() -> dict[str, bytes]:
    """Both wheels: file name -> content."""
    return build_wheels("clone")[0]


@contextmanager
def foreign_repository(wheels: dict[str, bytes]) -> Iterator[Repository]:
    """A repository that has nothing of turbolift but the two wheels."""
    with temporary_repository(name="parcels") as repository:
        (repository.root / "wheels").mkdir()
        for name, content in wheels.items():
            (repository.root / "wheels" / name).write_bytes(content)
        yield repository


@pytest.fixture
def foreign(wheels: dict[str, bytes]) -> Iterator[Repository]:
    """A new one for each test."""
    with foreign_repository(wheels) as repository:
        yield repository


@pytest.fixture(scope="module")
def adopted(wheels: dict[str, bytes]) -> Iterator[Repository]:
    """One with the files of the page, in which Pants goes on running from test to test."""
    with foreign_repository(wheels) as repository:
        page = (turbolift_repository() / "docs/adopt.md").read_text("utf-8")
        repository.write({step.path: step.text for step in steps_of(page) if isinstance(step, File)})
        yield repository


def test_wheels_are_the_same_from_any_clone(
    wheels: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    again, printed = build_wheels("a/clone/elsewhere")
    assert again == wheels
    version = (turbolift_repository() / "src/VERSION").read_text().strip()
    assert list(wheels) == [
        f"turbolift_pants-{version}-py3-none-any.whl",
        f"turbolift_runtime-{version}-py3-none-any.whl",
    ]
    for name, content in wheels.items():
        assert f"{name} sha256:{hashlib.sha256(content).hexdigest()}" in printed.splitlines()


def test_wheels_hold_what_runs_and_nothing_else(wheels: dict[str, bytes], tmp_path: Path) -> None:
    source = turbolift_repository() / "src"

    def names(distribution: str) -> set[str]:
        path = tmp_path / distribution
        path.write_bytes(next(content for name, content in wheels.items() if name.startswith(distribution)))
        with zipfile.ZipFile(path) as wheel:
            return {name for name in wheel.namelist() if ".dist-info/" not in name}

    def sources(root: Path, package: str) -> set[str]:
        found = (path.relative_to(root) for path in (root / package).rglob("*") if path.is_file())
        return {str(path) for path in found if path.name != "BUILD" and "__pycache__" not in path.parts}

    runtime = sources(source / "python", "turbolift")
    plugin = names("turbolift_pants")
    assert names("turbolift_runtime") == runtime | {"turbolift/LICENSE"}
    locks = {"turbolift_pants/locks/image-tool.txt", "turbolift_pants/locks/deploy-tool.txt"}
    rooms = {name for name in plugin if name.startswith("turbolift_pants/_rooms/")}
    assert plugin - rooms == sources(source / "pants", "turbolift_pants") | locks | {
        "turbolift_pants/LICENSE"
    }
    embedded = {name.removeprefix("turbolift_pants/_rooms/") for name in rooms}
    assert embedded < runtime
    # The plugin runs these as programs; the two others of the runtime are user code's and the image's.
    tops = {name.split("/")[1] for name in embedded}
    assert tops == {"client", "closure", "contract", "deploy", "errors.py", "image", "spec", "wire"}


def test_the_page_works_as_it_stands(foreign: Repository) -> None:
    steps = steps_of((turbolift_repository() / "docs/adopt.md").read_text("utf-8"))
    commands = [step for step in steps if isinstance(step, Command)]
    assert ("run", "deploy") in [command.arguments for command in commands]
    for step in steps:
        if isinstance(step, File):
            foreign.write({step.path: step.text})
            continue
        done = foreign.run_pants(step.arguments, env=step.env)
        said = done.stdout + done.stderr
        for line in step.shown:
            assert line in said, f"pants {shlex.join(step.arguments)} printed no line {line!r}:\n{said}"
        if step.arguments == ("generate-lockfiles",):
            lock = (foreign.root / "3rdparty/python/default.lock").read_text()
            assert "turbolift_runtime" in lock
            assert str(foreign.root) not in lock
        if step.arguments == ("package", "::"):
            _check_packages(foreign)
        if step.arguments == ("run", "deploy"):
            status = json.loads(foreign.run_pants(["run", "deploy", "--", "status", "--json"]).stdout)
            assert [(one["function"], one["ready"]) for one in status] == [("shipping.quote:quote", True)]
    after = json.loads(foreign.run_pants(["run", "deploy", "--", "status", "--json"]).stdout)
    assert not [one for one in after if one["ready"]]
    off = foreign.run_pants(["run", "src/shipping/app.py"], env={"TURBOLIFT": "on"}, check=False)
    assert off.returncode != 0
    assert "shipping.quote:quote" in off.stderr


def _check_packages(repository: Repository) -> None:
    """The image has the runtime among the third-party distributions, no layer of its own for the shim, no tool's needs."""
    folder = repository.root / "dist/src/shipping/quote.quote"
    spec = json.loads((folder / "function.json").read_text())
    names = {one.split("==")[0].lower() for one in spec["closure"]["requirements"]}
    assert {"turbolift-runtime", "aiohttp", "pyyaml"} <= names
    assert names.isdisjoint({"rich", "jsonschema", "deflate", "pex", "turbolift-pants"})
    assert spec["closure"]["sources"] == ["shipping/quote.py", "shipping/tariffs.py"]
    digest = json.loads((folder / "index.json").read_text())["manifests"][0]["digest"]
    manifest = json.loads((folder / "blobs/sha256" / digest.removeprefix("sha256:")).read_text())
    base = 1
    assert len(manifest["layers"]) == base + len({"third-party", "first-party"})


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ("turbolift-runtime[client]==0.1.0", "without its `shim` extra"),
        ("", "has no requirement of turbolift-runtime"),
    ],
)
def test_a_resolve_without_the_shim_says_what_to_add(
    adopted: Repository, requirement: str, said: str
) -> None:
    adopted.write(
        {
            "3rdparty/python/requirements.txt": f"pyyaml>=6\n{requirement}\n",
            "3rdparty/python/default.lock": "# Not read: packaging stops before.\n",
            "src/shipping/BUILD": "python_sources()\nturbolift_functions(name='functions')\n",
        }
    )
    done = adopted.run_pants(["package", "src/shipping:functions"], check=False)
    assert done.returncode != 0
    assert said in done.stderr
    assert "turbolift-runtime[shim]" in done.stderr
    assert 'module_mapping={"turbolift-runtime": ["turbolift"]}' in done.stderr
    assert "Traceback" not in done.stderr
