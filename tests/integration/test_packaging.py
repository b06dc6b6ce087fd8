# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What `package` puts into images, what a change rebuilds, what Pants' own goals see of functions, and that packages run by themselves.

One clone with a package of twenty functions beside the examples; the tests share it and run in the order of this file.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.layouts import SHIM, SITE_PACKAGES, SOURCES, entries_of, manifest_of, read, without_byte_code
from integration.repositories import Repository, temporary_clone

FUNCTION = """

@on(Local(), timeout=1.0)
def {name}(x: int) -> int:
    return {result}
"""
HEAD = "from turbolift import Local, on\n"
CROWD = {
    "ground.py": "FACTOR = 2\n",
    "middle.py": "from crowd.ground import FACTOR\n\n\ndef scale(x: int) -> int:\n    return x * FACTOR\n",
    "chain.py": "from crowd.middle import scale\n" + HEAD + FUNCTION.format(name="chain", result="scale(x)"),
    "direct.py": "from crowd.ground import FACTOR\n"
    + HEAD
    + FUNCTION.format(name="direct", result="x + FACTOR"),
    "solo.py": HEAD + FUNCTION.format(name="solo", result="x"),
    "rest.py": HEAD + "".join(FUNCTION.format(name=f"f{n}", result=f"x + {n}") for n in range(17)),
    "solo_test.py": "from crowd.solo import solo\n\n\ndef test_solo() -> None:\n    assert solo.local(3) == 3\n",
    "test_rest.py": "def test_nothing() -> None:\n    assert True\n",
    "notes.txt": "Nobody depends on this file.\n",
}
FUNCTIONS = {
    "crowd.chain:chain",
    "crowd.direct:direct",
    "crowd.solo:solo",
    *(f"crowd.rest:f{n}" for n in range(17)),
}
DEPLOYMENTS = """turbolift_deployment(name="deploy", platform="local", functions=["examples/pricing:"])
turbolift_deployment(name="crowd", platform="local", functions=["examples/crowd:"])
files(name="locks", sources=["3rdparty/python/*.lock"])
"""
# Sources that two resolves own: in `twin`, yaml brings babel along.
TWIN = {
    "examples/twin/BUILD": """python_sources(resolve=parametrize("default", "twin"))
turbolift_functions(name="functions")
python_requirement(name="babel", resolve="twin", requirements=["babel"])
python_requirement(name="yaml", resolve="twin", requirements=["pyyaml"], modules=["yaml"], dependencies=[":babel"])
turbolift_deployment(name="one", functions=["examples/twin:functions#f.f@resolve=twin"])
turbolift_deployment(name="both", functions=["examples/twin:"])
""",
    "examples/twin/f.py": "import yaml\n" + HEAD + FUNCTION.format(name="f", result="len(yaml.dump(x))"),
}
# What serves a function, of turbolift's own; the other rooms build, deploy and analyse.
SERVING = {"__init__.py", "api", "client", "contract", "errors.py", "shim", "spec", "wire"}


@pytest.fixture(scope="module")
def repository() -> Iterator[Repository]:
    """The clone, committed to git, with everything packaged once."""
    with temporary_clone() as clone:
        clone.write({f"examples/crowd/{path}": text for path, text in CROWD.items()})
        clone.write(TWIN)
        pants_toml = (clone.root / "pants.toml").read_text("utf-8")
        resolves = "[python.resolves]\n"
        assert resolves in pants_toml
        clone.write(
            {"pants.toml": pants_toml.replace(resolves, resolves + 'twin = "3rdparty/python/default.lock"\n')}
        )
        clone.write({"BUILD": DEPLOYMENTS, ".gitignore": "/dist\n/.pants.d\n/.pids\n__pycache__\n"})
        clone.run_pants(["tailor", "examples::"])
        for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=all"]):
            git(clone.root, *command)
        clone.run_pants(["package", "examples/pricing:functions", "examples/crowd:functions", "//:crowd"])
        yield clone


def git(root: Path, *arguments: str) -> str:
    """Run git in `root`, whatever its user has configured."""
    identity = [
        "-c",
        "user.name=turbolift",
        "-c",
        "user.email=turbolift@localhost",
        "-c",
        "commit.gpgsign=false",
    ]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=root, check=True, capture_output=True, encoding="utf-8"
    ).stdout


