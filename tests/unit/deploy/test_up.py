# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Real rollouts on this machine: what starts, what stays, what is switched, and what a caller sees meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from unit.deploy.deployments import BROKEN_START, DOUBLE, Deployment, double, wait_for

PLUS = "shop.plus:plus"
LOAD = """
import asyncio, collections, json, pathlib, sys
from shop.double import double

async def main(stop: pathlib.Path) -> None:
    results, failures = collections.Counter(), collections.Counter()

    async def caller(n: int) -> None:
        while not stop.exists():
            try:
                results[await double(n) // n] += 1
            except Exception as error:
                failures[f"{type(error).__name__}: {error}"] += 1

    await asyncio.gather(*(caller(n) for n in range(1, 17)))
    print(json.dumps({"results": results, "failures": failures}))

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


def plus() -> dict[str, str]:
    """Return the sources of a function that calls `double`."""
    text = """
from shop.double import double
from turbolift import Local, on

@on(Local(), env={"STEP": "1"})
async def plus(n: int) -> int:
    import os
    return await double(n) + int(os.environ["STEP"])
"""
    return {**double(), "shop/plus.py": text}


@contextmanager
def load(deployment: Deployment, sources: dict[str, str]) -> Iterator[dict[str, dict[str, int]]]:
    """Call ``double`` without a pause, 16 in flight, by the real client; the dict is filled at the end."""
    tree = deployment.root / "caller"
    for name, text in sources.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text, "utf-8")
    stop = deployment.root / "stop"
    env = {
        **deployment.env,
        "PYTHONPATH": os.pathsep.join([str(tree), deployment.env["PYTHONPATH"]]),
        "TURBOLIFT": "on",
        "TURBOLIFT_ROUTES": str(deployment.state / "routes.json"),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD, str(stop)], env=env, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, dict[str, int]] = {}
    try:
        yield found
    finally:
        stop.touch()
        out, _ = process.communicate(timeout=60)
    found.update(json.loads(out))


def calls_of(deployment: Deployment) -> int:
    """Return how many calls the current process of ``double`` has answered."""
    return int(deployment.status()[DOUBLE]["calls"] or 0)


def test_first_deploy_serves_every_function_and_says_how_to_use_it(deployment: Deployment) -> None:
    done = deployment.run(bundle=deployment.bundle(DOUBLE, PLUS, double=double(), plus=plus()))
    routes = deployment.state / "routes.json"
    assert "2 functions: 2 new; route table 1" in done.stdout
    assert f"TURBOLIFT=on TURBOLIFT_ROUTES={routes}" in done.stdout
    status = deployment.status()
    assert {one["ready"] for one in status.values()} == {True}
    assert {one["platform"] for one in status.values()} == {"local"}
    for one in status.values():
        assert deployment.routes["routes"][one["function"]]["endpoint"] == one["endpoint"]
        socket = Path(one["endpoint"].removeprefix("unix://"))
        assert socket.is_socket()
        assert socket.parent.stat().st_mode & 0o777 == 0o700
    assert deployment.state.stat().st_mode & 0o777 == 0o700
    # `plus` calls `double` by the same table.
    assert deployment.call("plus", '{"n": 5}') == 11
    assert calls_of(deployment) == 1


def test_functions_run_from_the_layers_after_the_bundle_is_gone(deployment: Deployment) -> None:
    bundle = deployment.bundle(DOUBLE, double=double())
    deployment.run(bundle=bundle)
    subprocess.run(["rm", "-r", str(bundle)], check=True)
    pid = deployment.status()[DOUBLE]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: deployment.status()[DOUBLE]["ready"])
    maps = Path(f"/proc/{deployment.status()[DOUBLE]['pid']}/maps").read_text("utf-8")
    # All code is from the layers: the interpreter, the C library and the loader too.
    code = {line.split(None, 5)[5] for line in maps.splitlines() if "/" in line and "x" in line.split()[1]}
    layers = str(Path(deployment.env["XDG_STATE_HOME"], "turbolift", "layers"))
    assert any("libc.so" in one for one in code)
    assert {one for one in code if not one.startswith(layers)} == set()


def test_unchanged_deploy_touches_nothing(deployment: Deployment) -> None:
    bundle = deployment.bundle(DOUBLE, double=double())
    deployment.run(bundle=bundle)
    before, table = deployment.status(), (deployment.state / "routes.json").stat()
    done = deployment.run("--platform", "local", bundle=bundle)
    assert "1 function: 1 unchanged; route table 1" in done.stdout
    assert deployment.status() == before
    after = (deployment.state / "routes.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (table.st_ino, table.st_mtime_ns)


def test_edit_replaces_one_function_and_loses_no_call(deployment: Deployment) -> None:
    other = double(7)
    deployment.run(bundle=deployment.bundle(DOUBLE, "shop.seven:seven", double=double(), seven=seven()))
    before = deployment.status()
    with load(deployment, double()) as seen:
        wait_for(lambda: calls_of(deployment) > 200)
        done = deployment.run(
            bundle=deployment.bundle(DOUBLE, "shop.seven:seven", double=other, seven=seven())
        )
        wait_for(lambda: calls_of(deployment) > 200)
        deployment.run("rollback", "double")
        wait_for(lambda: calls_of(deployment) > 200)
    after = deployment.status()
    assert "2 functions: 1 unchanged, 1 replaced" in done.stdout
    assert after["shop.seven:seven"] == before["shop.seven:seven"]
    assert after[DOUBLE]["version"] == before[DOUBLE]["version"]
    assert after[DOUBLE]["pid"] != before[DOUBLE]["pid"]
    assert seen["failures"] == {}
    assert set(seen["results"]) == {"2", "7"}
    # What was replaced is gone, its record too.
    assert len(deployment.processes()) == 2
    assert before[DOUBLE]["pid"] not in deployment.running()


def seven() -> dict[str, str]:
    """Return the sources of a function that nobody edits."""
    text = "from turbolift import Local, on\n\n@on(Local())\ndef seven() -> int:\n    return 7\n"
    return {"shop/__init__.py": "", "shop/seven.py": text}


def test_calls_in_flight_end_on_the_old_version(deployment: Deployment) -> None:
    slow = double(extra="import time; time.sleep(3)")
    deployment.run(bundle=deployment.bundle(DOUBLE, double=slow))
    call = deployment.start("call", "double", '{"n": 21}')
    status = deployment.status()
    wait_for(lambda: b"turbolift_calls_running" in _metrics(status[DOUBLE]["endpoint"]))
    wait_for(
        lambda: (
            b'turbolift_calls_running{function="shop.double:double"} 1'
            in _metrics(status[DOUBLE]["endpoint"])
        )
    )
    deployment.run(bundle=deployment.bundle(DOUBLE, double=double(5)))
    out, err = call.communicate(timeout=60)
    assert (call.returncode, out.strip(), err) == (0, "42", "")
    assert deployment.call() == 20


def _metrics(endpoint: str) -> bytes:
    from turbolift.deploy.http import request

    return request(endpoint, "GET", "/metrics", timeout=5).body


def test_broken_new_version_leaves_the_old_one_serving(deployment: Deployment) -> None:
    deployment.run(bundle=deployment.bundle(DOUBLE, double=double()))
    before, table = deployment.status(), (deployment.state / "routes.json").read_bytes()
    bundle = deployment.bundle(DOUBLE, "shop.seven:seven", double=double(before=BROKEN_START), seven=seven())
    done = deployment.run(bundle=bundle, code=1)
    assert "1 of 2 functions did not start; nothing was switched" in done.stderr
    assert "shop.double:double: did not start: it ended with exit code 78" in done.stderr
    assert "No module named 'frobnicate'" in done.stderr
    assert deployment.status() == before
    assert (deployment.state / "routes.json").read_bytes() == table
    assert deployment.call() == 8
    # What this run had started, the good function too, was stopped.
    assert len(deployment.processes()) == 1
    # And the next good deploy is an ordinary one.
    deployment.run(bundle=deployment.bundle(DOUBLE, double=double(3)))
    assert deployment.call() == 12


def test_not_ready_in_time_says_so(deployment: Deployment) -> None:
    slow = double(before="import os, time\nif os.environ['TURBOLIFT'] == 'on':\n    time.sleep(60)")
    done = deployment.run("--ready-timeout", "1.5", bundle=deployment.bundle(DOUBLE, double=slow), code=1)
    assert "was not ready within 1.5 s" in done.stderr
    assert "--ready-timeout" in done.stderr
    assert deployment.status() == {}
    assert not deployment.running()


def test_renamed_function_is_retired(deployment: Deployment) -> None:
    deployment.run(bundle=deployment.bundle(DOUBLE, "shop.seven:seven", double=double(), seven=seven()))
    renamed = {
        "shop/__init__.py": "",
        "shop/twice.py": double()["shop/double.py"].replace("def double", "def twice"),
    }
    done = deployment.run(
        bundle=deployment.bundle("shop.twice:twice", "shop.seven:seven", twice=renamed, seven=seven())
    )
    assert "1 new, 1 unchanged, 1 retired" in done.stdout
    assert f"retired (renamed, deleted or left out): {DOUBLE}" in done.stdout
    assert set(deployment.status()) == {"shop.twice:twice", "shop.seven:seven"}
    assert set(deployment.routes["routes"]) == {"shop.twice:twice", "shop.seven:seven"}
    failed = deployment.run("call", DOUBLE, '{"n": 1}', code=1)
    assert "no such function is deployed" in failed.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_interrupted_deploy_stops_what_it_started(
    deployment: Deployment, number: signal.Signals, code: int
) -> None:
    deployment.run(bundle=deployment.bundle(DOUBLE, double=double()))
    before = deployment.status()
    slow = double(3, before="import os, time\nif os.environ['TURBOLIFT'] == 'on':\n    time.sleep(30)")
    process = deployment.start(bundle=deployment.bundle(DOUBLE, double=slow))
    wait_for(lambda: len(deployment.processes()) == 2)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "stopping what this run started: shop.double:double" in err
    assert "what served before serves on" in err
    assert "Traceback" not in err
    assert deployment.status() == before
    assert len(deployment.processes()) == 1


def test_live_table_on_a_terminal(deployment: Deployment) -> None:
    bundle = deployment.bundle(DOUBLE, double=double())
    terminal, other = pty.openpty()
    process = subprocess.Popen(
        deployment.command(bundle=bundle),
        env={**deployment.env, "TERM": "xterm", "COLUMNS": "200", "LINES": "50"},
        stdin=other,
        stdout=other,
        stderr=other,
    )
    os.close(other)
    said = b""
    # Reading a terminal whose other end is closed is an error, not an end of file.
    with contextlib.suppress(OSError):
        while data := os.read(terminal, 4096):
            said += data
    os.close(terminal)
    assert process.wait(30) == 0
    text = said.decode()
    assert "starting" in text
    last = text[text.rindex("ready in") :]
    assert "shop.double:double" in last
    assert str(deployment.status()[DOUBLE]["pid"]) in last
    assert f"TURBOLIFT_ROUTES={deployment.state / 'routes.json'}" in last
