# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A function's image under a real Docker engine, with nothing allowed that it does not need.

Pants remembers that a test passed or was skipped; the engine is no input that it knows: `./pants test --force tests/e2e::`.
"""

from __future__ import annotations

import json
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.engine import Engine, running
from integration.repositories import Repository, temporary_clone

FUNCTION = "pricing.quote:quote"
TAG = "turbolift-e2e/quote:1"
ARGUMENTS = {"sku": "A-1", "quantity": 3}
SECONDS = 60.0
GLUTTON = "glutton.eat:eat"
GLUTTON_TAG = "turbolift-e2e/glutton:1"
# Another function: it holds as many megabytes as it is told to, and its app says what a caller sees of that.
SOURCES = {
    "examples/glutton/BUILD": """python_sources()
turbolift_functions(name="functions")
pex_binary(name="app", entry_point="app.py", layout="loose", execution_mode="venv")
""",
    "examples/glutton/eat.py": """from turbolift import Local, on


@on(Local(), timeout=60.0)
def eat(megabytes: int) -> int:
    held = [bytearray(b"x" * 2**20) for _ in range(megabytes)]
    return len(held)
""",
    "examples/glutton/app.py": """import sys

from glutton.eat import eat
from turbolift.errors import CallError

if __name__ == "__main__":
    try:
        print("returned", eat.call(int(sys.argv[1])))
    except CallError as error:
        print(type(error).__name__, error)
""",
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """An engine of our own."""
    with running() as one:
        yield one


@dataclass(frozen=True)
class Exported:
    """Two functions' images as `deploy -- export` writes them, what the quote answers on the local platform, and the route table
    there. The clone that they were built in is still there.
    """

    clone: Repository
    archive: Path
    glutton: Path
    digest: str
    answer: Any
    routes: Any


@pytest.fixture(scope="module")
def exported(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """The image of the example's quote. The engine comes first: without one there is no need to build."""
    folder = tmp_path_factory.mktemp("export")
    archive, glutton = folder / "quote.tar", folder / "glutton.tar"
    with temporary_clone() as clone:
        text = (clone.root / "BUILD").read_text("utf-8")
        functions = '["examples/pricing:functions#quote.quote", "examples/glutton:"]'
        mine = f'turbolift_deployment(name="e2e", platform="local", functions={functions})\n'
        clone.write({**SOURCES, "BUILD": f"{text}\n{mine}"})
        clone.run_pants(["run", "//:e2e"])
        deploy = ["run", "//:e2e", "--"]
        clone.run_pants([*deploy, "export", FUNCTION, str(archive), "--tag", TAG])
        clone.run_pants([*deploy, "export", GLUTTON, str(glutton), "--tag", GLUTTON_TAG])
        status = json.loads(clone.run_pants([*deploy, "status", "--json"]).stdout)
        answer = json.loads(clone.run_pants([*deploy, "call", FUNCTION, json.dumps(ARGUMENTS)]).stdout)
        (routes,) = clone.state.glob("turbolift/*/e2e/routes.json")
        table = json.loads(routes.read_text("utf-8"))
        clone.run_pants([*deploy, "destroy"])
        (digest,) = (one["image"] for one in status if one["function"] == FUNCTION)
        yield Exported(clone, archive, glutton, digest, answer, table)


@dataclass(frozen=True)
class Container:
    """A started container and where its port is published."""

    name: str
    url: str


@pytest.fixture
def container(engine: Engine, exported: Exported) -> Iterator[Container]:
    """The function in a container: read-only, of no user, without capabilities or new privileges."""
    restrictions = [
        "--read-only",
        "--tmpfs=/tmp",
        "--user=65532",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
    ]
    with started(engine, exported.archive, *restrictions, "--memory=256m", TAG) as one:
        yield one


@contextmanager
def started(engine: Engine, archive: Path, *arguments: str) -> Iterator[Container]:
    """Load an image, `docker run ARGUMENTS...` it with its port published, and yield when it is ready."""
    engine.run("load", "--input", str(archive))
    name = engine.ask("run", "--detach", "--publish=127.0.0.1::8080", *arguments)
    try:
        yield until_ready(engine, name)
    finally:
        engine.run("rm", "--force", name, check=False)