def crowd(repository: Repository) -> dict[str, tuple[str, str]]:
    """Return function -> (image digest, version) of the deployment of the crowd, as packaged last."""
    bundle = read(repository.root / "dist/crowd/bundle.json")
    return {one["function"]: (one["image"], one["version"]) for one in bundle["functions"]}


def changed(before: dict[str, tuple[str, str]], after: dict[str, tuple[str, str]]) -> set[str]:
    """Return the functions of another image; those of the same one must have the same version."""
    assert before.keys() == after.keys()
    assert all(before[name][1] == after[name][1] for name in before if before[name][0] == after[name][0])
    return {name for name in before if before[name][0] != after[name][0]}


def test_tailor_writes_what_is_missing_and_is_then_content(repository: Repository) -> None:
    build = (repository.root / "examples/crowd/BUILD").read_text("utf-8")
    assert re.search(r'turbolift_functions\(\s*name="functions",?\s*\)', build)
    repository.run_pants(["tailor", "--check", "examples::"])


def test_help_teaches(repository: Repository) -> None:
    said = repository.run_pants(["help", "turbolift_function"]).stdout
    assert "One function tagged with `@turbolift.on(...)`" in said
    assert "generated by" in said


def test_goals_of_pants_see_functions(repository: Repository) -> None:
    listed = repository.run_pants(
        ["list", "--filter-target-type=turbolift_function", "examples/crowd:"]
    ).stdout.split()
    assert len(listed) == len(FUNCTIONS)
    assert "examples/crowd:functions#rest.f16" in listed
    (peeked,) = json.loads(repository.run_pants(["peek", "examples/crowd:functions#solo.solo"]).stdout)
    assert (peeked["target_type"], peeked["file"], peeked["function"]) == (
        "turbolift_function",
        "solo.py",
        "solo",
    )
    assert peeked["line"] == 1 + CROWD["solo.py"].splitlines().index("def solo(x: int) -> int:")
    closure = repository.run_pants(
        ["dependencies", "--transitive", "examples/crowd:functions#chain.chain"]
    ).stdout.split()
    assert {one for one in closure if one.startswith("examples/")} == {
        f"examples/crowd/{name}.py" for name in ("chain", "middle", "ground")
    }


def test_an_image_holds_the_closure_and_nothing_else(repository: Repository) -> None:
    dist = repository.root / "dist/examples"
    layouts = {path.parent for path in dist.glob("*/*/function.json")}
    assert {read(path / "function.json")["function"] for path in layouts} == FUNCTIONS | {
        "pricing.quote:quote", "pricing.demand:forecast",
    }  # fmt: skip
    for layout in layouts:
        entries = entries_of(layout)
        assert without_byte_code(entries[SOURCES]) == set(
            read(layout / "function.json")["closure"]["sources"]
        )
        shim = without_byte_code(entries[SHIM])
        assert {path.split("/")[0] for path in shim} == {"turbolift"}
        assert {path.split("/")[1] for path in shim} <= SERVING
        third_party = without_byte_code(entries[SITE_PACKAGES])
        tops = {path.split("/")[0] for path in third_party}
        assert "aiohttp" in tops
        assert tops.isdisjoint(
            {"jsonschema", "rich", "docker", "kubernetes", "deflate", "pex", "pytest", "pip", "setuptools"}
        )
        assert not [path for path in shim | entries[SOURCES] if path.endswith("BUILD") or "test" in path]
    sources = {
        read(path / "function.json")["function"]: read(path / "function.json")["closure"]["sources"]
        for path in layouts
    }
    assert sources["crowd.chain:chain"] == ["crowd/chain.py", "crowd/ground.py", "crowd/middle.py"]
    assert sources["crowd.solo:solo"] == ["crowd/solo.py"]
    assert "pricing/tariffs.yaml" in sources["pricing.quote:quote"]
    assert sources["pricing.demand:forecast"] == [
        "pricing/__init__.py",
        "pricing/demand.py",
        "pricing/model.py",
    ]


