# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The life of a server: start, readiness, drain, death; and a rollout under load."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from turbolift import ConnectError, ContractMismatchError, MaybeExecuted, Overloaded


def until(condition: Any, what: str) -> None:
    """Wait for `condition`; the limit is there to end a broken test."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)


def in_thread(call: Any) -> tuple[threading.Thread, list[Any]]:
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def test_probes_answer_while_the_module_is_imported(deployment: Any, tmp_path: Path, get: Any) -> None:
    go = tmp_path / "go"
    shim = deployment.start("served_slow:f", ready=False, GO=str(go))
    shim.wait_until(503, "/readyz")
    assert get(shim.endpoint, "/healthz")[0] == 200
    status, _, body = get(
        shim.endpoint, "", raw=b"POST /v1/functions/served_slow:f HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert (status, json.loads(body)["type"]) == (503, "urn:turbolift:problem:not-ready")
    go.touch()
    shim.wait_until(200)
    assert shim.stop() == 0


def test_a_call_waits_for_a_server_that_starts(deployment: Any, tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.touch()
    os.environ["GO"] = str(go)
    served_slow = importlib.import_module("served_slow")

    go.unlink()
    shim = deployment.start("served_slow:f", ready=False, GO=str(go))
    shim.wait_until(503, "/readyz")
    deployment.publish("served_slow:f", shim.endpoint)
    thread, outcome = in_thread(lambda: served_slow.f.call(1))
    go.touch()
    thread.join()
    assert outcome == [2]


def test_a_signal_while_starting_ends_at_once(deployment: Any, tmp_path: Path) -> None:
    shim = deployment.start("served_slow:f", ready=False, GO=str(tmp_path / "never"))
    shim.wait_until(503, "/readyz")
    assert shim.stop() == 0
    assert not shim.socket.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("name", ["act", "pact", "aact"])
def test_a_drain_finishes_the_call_that_runs(
    deployment: Any, served: Any, tmp_path: Path, number: int, name: str
) -> None:
    shim = deployment.start(f"served:{name}")
    marker = tmp_path / "marker"
    what = "wait" if name == "aact" else "sleep"
    thread, outcome = in_thread(lambda: getattr(served, name).call(what, str(marker), 0.6))
    until(marker.exists, "the call to run")
    assert shim.stop(number) == 0
    thread.join()
    assert outcome == ["waited" if name == "aact" else "slept"]
    assert not shim.socket.exists()


def test_a_signal_to_the_whole_group_drains_too(deployment: Any, served: Any, tmp_path: Path) -> None:
    shim = deployment.start("served:pact")
    marker = tmp_path / "marker"
    thread, outcome = in_thread(lambda: served.pact.call("sleep", str(marker), 0.6))
    until(marker.exists, "the call to run")
    for number in (signal.SIGINT, signal.SIGTERM):
        os.killpg(shim.process.pid, number)
    assert shim.process.wait(60) == 0
    thread.join()
    assert outcome == ["slept"]


def test_a_server_that_is_gone(deployment: Any, served: Any) -> None:
    shim = deployment.start("served:act")
    assert shim.stop() == 0
    with pytest.raises(ConnectError, match="the function did not run") as caught:
        served.act.call("echo", "x")
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.endpoint == shim.endpoint


def test_new_calls_are_refused_while_draining(deployment: Any, served: Any, tmp_path: Path) -> None:
    shim = deployment.start("served:act")
    marker = tmp_path / "marker"

    async def main() -> None:
        # Two calls, two open connections.
        await asyncio.gather(served.act("echo", "a"), served.act("echo", "b"))
        running = asyncio.create_task(served.act("sleep", str(marker), 1.0))
        while not marker.exists():
            await asyncio.sleep(0.01)
        shim.process.send_signal(signal.SIGTERM)
        while not shim.logged("draining"):
            await asyncio.sleep(0.01)
        with pytest.raises((Overloaded, ConnectError)) as caught:
            await served.act.with_options(timeout=30)("echo", "late")
        assert caught.value.function == "served:act"
        assert await running == "slept"

    asyncio.run(main())
    assert shim.stop() == 0


def test_the_grace_time_ends(deployment: Any, served: Any, tmp_path: Path) -> None:
    shim = deployment.start("served:act", "--grace", "0.2")
    marker = tmp_path / "marker"
    thread, outcome = in_thread(lambda: served.act.call("sleep", str(marker), 600.0))
    until(marker.exists, "the call to run")
    assert shim.stop() == 70
    thread.join()
    assert isinstance(outcome[0], MaybeExecuted)
    assert shim.logged("calls cut off")[0]["running"] == 1


@pytest.mark.parametrize("name", ["act", "pact"])
def test_when_the_grace_time_has_ended_no_answer_is_waited_for(
    deployment: Any, served: Any, tmp_path: Path, name: str
) -> None:
    # What a server leaves to last answers would be for ever: callers learn that they are cut off all the same.
    shim = deployment.start(f"served:{name}", "--grace", "0.2", PYTHONPATH=_patient(tmp_path))
    marker = tmp_path / "marker"
    thread, outcome = in_thread(lambda: getattr(served, name).call("sleep", str(marker), 600.0))
    until(marker.exists, "the call to run")
    assert shim.stop() == 70
    thread.join()
    assert isinstance(outcome[0], MaybeExecuted)


def _patient(folder: Path) -> str:
    """Return a path of modules on which servers leave last answers a day."""
    (folder / "sitecustomize.py").write_text(
        "import turbolift.shim.server as server\nserver.LAST_ANSWERS = server.LINGER = 86400.0\n"
    )
    return os.pathsep.join([str(folder), *filter(None, sys.path)])


@pytest.mark.parametrize("name", ["act", "pact"])
def test_killed_in_the_middle_of_a_call(deployment: Any, served: Any, tmp_path: Path, name: str) -> None:
    shim = deployment.start(f"served:{name}")
    marker = tmp_path / "marker"
    thread, outcome = in_thread(lambda: getattr(served, name).call("sleep", str(marker), 600.0))
    until(marker.exists, "the call to run")
    shim.stop(signal.SIGKILL)
    thread.join()
    assert isinstance(outcome[0], MaybeExecuted)
    assert outcome[0].function == f"served:{name}"
    assert "may or may not have run" in str(outcome[0])


def test_workers_end_with_their_server(deployment: Any, served: Any, tmp_path: Path) -> None:
    shim = deployment.start("served:pact")
    marker = tmp_path / "marker"
    worker = int(served.pact.call("pid"))
    thread, _ = in_thread(lambda: served.pact.call("sleep", str(marker), 600.0))
    until(marker.exists, "the call to run")
    shim.stop(signal.SIGKILL)
    thread.join()

    def gone() -> bool:
        try:
            return Path(f"/proc/{worker}/stat").read_text().split()[2] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    until(gone, "the workers to end")


# The server of a zygote, killed while a line of the zygote is unread; the worker's own channel stays open, in this test.
UNREAD = """
import os, signal, socket, sys
from turbolift.shim.workerproc import start_zygote

