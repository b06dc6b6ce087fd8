# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What a user gets wrong, in one repository that has it all: each mistake is named with its place and a way out, stops only what it
concerns, and shows no traceback of turbolift or Pants. Wrong calls are the business of tests/unit/shim and tests/unit/client.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.repositories import Repository, temporary_clone

BUILD = 'python_sources()\n\nturbolift_functions(name="functions")\n'
GOOD = "from turbolift import Local, on\n\n\n@on(Local())\ndef f(x: int) -> int:\n    return x\n"
FILES = {
    "untyped/f.py": "from turbolift import Local, on\n\n\n@on(Local())\ndef f(x, y: int) -> int:\n    return y\n",
    "nested/f.py": """from turbolift import Local, on


def outer(n: int) -> object:
    @on(Local())
    def inner(x: int) -> int:
        return x + n

    return inner
""",
    "hint/f.py": """import socket

from turbolift import Local, on


@on(Local())
def f(line: socket.socket) -> int:
    return 1
""",
    "environment/f.py": """import os

from turbolift import Local, on

CPU = os.environ.get("CPU", "1")


@on(Local(), cpu=CPU)
def f(x: int) -> int:
    return x
""",
    "broken/f.py": "from turbolift import Local, on\n\n\n@on(Local())\ndef f(x: int) -> int:\n    return (x\n",
    "newer/f.py": GOOD.replace("return x", "return double(x)").replace("\n\n\n", "\n\nfrom newer.lib import double\n\n\n", 1),
    "newer/lib.py": "def double[T](x: T) -> T:\n    return x\n",
    "constrained/f.py": GOOD,
    "constrained/BUILD": BUILD.replace("python_sources()", 'python_sources(interpreter_constraints=["CPython==3.12.*"])'),
    "raising/f.py": GOOD.replace("\n\n\n", "\n\nfrom raising.config import LIMIT\n\n\n", 1),
    "raising/config.py": 'LIMIT = int("many")\n',
    "data/f.py": GOOD,
    "data/table.txt": "1\n",
    "data/BUILD": 'files(name="table", sources=["table.txt"])\n' + BUILD.replace("()", '(dependencies=[":table"])', 1),
    "distribution/f.py": GOOD,
    "distribution/BUILD": 'python_distribution(name="dist", dependencies=["./lib"], provides=python_artifact(name="parcel-lib"))\n'
    + BUILD.replace("()", '(dependencies=[":dist"])', 1),
    "distribution/lib/weight.py": "GRAMS = 1000\n",
    "distribution/lib/BUILD": "python_sources()\n",
    "sdist/f.py": "import docopt\n" + GOOD,
    "tampered/f.py": "import yaml\n" + GOOD,
    "unlocked/f.py": "import babel\n" + GOOD,
    "twins/f.py": GOOD,
    # What looks like one, and works.
    "space/near/f.py": GOOD.replace("int:", "float:").replace("return x", "return half(x)").replace(
        "\n\n\n", "\n\nfrom space.far.lib import half\n\n\n", 1
    ),
    "proto/parcel.proto": 'syntax = "proto3";\npackage proto;\nmessage Parcel { string name = 1; uint32 grams = 2; }\n',
    "proto/f.py": """from proto.parcel_pb2 import Parcel
from turbolift import Local, on


@on(Local())
def size(name: str, grams: int) -> int:
    return len(Parcel(name=name, grams=grams).SerializeToString())
""",
    "proto/BUILD": 'protobuf_sources(name="messages")\n' + BUILD,
}  # fmt: skip
# The other source root: the repository's own folder.
ELSEWHERE = {
    "twins/f.py": GOOD,
    "twins/BUILD": BUILD,
    "space/far/lib.py": "def half(x: int) -> float:\n    return x / 2\n",
    "space/far/BUILD": "python_sources()\n",
    "BUILD": """turbolift_deployment(name="deploy", platform="local", functions=["examples/broken:", "examples/space/near:"])
turbolift_deployment(name="twins", platform="local", functions=["twins:", "examples/twins:"])
files(name="locks", sources=["3rdparty/python/*.lock"])
""",
}
REQUIREMENTS = """
python_requirement(name="docopt", requirements=["docopt==0.6.2"])
python_requirement(name="protobuf", requirements=["protobuf==5.29.5"])
"""
LOCKED = """docopt==0.6.2 \\
    --hash=sha256:49b3a825280bd66b3aa83585ef59c4a8c82f2c8a522dbe754a8bc8d0c85c0491
protobuf==5.29.5 \\
    --hash=sha256:63848923da3325e1bf7e9003d680ce6e14b07e55d0473253a690c3a8b8fd6e61
"""
PROTOC = "3.21.12"