@pytest.mark.parametrize(
    ("layout", "has", "lacks"),
    [("quote.quote", {"babel", "yaml"}, {"numpy"}), ("demand.forecast", {"numpy"}, {"babel", "yaml"})],
)
def test_two_functions_of_a_package_have_their_own_needs(
    repository: Repository, layout: str, has: set[str], lacks: set[str]
) -> None:
    paths = entries_of(repository.root / "dist/examples/pricing" / layout)[SITE_PACKAGES]
    tops = {path.split("/")[0] for path in paths}
    projects = {re.split(r"-\d", top)[0].lower() for top in tops if top.endswith(".dist-info")}
    assert has <= tops
    assert not lacks & tops
    assert projects.isdisjoint(lacks | ({"pyyaml"} if "yaml" in lacks else set()))


def test_every_blob_is_written_once(repository: Repository) -> None:
    """Twenty functions and the deployment of them all share one base; no layout holds a copy."""
    dist = repository.root / "dist"
    base = manifest_of(dist / "examples/crowd/solo.solo")["layers"][0]
    copies: dict[str, list[int]] = {}
    for folder, _, files in os.walk(dist):
        for name in files:
            if len(name) == len("0" * 64):
                copies.setdefault(name, []).append(Path(folder, name).stat().st_size)
    assert copies[base["digest"].removeprefix("sha256:")] == [base["size"]]
    assert all(len(sizes) == 1 for sizes in copies.values())
    layers = {
        layer["digest"]
        for path in dist.glob("examples/*/*/index.json")
        for layer in manifest_of(path.parent)["layers"]
    }
    # base; third-party of crowd, quote, forecast; shim; first-party of chain, direct, solo, rest, quote, forecast
    assert len(layers) == 1 + 3 + 1 + 6


def test_a_change_rebuilds_what_it_touches(repository: Repository) -> None:
    first = crowd(repository)
    assert first.keys() == FUNCTIONS

    def packaged() -> dict[str, tuple[str, str]]:
        repository.run_pants(["package", "//:crowd"])
        return crowd(repository)

    repository.write({"examples/crowd/solo.py": CROWD["solo.py"].replace("return x", "return x + 0")})
    second = packaged()
    assert changed(first, second) == {"crowd.solo:solo"}

    repository.write({"examples/crowd/solo.py": CROWD["solo.py"], "examples/crowd/ground.py": "FACTOR = 3\n"})
    third = packaged()
    assert changed(first, third) == {"crowd.chain:chain", "crowd.direct:direct"}
    seen = repository.run_pants(
        [
            "--changed-since=HEAD",
            "--changed-dependents=transitive",
            "list",
            "--filter-target-type=turbolift_function",
        ]
    ).stdout.split()
    assert seen == ["examples/crowd:functions#chain.chain", "examples/crowd:functions#direct.direct"]

    repository.write({"examples/crowd/ground.py": CROWD["ground.py"]})
    assert packaged() == first


def test_another_timeout_is_another_version_of_the_same_contract(repository: Repository) -> None:
    layout = repository.root / "dist/examples/crowd/solo.solo"
    repository.write({"examples/crowd/solo.py": CROWD["solo.py"]})
    repository.run_pants(["package", "examples/crowd:functions#solo.solo", "//:crowd"])
    before, manifest, spec = crowd(repository), manifest_of(layout), read(layout / "function.json")
    repository.write({"examples/crowd/solo.py": CROWD["solo.py"].replace("timeout=1.0", "timeout=2.0")})
    repository.run_pants(["package", "examples/crowd:functions#solo.solo", "//:crowd"])
    after, other, now = crowd(repository), manifest_of(layout), read(layout / "function.json")
    repository.write({"examples/crowd/solo.py": CROWD["solo.py"]})
    assert (spec["options"]["timeout"], now["options"]["timeout"]) == (1.0, 2.0)
    assert spec["contract"] == now["contract"]
    # The tag stands in the function's own file, so that file's layer is another one, and nothing else is.
    assert changed(before, after) == {"crowd.solo:solo"}
    assert other["layers"][:-1] == manifest["layers"][:-1]