theirs = socket.socket(fileno=int(sys.argv[1]))
_, control, _ = start_zygote(None, 1, lambda: None)
socket.send_fds(control, [bytes(4)], [theirs.fileno()])
started = control.recv(1 << 10, socket.MSG_PEEK)  # it stays unread
print(started.decode(), end="", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_a_server_that_had_not_read_all() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = subprocess.run(
            [sys.executable, "-c", UNREAD, str(theirs.fileno())],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            pass_fds=[theirs.fileno()],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,  # the worker and the zygote hold its output open for as long as they live
        )
        assert server.returncode == -signal.SIGKILL, server.stderr
        theirs.close()
        assert json.loads(server.stdout)["started"] > 0
        # The last other holder of the channel is the worker: its end is the channel's.
        ours.settimeout(60)
        assert ours.recv(1) == b""


def test_a_dead_worker_fails_its_call_only(deployment: Any, served: Any) -> None:
    shim = deployment.start("served:pact")

    async def main() -> None:
        for what, said in (("die", "was killed by SIGKILL"), ("leave", "exited with status 5")):
            calls = [served.pact(what), *(served.pact("echo", str(i)) for i in range(20))]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(results[0], MaybeExecuted)
            assert said in str(results[0])
            assert results[1:] == [str(i) for i in range(20)]
        # Both are there again.
        pids = await asyncio.gather(*(served.pact("sleep", "/dev/null", 0.1) for _ in range(2)))
        assert pids == ["slept", "slept"]

    asyncio.run(main())
    assert len(shim.logged("worker replaced")) == 2
    assert shim.stop() == 0


def test_a_server_without_its_zygote_ends(deployment: Any, served: Any) -> None:
    shim = deployment.start("served:pact")
    worker = int(served.pact.call("pid"))
    zygote = int(Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[1])
    assert zygote != shim.process.pid
    os.kill(zygote, signal.SIGKILL)
    assert shim.process.wait(60) == 1


def test_an_idempotent_function_is_called_again(deployment: Any, served: Any, tmp_path: Path) -> None:
    first = deployment.start("served:once")
    marker = tmp_path / "marker"
    thread, outcome = in_thread(lambda: served.once.call(str(marker)))
    assert first.process.wait(60) == -signal.SIGKILL
    deployment.start("served:once")
    thread.join()
    assert outcome == ["ran again"]


def test_sockets_are_private_and_stale_ones_replaced(deployment: Any, served: Any) -> None:
    folder = deployment.folder / "new" / "deep"
    path = folder / "s"
    shim = deployment.start("served:act", "--uds", str(path), ready=False)
    shim.endpoint = f"unix://{path}"
    shim.wait_until()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    # A second server on the same path is refused, and the first goes on.
    second = deployment.start("served:act", "--uds", str(path), ready=False)
    assert second.process.wait(60) == 71
    assert "another server answers there" in second.text()
    # A killed one leaves its file.
    shim.stop(signal.SIGKILL)
    assert path.exists()
    third = deployment.start("served:act", "--uds", str(path), ready=False)
    third.endpoint = shim.endpoint
    third.wait_until()
    assert third.stop() == 0


def test_what_is_in_the_way_of_a_socket(deployment: Any) -> None:
    path = deployment.folder / "file"
    path.write_text("mine")
    shim = deployment.start("served:act", "--uds", str(path), ready=False)
    assert shim.process.wait(60) == 71
    assert path.read_text() == "mine"
    assert "no socket" in shim.text()
    long = deployment.folder / ("x" * 120)
    shim = deployment.start("served:act", "--uds", str(long), ready=False)
    assert shim.process.wait(60) == 71
    assert "longer than 107 bytes" in shim.text()


def test_over_tcp(deployment: Any, served: Any) -> None:
    shim = deployment.start("served:act", "--host", "127.0.0.1", "--port", "0", ready=False)
    until(lambda: shim.logged("ready"), "the server")
    shim.endpoint = shim.logged("ready")[0]["endpoint"]
    assert shim.endpoint.startswith("http://127.0.0.1:")
    deployment.publish("served:act", shim.endpoint)
    assert served.act.call("echo", "tcp") == "tcp"
    taken = deployment.start(
        "served:act", "--host", "127.0.0.1", "--port", shim.endpoint.rsplit(":")[-1], ready=False
    )
    assert taken.process.wait(60) == 71
    assert "Address already in use" in taken.text()


def test_two_versions_swapped_under_load(deployment: Any, served: Any) -> None:
    """Functions that are not idempotent: not one call is lost, through three rollouts."""
    current = deployment.start("served:quick")
    counts = {"calls": 0}

    async def main() -> None:
        nonlocal current
        stop = asyncio.Event()

        async def caller() -> None:
            while not stop.is_set():
                assert await served.quick("echo", "x") == "x"
                counts["calls"] += 1

        callers = [asyncio.create_task(caller()) for _ in range(8)]
        for _ in range(3):
            old = current
            # Starts, waits until it is ready, and switches the table in one step.
            current = await asyncio.to_thread(deployment.start, "served:quick")
            before = counts["calls"]
            assert await asyncio.to_thread(old.stop) == 0
            while counts["calls"] < before + 100:
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*callers)

    asyncio.run(main())
    assert counts["calls"] > 300