@pytest.fixture(scope="module")
def repository() -> Iterator[Repository]:
    """A repository with every mistake at once, and lock entries that are wrong (pyyaml) and missing (babel)."""
    with temporary_clone() as clone:
        shutil.rmtree(clone.root / "examples")
        files = {f"examples/{path}": text for path, text in FILES.items()}
        for path in list(files):
            files.setdefault(f"{path.rsplit('/', 1)[0]}/BUILD", BUILD)
        lock = (clone.root / "3rdparty/python/default.lock").read_text("utf-8")
        lock = re.sub(r"^babel==.*?(?=^\w)", "", lock, flags=re.MULTILINE | re.DOTALL)
        pyyaml = re.search(r"^pyyaml==.*?(?=^\w)", lock, flags=re.MULTILINE | re.DOTALL)
        assert pyyaml is not None
        lock = lock.replace(pyyaml[0], re.sub(r"sha256:\w+", "sha256:" + "0" * 64, pyyaml[0]))
        config = (clone.root / "pants.toml").read_text("utf-8")
        backend = '"pants.backend.python",'
        assert backend in config
        files["pants.toml"] = config.replace(
            backend, f'{backend}\n  "pants.backend.codegen.protobuf.python",', 1
        )
        clone.write({**files, **ELSEWHERE, "3rdparty/python/default.lock": lock + LOCKED})
        clone.write(
            {
                "3rdparty/python/BUILD": (clone.root / "3rdparty/python/BUILD").read_text("utf-8")
                + REQUIREMENTS
            }
        )
        yield clone


