# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""`deploy -- --platform docker` on a real engine: the same bundle and the same commands as on the local platform.

The tests share one clone and one engine, and run in the order of this file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.engine import Engine, running
from integration.repositories import Repository, temporary_clone

BUILD = """python_sources()
turbolift_functions(name="functions")
pex_binary(name="app", entry_point="app.py", layout="loose", execution_mode="venv")
"""
# Process 1 is one of a container, also where this machine is a container itself.
WORK = """import os

from turbolift import Docker, on


@on(Docker(), cpu="500m", memory="96Mi", timeout=30.0, env={"GREETING": "hello"}, idempotent=True)
def where(word: str) -> str:
    return f"{os.environ['GREETING']} {word} from {'a container' if os.getpid() == 1 else 'here'} (1)"


@on(Docker(), timeout=30.0)
def still(x: int) -> int:
    return x
"""
# Calls the others, from its container.
NESTED = """import socket

from boxes.work import still, where
from turbolift import Docker, on


@on(Docker(), timeout=30.0)
def host() -> str:
    return socket.gethostname()


@on(Docker(), timeout=30.0)
async def through(word: str) -> list[str]:
    return [socket.gethostname(), await host(), await where(word), str(await still(5))]
"""
# Calls until a file appears; prints when it has begun, and at the end every answer that it saw.
APP = """import asyncio
import pathlib
import sys

from boxes.work import where


async def main(stop: pathlib.Path) -> None:
    seen = {await where("x")}
    print("begun", flush=True)
    while not stop.exists():
        seen.update(await asyncio.gather(*(where("x") for _ in range(4))))
    print(sorted(seen))


if __name__ == "__main__":
    asyncio.run(main(pathlib.Path(sys.argv[1])))
"""
WHERE, STILL = "boxes.work:where", "boxes.work:still"
HOST, THROUGH = "boxes.nested:host", "boxes.nested:through"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with running() as one:
        yield one


@pytest.fixture(scope="module")
def clone(engine: Engine) -> Iterator[Repository]:
    with temporary_clone() as clone:
        clone.env["DOCKER_HOST"] = f"unix://{engine.socket}"
        clone.write(
            {
                "BUILD": 'turbolift_deployment(name="deploy", functions=["examples/boxes:"])\n',
                "examples/boxes/BUILD": BUILD,
                "examples/boxes/work.py": WORK,
                "examples/boxes/nested.py": NESTED,
                "examples/boxes/app.py": APP,
            }
        )
        yield clone
        clone.run_pants(["run", "deploy", "--", "destroy"], check=False)


def deploy(clone: Repository, *arguments: str) -> str:
    done = clone.run_pants(["run", "deploy", "--", *arguments])
    return done.stdout + done.stderr


def status(clone: Repository) -> dict[str, dict[str, Any]]:
    printed = clone.run_pants(["run", "deploy", "--", "status", "--json"]).stdout
    return {one["function"]: one for one in json.loads(printed)}


def containers(engine: Engine) -> list[str]:
    return engine.ask("ps", "--all", "--format={{.Names}}").split()


def inspect(engine: Engine, function: str) -> dict[str, Any]:
    """Return what the engine says of a function's one container."""
    name = engine.ask("ps", "--all", "--quiet", f"--filter=label=dev.turbolift.function={function}")
    (found,) = json.loads(engine.ask("inspect", name))
    return dict(found)