def test_a_rollout_with_another_signature_names_it(deployment: Any, served: Any) -> None:
    shim = deployment.start("served:act")
    deployment.publish("served:act", shim.endpoint, contract="sha256:" + "1" * 64)
    with pytest.raises(ContractMismatchError, match="deploy again"):
        served.act.call("echo", "x")


def test_a_caller_that_dies_frees_its_slot(deployment: Any, served: Any, tmp_path: Path, get: Any) -> None:
    shim = deployment.start("served:aact")
    marker = tmp_path / "marker"
    body = json.dumps({"args": {"what": "wait", "text": str(marker), "seconds": 600}}).encode()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(shim.socket))
    connection.sendall(
        b"POST /v1/functions/served:aact HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Turbolift-Deadline: 600\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    until(marker.exists, "the call to run")
    connection.close()
    until(lambda: marker.read_text() == "cancelled", "the cancellation")
    assert b'turbolift_calls_running{function="served:aact"} 0.0' in get(shim.endpoint, "/metrics")[2]


def test_warm_up_comes_before_ready(deployment: Any, served: Any) -> None:
    deployment.start("served:is_warm")
    assert served.is_warm.call() == 1
    failing = deployment.start("served:never_warm", ready=False)
    assert failing.process.wait(60) == 78
    assert failing.text().rstrip().splitlines()[-1] == (
        "turbolift: cannot warm up served:never_warm: served:cold failed: RuntimeError: no model file"
    )


@pytest.mark.parametrize(
    ("identity", "status", "last"),
    [
        (
            "served_broken:f",
            78,
            "turbolift: cannot import served_broken: ZeroDivisionError: division by zero",
        ),
        ("served_leaving:f", 78, "turbolift: cannot import served_leaving: SystemExit: no licence"),
        ("no_such:f", 78, "turbolift: cannot import no_such: ModuleNotFoundError: No module named 'no_such'"),
        (
            "served_untagged:f",
            78,
            "turbolift: served_untagged:f is a function, no tagged function: put @on(...) on it",
        ),
        (
            "served",
            78,
            "turbolift: 'served' is no identity: it must be module:function or module:Class.method",
        ),
    ],
)
def test_what_cannot_be_served_says_why(deployment: Any, identity: str, status: int, last: str) -> None:
    shim = deployment.start(identity, ready=False)
    assert shim.process.wait(60) == status
    assert shim.text().rstrip().splitlines()[-1] == last
    assert "turbolift/shim" not in shim.text()
    assert "importlib" not in shim.text()
    assert not shim.socket.exists()


def test_what_is_missing_is_named_with_its_file(deployment: Any, modules: Path) -> None:
    shim = deployment.start("served:nothing", ready=False)
    assert shim.process.wait(60) == 78
    assert shim.text() == f"turbolift: module served ({modules}/served.py) has no nothing\n"
    shim = deployment.start("served_hintless:f", ready=False)
    assert shim.process.wait(60) == 1
    assert f"{modules}/served_hintless.py:4" in shim.text().splitlines()[-1]
    assert "Traceback" not in shim.text()