def refused(repository: Repository, *arguments: str, traceback: bool = False) -> str:
    """Run ./pants, which must fail without a traceback of ours; return what it said."""
    done = repository.run_pants(arguments, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "turbolift_pants/" not in said
    assert 'File "' not in said or traceback, said
    return said


@pytest.mark.parametrize(
    ("folder", "facts"),
    [
        ("untyped", ["examples/untyped/f.py:5:7: parameter 'x' of f has no type hint", "add one"]),
        ("nested", ["examples/nested/f.py:6:5: outer.<locals>.inner is nested", "pass what it needs as parameters"]),
        ("hint", ["\nexamples/hint/f.py:7: parameter 'line' of hint.f:f", "socket.socket cannot travel", "pass plain data"]),
        ("environment", ["examples/environment/f.py:8:18", "is read from the environment (line 5)", "write a literal"]),
        ("broken", ["examples/broken/f.py:6:12: cannot be parsed", "was never closed"]),
        ("newer", ["the base image's Python 3.11.2 cannot compile", " examples/newer/lib.py:1: ", "choose another base"]),
        ("constrained", ["examples/constrained/f.py:5 (f) needs CPython", "==3.12.*", "has CPython 3.11.2", "[turbolift].base"]),
        ("data", ["examples/data/f.py:5 (f) depends on examples/data/table.txt:table", "Make them resources()"]),
        ("distribution", ["examples/distribution/f.py:5 (f) depends on examples/distribution:dist", "Depend on its sources"]),
        ("sdist", ["docopt==0.6.2: there is no wheel for the base image", "nothing is built from source"]),
        ("tampered", ["3rdparty/python/default.lock:", "the hash of pyyaml 6", "is wrong", "0" * 64]),
        ("unlocked", ["3rdparty/python/default.lock: babel", "is required, but the lock has no babel", "lock anew"]),
    ],
)  # fmt: skip
def test_package_names_the_mistake(repository: Repository, folder: str, facts: list[str]) -> None:
    said = refused(repository, "package", f"examples/{folder}:functions")
    for fact in facts:
        assert fact in said, f"{fact!r} is not in what was said:\n{said}"


def test_a_module_that_raises_shows_the_users_own_traceback(repository: Repository) -> None:
    said = refused(repository, "package", "examples/raising:functions", traceback=True)
    assert 'File "examples/raising/f.py", line 3, in <module>' in said
    assert 'File "examples/raising/config.py", line 1, in <module>' in said
    assert "ValueError: invalid literal for int() with base 10: 'many'" in said
    assert said.count('File "') == len({"raising/f.py", "raising/config.py"})


def test_one_identity_under_two_source_roots(repository: Repository) -> None:
    said = refused(repository, "package", "//:twins")
    assert "two functions are both twins.f:f: examples/twins:functions#f.f and twins:functions#f.f" in said
    assert "rename one, or deploy them apart" in said


def test_a_base_without_a_digest(repository: Repository) -> None:
    said = refused(
        repository,
        "--turbolift-base=registry.invalid/python:3.11",
        "package",
        "examples/space/near:functions",
    )
    assert "registry.invalid/python:3.11: a tag can mean another image tomorrow" in said
    assert "registry.invalid/python@sha256:<64 hex digits>" in said


def test_lint_lists_what_the_parse_can_see(repository: Repository) -> None:
    said = refused(repository, "lint", "examples::")
    places = re.findall(r"^(examples/\S+?:\d+):\d+: .* \[([a-z-]+)\]$", said, flags=re.MULTILINE)
    assert places == [
        ("examples/broken/f.py:6", "syntax-error"),
        ("examples/environment/f.py:8", "environment-option"),
        ("examples/nested/f.py:6", "nested-function"),
        ("examples/untyped/f.py:5", "untyped-parameter"),
    ]


def test_a_broken_file_stops_only_what_it_concerns(repository: Repository) -> None:
    listed = repository.run_pants(["list", "::"]).stdout.splitlines()
    assert {"examples/broken:functions#f.(unparsable)", "examples/space/near:functions#f.f"} < set(listed)
    assert "examples/broken/f.py:6:12: cannot be parsed" in refused(repository, "run", "deploy")
    nothing = repository.run_pants(["run", "deploy", "--", "status", "--json"]).stdout
    assert json.loads(nothing) == []
    repository.run_pants(["package", "examples/space/near:functions"])

    repository.write({"examples/broken/f.py": GOOD.replace("return x", "return x + 1")})
    repository.run_pants(["run", "deploy"])
    repository.write({"examples/broken/f.py": FILES["broken/f.py"]})
    assert "examples/broken/f.py:6:12: cannot be parsed" in refused(repository, "run", "deploy")
    # The old version goes on serving, and whoever asks for it need not build.
    status = json.loads(repository.run_pants(["run", "deploy", "--", "status", "--json"]).stdout)
    assert [(one["function"], one["ready"]) for one in status] == [
        ("broken.f:f", True),
        ("space.near.f:f", True),
    ]
    called = repository.run_pants(["run", "deploy", "--", "call", "broken.f:f", '{"x": 41}'])
    assert json.loads(called.stdout) == 42
    # A namespace package (PEP 420) whose parts are under two source roots.
    called = repository.run_pants(["run", "deploy", "--", "call", "space.near.f:f", '{"x": 5}'])
    assert json.loads(called.stdout) == 2.5
    repository.run_pants(["run", "deploy", "--", "destroy"])


def test_generated_protobuf_code_is_packaged(repository: Repository, tmp_path: Path) -> None:
    archive = protoc(tmp_path)
    facts = (
        f"{PROTOC}|linux_x86_64|{hashlib.sha256(archive.read_bytes()).hexdigest()}|{archive.stat().st_size}"
    )
    repository.run_pants(
        [
            f"--protoc-version={PROTOC}",
            f"--protoc-url-template=file://{tmp_path}/protoc-{{version}}.zip",
            f"--protoc-known-versions=['{facts}']",
            "package",
            "examples/proto:functions",
        ]
    )
    spec = json.loads((repository.root / "dist/examples/proto/f.size/function.json").read_text())
    # That it could be described says that the generated module was imported.
    assert spec["closure"]["sources"] == ["proto/f.py", "proto/parcel_pb2.py"]
    assert "protobuf==5.29.5" in spec["closure"]["requirements"]


def protoc(folder: Path) -> Path:
    """Return Debian's protoc, as the archive that Pants takes; skips the test where it cannot be had."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("protoc comes from a Debian package, and there is no apt-get here")
    packages = ["protobuf-compiler", "libprotobuf32", "libprotoc32"]
    got = subprocess.run(
        ["apt-get", "download", *packages], cwd=folder, capture_output=True, encoding="utf-8", check=False
    )
    if got.returncode != 0:
        pytest.skip(f"apt-get could not download protoc {PROTOC}: {got.stderr.strip()[-200:]}")
    unpacked = folder / "unpacked"
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(unpacked)], check=True)
    contents = {"bin/protoc.bin": unpacked / "usr/bin/protoc"}
    for library in unpacked.glob("usr/lib/*/libproto*.so.32"):
        contents[f"bin/{library.name}"] = library
    start = '#!/bin/sh\nhere=${0%/*}\nLD_LIBRARY_PATH=$here exec "$here/protoc.bin" "$@"\n'
    archive = folder / f"protoc-{PROTOC}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in [
            ("bin/protoc", start.encode()),
            *((n, p.read_bytes()) for n, p in contents.items()),
        ]:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o755 << 16
            out.writestr(entry, data)
    return archive