def post(endpoint: str, function: str, arguments: dict[str, Any]) -> Any:
    """Call a function at its unix socket by plain HTTP: nothing of turbolift is on this side."""
    connection = http.client.HTTPConnection("function", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(30)
    connection.sock.connect(endpoint.removeprefix("unix://"))
    try:
        body = json.dumps({"args": arguments})
        connection.request("POST", f"/v1/functions/{function}", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return json.loads(content)["result"]
    finally:
        connection.close()


def post_until_served(endpoint: str, function: str, arguments: dict[str, Any]) -> Any:
    """Call until the function is there again; the last failure is raised after two minutes."""
    end = time.monotonic() + 120
    while True:
        try:
            return post(endpoint, function, arguments)
        except (OSError, http.client.HTTPException, AssertionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def test_functions_run_from_their_packages(repository: Repository) -> None:
    """With the sources out of the way, a function that is killed comes back and answers as before."""
    repository.run_pants(["run", "deploy"])

    def status() -> dict[str, Any]:
        printed = repository.run_pants(["run", "deploy", "--", "status", "--json"]).stdout
        return {one["function"]: one for one in json.loads(printed)}

    before = status()
    assert before.keys() == {"pricing.quote:quote", "pricing.demand:forecast"}
    assert all(one["ready"] for one in before.values())
    wanted = {"sku": "A-1", "quantity": 3}
    price = post(before["pricing.quote:quote"]["endpoint"], "pricing.quote:quote", wanted)
    assert price["total"] == "44.62"

    examples, rooms, away = (
        repository.root / "examples",
        repository.root / "src/python",
        repository.root.with_name("away"),
    )
    away.mkdir()
    examples.rename(away / "examples")
    rooms.rename(away / "python")
    for one in before.values():
        os.kill(one["pid"], signal.SIGKILL)
    assert (
        post_until_served(before["pricing.quote:quote"]["endpoint"], "pricing.quote:quote", wanted) == price
    )
    forecast = post_until_served(
        before["pricing.demand:forecast"]["endpoint"], "pricing.demand:forecast", {"history": [1.0, 2.0, 3.0]}
    )
    assert forecast["periods"] == [4.0, 5.0, 6.0]

    # `deploy -- COMMAND` needs turbolift itself again, but none of the sources that were packaged.
    (away / "python").rename(rooms)
    called = repository.run_pants(["run", "deploy", "--", "call", "pricing.quote:quote", json.dumps(wanted)])
    assert json.loads(called.stdout) == price
    after = status()
    assert all(after[name]["ready"] and after[name]["pid"] != before[name]["pid"] for name in before)
    repository.run_pants(["run", "deploy", "--", "down"])
    assert not [one for one in status().values() if one["ready"]]
    repository.run_pants(["run", "deploy", "--", "destroy"])
    (away / "examples").rename(examples)
    assert not list(repository.state.glob("turbolift/*/deploy"))
    for one in (*before.values(), *after.values()):
        with pytest.raises(ProcessLookupError):
            os.kill(one["pid"], 0)


def test_a_function_of_two_resolves_has_two_targets_and_two_closures(repository: Repository) -> None:
    listed = repository.run_pants(
        ["list", "--filter-target-type=turbolift_function", "examples/twin:"]
    ).stdout.split()
    assert listed == [f"examples/twin:functions#f.f@resolve={name}" for name in ("default", "twin")]
    repository.run_pants(["package", "examples/twin:functions", "examples/twin:one"])
    held = {}
    for name in ("default", "twin"):
        layout = repository.root / f"dist/examples/twin/f.f@resolve={name}"
        tops = {path.split("/")[0] for path in entries_of(layout)[SITE_PACKAGES]}
        held[name] = tops & {"yaml", "babel"}
    assert held == {"default": {"yaml"}, "twin": {"yaml", "babel"}}
    (deployed,) = read(repository.root / "dist/examples/twin/one/bundle.json")["functions"]
    assert deployed["target"] == listed[1]
    said = repository.run_pants(["package", "examples/twin:both"], check=False)
    assert said.returncode != 0
    assert f"two functions are both twin.f:f: {listed[0]} and {listed[1]}" in said.stderr