def until_ready(engine: Engine, name: str) -> Container:
    """Wait for /readyz; raises AssertionError with the container's log where it ends, or is not ready in a minute."""
    end = time.monotonic() + SECONDS
    while True:
        # A restarted container has another port.
        ports = engine.run("port", name, "8080/tcp", check=False).stdout.splitlines()
        one = Container(name, f"http://127.0.0.1:{ports[0].rsplit(':', 1)[1]}" if ports else "")
        try:
            with urllib.request.urlopen(f"{one.url}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return one
        except (OSError, ValueError):
            pass
        state = engine.ask("inspect", "--format={{.State.Status}}", name)
        if state not in ("running", "restarting") or time.monotonic() > end:
            logs = engine.run("logs", name, check=False)
            raise AssertionError(f"{name} is {state} and not ready: {logs.stdout}{logs.stderr}")
        time.sleep(0.1)


def call(container: Container, arguments: dict[str, Any]) -> Any:
    """Call the function as any HTTP client can."""
    request = urllib.request.Request(
        f"{container.url}/v1/functions/{FUNCTION}",
        json.dumps({"args": arguments}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["result"]


def test_the_loaded_image_is_the_built_one(engine: Engine, exported: Exported) -> None:
    engine.run("load", "--input", str(exported.archive))
    with tarfile.open(exported.archive) as archive:

        def document(name: str) -> Any:
            member = archive.extractfile(name)
            assert member is not None
            return json.load(member)

        manifest = document(f"blobs/sha256/{exported.digest.removeprefix('sha256:')}")
        config = document(f"blobs/sha256/{manifest['config']['digest'].removeprefix('sha256:')}")
    # Docker names an image by its configuration's digest, which in turn names every layer's content.
    assert engine.ask("image", "inspect", "--format={{.Id}}", TAG) == manifest["config"]["digest"]
    layers = json.loads(engine.ask("image", "inspect", "--format={{json .RootFS.Layers}}", TAG))
    assert layers == config["rootfs"]["diff_ids"]


def test_it_answers_under_all_restrictions(engine: Engine, exported: Exported, container: Container) -> None:
    assert call(container, ARGUMENTS) == exported.answer
    # The restrictions hold in the process itself.
    check = (
        "import os; status = open('/proc/1/status').read().split('\\n'); print(os.getuid(), "
        "[line.split()[1] for line in status if line.startswith(('CapEff', 'CapPrm', 'CapBnd', 'NoNewPrivs'))])"
    )
    python = json.loads(engine.ask("inspect", "--format={{json .Config.Entrypoint}}", container.name))[0]
    assert engine.ask("exec", container.name, python, "-c", check) == f"65532 {['0' * 16] * 3 + ['1']}"
    written = engine.run("exec", container.name, python, "-c", "open('/app/src/x', 'w')", check=False)
    assert written.returncode != 0
    assert "Read-only file system" in written.stderr


def test_what_the_function_raises_is_a_problem_document(container: Container) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        call(container, {"sku": "Z-9", "quantity": 1})
    with caught.value as error:
        assert error.headers["Content-Type"].startswith("application/problem+json")
        assert "UnknownArticle" in json.load(error)["exception"]["type"]


def test_sigterm_drains(engine: Engine, container: Container) -> None:
    assert call(container, ARGUMENTS)["sku"] == "A-1"
    engine.run("stop", "--time=30", container.name)
    # Killed at the end of its grace it would have left with 137.
    assert (
        engine.ask("inspect", "--format={{.State.ExitCode}} {{.State.OOMKilled}}", container.name)
        == "0 false"
    )


def test_out_of_memory_in_a_call_is_a_clear_error_and_the_function_comes_back(
    engine: Engine, exported: Exported
) -> None:
    limit = ["--memory=128m", "--memory-swap=128m", "--restart=always"]
    with started(engine, exported.glutton, *limit, GLUTTON_TAG) as container:

        def eat(megabytes: int, container: Container = container) -> str:
            route = {**exported.routes["routes"][GLUTTON], "endpoint": container.url}
            routes = json.dumps({**exported.routes, "platform": "docker", "routes": {GLUTTON: route}})
            env = {"TURBOLIFT": "on", "TURBOLIFT_ROUTES": routes}
            return exported.clone.run_pants(
                ["run", "examples/glutton:app", "--", str(megabytes)], env=env
            ).stdout

        def said_by_docker(what: str) -> str:
            return engine.ask("inspect", f"--format={{{{.{what}}}}}", container.name)

        assert eat(8) == "returned 8\n"
        assert said_by_docker("RestartCount") == "0"
        error, message = eat(4096).split(" ", 1)
        assert error == "MaybeExecuted", message
        assert GLUTTON in message
        again = until_ready(engine, container.name)
        assert said_by_docker("RestartCount") != "0"
        # Who killed it: nobody asked the engine to ("kill" is an event too), so 137 is the kernel's own SIGKILL. The engine's "oom"
        # event itself is no proof: it is read beside the container's end, and on some machines lost with its cgroup.
        events = engine.ask(
            "events",
            "--since=10m",
            # A duration would be cut to the whole second, and leave out what has just happened.
            f"--until={int(time.time()) + 1}",
            "--filter=event=die",
            "--filter=event=kill",
            f"--filter=container={container.name}",
            "--format={{.Action}} {{.Actor.Attributes.exitCode}}",
        )
        assert events.splitlines()[:1] == ["die 137"], events
        assert eat(8, again) == "returned 8\n"