def test_each_function_is_a_container_with_nothing_allowed(engine: Engine, clone: Repository) -> None:
    deploy(clone)
    now = status(clone)
    assert {name: (one["platform"], one["ready"]) for name, one in now.items()} == dict.fromkeys(
        (WHERE, STILL, HOST, THROUGH), ("docker", True)
    )
    assert all(one["endpoint"].startswith("http://127.0.0.1:") for one in now.values())
    found = inspect(engine, WHERE)
    host = found["HostConfig"]
    assert found["State"]["Pid"] == now[WHERE]["pid"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (
        True,
        ["ALL"],
        ["no-new-privileges"],
    )
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (96 << 20, 96 << 20, 500_000_000)
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert found["Config"]["User"] == "65532:65532"
    assert [one["HostIp"] for one in host["PortBindings"]["8080/tcp"]] == ["127.0.0.1"]
    assert inspect(engine, STILL)["HostConfig"]["Memory"] == 0


def test_a_call_goes_into_the_container(clone: Repository) -> None:
    answer = clone.run_pants(["run", "deploy", "--", "call", WHERE, '{"word": "greetings"}']).stdout
    assert json.loads(answer) == "hello greetings from a container (1)"


def through(engine: Engine, clone: Repository) -> tuple[bool, bool, list[str]]:
    """Return whether a container's calls went to the container of the other function, whether they came from its own,
    and the other answers.
    """
    said = clone.run_pants(["run", "deploy", "--", "call", THROUGH, '{"word": "on"}']).stdout
    own, other, *others = json.loads(said)
    return (
        inspect(engine, HOST)["Config"]["Hostname"] == other,
        inspect(engine, THROUGH)["Config"]["Hostname"] == own,
        others,
    )


def test_containers_call_each_other(engine: Engine, clone: Repository) -> None:
    assert through(engine, clone) == (True, True, ["hello on from a container (1)", "5"])
    tables = Path(next(one["Source"] for one in inspect(engine, HOST)["Mounts"]))
    assert (tables / "routes.json").stat().st_mode & 0o777 == 0o644
    assert tables.parent.stat().st_mode & 0o077 == 0


def test_a_container_follows_the_table(engine: Engine, clone: Repository) -> None:
    own = inspect(engine, THROUGH)["Id"]
    deploy(clone, "down", HOST)
    failed = clone.run_pants(["run", "deploy", "--", "call", THROUGH, '{"word": "on"}'], check=False)
    assert f"{HOST} has no route in /etc/turbolift/routes.json" in failed.stdout + failed.stderr
    deploy(clone)
    assert through(engine, clone) == (True, True, ["hello on from a container (1)", "5"])
    assert inspect(engine, THROUGH)["Id"] == own


def test_a_second_deploy_touches_nothing(clone: Repository) -> None:
    before = status(clone)
    said = deploy(clone)
    assert "unchanged" in said
    assert status(clone) == before


def test_an_edit_replaces_what_it_touches_and_loses_no_call(
    engine: Engine, clone: Repository, tmp_path: Path
) -> None:
    before = status(clone)
    stop = tmp_path / "stop"
    app = subprocess.Popen(
        [str(clone.root / "pants"), "--no-dynamic-ui", "run", "examples/boxes:app", "--", str(stop)],
        cwd=clone.root,
        env=clone.environment({"TURBOLIFT": "on"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert app.stdout is not None
        assert app.stdout.readline() == "begun\n"
        clone.write({"examples/boxes/work.py": WORK.replace("(1)", "(2)")})
        deploy(clone)
    finally:
        stop.touch()
        out, err = app.communicate()
    assert (app.returncode, out) == (0, f"{[f'hello x from a container ({n})' for n in (1, 2)]}\n"), err
    after = status(clone)
    # Both stand in one file, which a third one imports: nothing of the old versions is left running.
    changed = {name for name in after if after[name]["version"] != before[name]["version"]}
    assert changed >= {WHERE, STILL, THROUGH}
    assert {after[name]["pid"] for name in changed}.isdisjoint(one["pid"] for one in before.values())
    assert len(containers(engine)) == 4
    assert through(engine, clone) == (True, True, ["hello on from a container (2)", "5"])


def test_a_killed_function_comes_back_at_its_endpoint(engine: Engine, clone: Repository) -> None:
    before = status(clone)[WHERE]
    os.kill(before["pid"], signal.SIGKILL)
    end = time.monotonic() + 60
    while not (now := status(clone)[WHERE])["ready"] or now["pid"] == before["pid"]:
        assert time.monotonic() < end, now
    assert now["endpoint"] == before["endpoint"]
    assert inspect(engine, WHERE)["RestartCount"] == 1
    assert '"event": "ready"' in deploy(clone, "logs", WHERE)


def test_what_does_not_start_says_why_and_what_served_serves_on(engine: Engine, clone: Repository) -> None:
    before = status(clone)
    broken = (
        WORK.replace('GREETING": "hello"', 'GREETING": "goodbye"')
        + "\nif 'TURBOLIFT_VERSION' in os.environ:\n    os._exit(7)\n"
    )
    clone.write({"examples/boxes/work.py": broken})
    done = clone.run_pants(["run", "deploy"], check=False)
    assert done.returncode != 0
    assert f"{WHERE}: did not start: it ended with exit code 7" in done.stdout + done.stderr
    assert status(clone) == before
    assert len(containers(engine)) == 4
    clone.write({"examples/boxes/work.py": WORK.replace("(1)", "(2)")})


def test_rollback_prune_down_and_destroy_leave_nothing(engine: Engine, clone: Repository) -> None:
    deploy(clone, "rollback")
    answer = clone.run_pants(["run", "deploy", "--", "call", WHERE, '{"word": "old"}']).stdout
    assert json.loads(answer) == "hello old from a container (1)"
    clone.write({"examples/boxes/work.py": WORK.replace("(1)", "(3)")})
    deploy(clone)
    would = deploy(clone, "prune", "--dry-run")
    images = engine.ask("images", "--format={{.Repository}}:{{.Tag}}").split()
    gone = [name for name in images if name in would]
    assert gone
    deploy(clone, "prune")
    assert set(engine.ask("images", "--format={{.Repository}}:{{.Tag}}").split()) == set(images) - set(gone)
    deploy(clone, "down")
    assert containers(engine) == []
    deploy(clone, "destroy")
    assert engine.ask("images", "--quiet") == ""
    assert engine.ask("network", "ls", "--quiet", "--filter=label=dev.turbolift.deployment") == ""


def test_without_an_engine_the_error_says_what_to_do(clone: Repository) -> None:
    for address, said in (
        ("unix:///nowhere/docker.sock", "no Docker engine answers at unix:///nowhere/docker.sock"),
        ("tcp://127.0.0.1:9", "is elsewhere"),
    ):
        done = clone.run_pants(["run", "deploy"], env={"DOCKER_HOST": address}, check=False)
        assert done.returncode != 0
        assert said in done.stderr
        assert "Traceback" not in done.stderr
