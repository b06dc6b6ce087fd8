# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What dies is started again, by its supervisor or by the next deploy; what a killed deploy leaves is cleaned
up.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from turbolift.deploy.local.process import is_alive
from unit.deploy.deployments import DOUBLE, SLOW_START, Deployment, double, wait_for


def test_killed_function_comes_back_by_itself(deployment: Deployment) -> None:
    deployment.run(bundle=deployment.bundle(DOUBLE, double=double()))
    before = deployment.status()[DOUBLE]
    os.kill(before["pid"], signal.SIGKILL)
    after = wait_for(lambda: (one := deployment.status()[DOUBLE])["ready"] and one)
    assert after["pid"] != before["pid"]
    assert after["endpoint"] == before["endpoint"]
    assert after["restarts"] == 1
    assert deployment.call() == 8
    log = deployment.run("logs", "double").stdout
    assert f"process {before['pid']} was ended by SIGKILL" in log
    # A deploy of the same bundle sees nothing to do.
    assert deployment.routes["generation"] == 1


def test_function_that_ends_again_and_again_is_started_ever_more_slowly(deployment: Deployment) -> None:
    deployment.run(bundle=deployment.bundle(DOUBLE, double=double(extra="import os; os._exit(3)")))
    for _ in range(3):
        wait_for(lambda: deployment.status()[DOUBLE]["ready"])
        failed = deployment.run("call", "double", code=1)
        assert "cannot reach" in failed.stderr or "n" in failed.stderr
        deployment.run("call", "double", '{"n": 1}', code=1)
    log = deployment.run("logs", "double").stdout
    assert "ended with exit code 3" in log
    assert [f"is started again in {pause} s" in log for pause in ("0.1", "0.2", "0.4")] == [True] * 3


def test_function_whose_supervisor_was_killed_is_restarted_by_the_next_deploy(deployment: Deployment) -> None:
    bundle = deployment.bundle(DOUBLE, double=double())
    deployment.run(bundle=bundle)
    (live,) = deployment.processes()
    assert live.child is not None
    os.kill(live.supervisor["pid"], signal.SIGKILL)
    # A child does not outlive its supervisor: nobody would know of it.
    wait_for(lambda: not is_alive(live.child))
    assert deployment.status()[DOUBLE]["ready"] is False
    done = deployment.run(bundle=bundle)
    assert "1 restarted" in done.stdout
    assert deployment.call() == 8
    assert len(deployment.processes()) == 1


def test_after_a_reboot_no_process_is_taken_for_one_of_ours(deployment: Deployment) -> None:
    bundle = deployment.bundle(DOUBLE, double=double())
    deployment.run(bundle=bundle)
    (live,) = deployment.processes()
    (path,) = deployment.state.glob("processes/*.live")
    original = path.read_text("utf-8")
    # As after a reboot: the same numbers, another run of the kernel; they must never be signalled.
    document = json.loads(original)
    for one in ("supervisor", "child"):
        document[one]["boot"] = "another"
    path.write_text(json.dumps(document), "utf-8")
    assert deployment.status()[DOUBLE]["ready"] is False
    try:
        assert is_alive(live.supervisor)
    finally:
        path.write_text(original, "utf-8")


def test_deploy_killed_halfway_is_repaired_by_the_next(deployment: Deployment) -> None:
    deployment.run(bundle=deployment.bundle(DOUBLE, double=double()))
    before = deployment.status()
    bundle = deployment.bundle(DOUBLE, double=double(3, before=SLOW_START))
    process = deployment.start(bundle=bundle)
    wait_for(lambda: len(deployment.processes()) == 2)
    process.kill()
    process.communicate()
    # The old version serves on, the half-started one lingers.
    assert deployment.status() == before
    assert deployment.call() == 8
    lingering = [
        one for one in deployment.processes() if one.child and one.child["pid"] != before[DOUBLE]["pid"]
    ]
    assert len(lingering) == 1
    done = deployment.run(bundle=bundle)
    assert "as an interrupted run left it: shop.double:double" in done.stderr
    assert deployment.call() == 12
    assert len(deployment.processes()) == 1
    assert not any(is_alive(one.supervisor) or is_alive(one.child) for one in lingering)


def test_deploy_killed_before_it_retired_the_old_is_repaired(deployment: Deployment) -> None:
    deployment.run(bundle=deployment.bundle(DOUBLE, double=double()))
    bundle = deployment.bundle(DOUBLE, double=double(3))
    process = deployment.start("--retire-after", "60", bundle=bundle)
    wait_for(lambda: deployment.routes["generation"] == 2)
    process.kill()
    process.communicate()
    assert len(deployment.processes()) == 2
    assert deployment.call() == 12
    serving = deployment.status()
    done = deployment.run(bundle=bundle)
    assert "1 unchanged" in done.stdout
    assert deployment.status()[DOUBLE]["pid"] == serving[DOUBLE]["pid"]
    assert len(deployment.processes()) == 1


def test_supervisor_that_finds_its_record_gone_starts_nothing(deployment: Deployment) -> None:
    bundle = deployment.bundle(DOUBLE, double=double())
    deployment.run(bundle=bundle)
    (record,) = deployment.state.glob("processes/*.json")
    (live,) = deployment.processes()
    command = Path(f"/proc/{live.supervisor['pid']}/cmdline").read_bytes().split(b"\0")[:-1]
    environment = dict(
        one.split(b"=", 1)
        for one in Path(f"/proc/{live.supervisor['pid']}/environ").read_bytes().split(b"\0")
        if one
    )
    ghost = record.with_name("000000000000.json")
    command[-1] = os.fsencode(ghost)
    pid = os.posix_spawn(command[0], command, environment)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not ghost.with_suffix(".live").exists()


def test_broken_route_table_is_made_anew(deployment: Deployment) -> None:
    bundle = deployment.bundle(DOUBLE, double=double())
    deployment.run(bundle=bundle)
    (deployment.state / "routes.json").write_text('{"version": 1, "routes": ', "utf-8")
    failed = deployment.run("status", code=1)
    assert "routes.json:1:" in failed.stderr
    assert "is not JSON" in failed.stderr
    done = deployment.run(bundle=bundle)
    assert "it is made anew" in done.stderr
    assert deployment.call() == 8
    assert deployment.routes["generation"] == 2
    assert len(deployment.processes()) == 1


def test_down_also_stops_what_no_table_names(deployment: Deployment) -> None:
    deployment.run(bundle=deployment.bundle(DOUBLE, double=double()))
    process = deployment.start(bundle=deployment.bundle(DOUBLE, double=double(3, before=SLOW_START)))
    wait_for(lambda: len(deployment.processes()) == 2)
    process.kill()
    process.communicate()
    deployment.run("down")
    assert not deployment.running()
    assert deployment.routes["routes"] == {}


def test_function_that_ignores_its_end_is_killed(new_deployment: Callable[..., Deployment]) -> None:
    deployment = new_deployment()
    stuck = double(extra="import time; time.sleep(600)")
    deployment.run("--grace", "1", bundle=deployment.bundle(DOUBLE, double=stuck))
    call = deployment.start("call", "double", '{"n": 1}')
    wait_for(lambda: b" 1" in _running(deployment.status()[DOUBLE]["endpoint"]))
    deployment.run("--grace", "1", "down")
    call.communicate(timeout=60)
    assert call.returncode == 1
    assert not deployment.running()


def _running(endpoint: str) -> bytes:
    from turbolift.deploy.http import request

    body = request(endpoint, "GET", "/metrics", timeout=5).body
    return next((line for line in body.splitlines() if line.startswith(b"turbolift_calls_running{")), b"")
