# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Several deploys at once, several clones, several deployments: none disturbs another."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from unit.deploy.deployments import DOUBLE, SLOW_START, Deployment, double, wait_for


def test_second_deploy_waits_for_the_first_and_says_for_whom(deployment: Deployment) -> None:
    first = deployment.start(bundle=deployment.bundle(DOUBLE, double=double(3, before=SLOW_START)))
    wait_for(lambda: deployment.state.is_dir() and deployment.processes())
    bundle = deployment.bundle(DOUBLE, double=double(5))
    refused = deployment.run("--wait", "0", bundle=bundle, code=1)
    assert f"is being changed by 'up' of process {first.pid}, since 20" in refused.stderr
    # Asking is always possible.
    assert deployment.status() == {}
    second = deployment.run(bundle=bundle)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert f"waiting for 'up' of process {first.pid}" in second.stderr
    assert "1 replaced" in second.stdout
    assert deployment.call() == 20
    assert len(deployment.processes()) == 1


def test_two_deploys_started_together_end_in_one_of_them(deployment: Deployment) -> None:
    bundles = [deployment.bundle(DOUBLE, double=double(factor)) for factor in (3, 5)]
    processes = [deployment.start(bundle=one) for one in bundles]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert deployment.call() in (12, 20)
    assert len(deployment.processes()) == 1
    assert deployment.routes["generation"] == 2


def test_lock_of_a_killed_run_is_free(deployment: Deployment) -> None:
    first = deployment.start(bundle=deployment.bundle(DOUBLE, double=double(3, before=SLOW_START)))
    wait_for(lambda: deployment.state.is_dir() and deployment.processes())
    first.kill()
    first.communicate()
    done = deployment.run("--wait", "0", bundle=deployment.bundle(DOUBLE, double=double()))
    assert "1 new" in done.stdout


def test_two_clones_of_one_name_never_touch_each_other(new_deployment: Callable[..., Deployment]) -> None:
    one, other = new_deployment(folder="a"), new_deployment(folder="b")
    assert one.workspace.name == other.workspace.name
    one.run(bundle=one.bundle(DOUBLE, double=double(3)))
    other.run(bundle=other.bundle(DOUBLE, double=double(5)))
    assert (one.call(), other.call()) == (12, 20)
    before = other.status()
    one.run("down")
    one.run("prune")
    one.run("destroy")
    assert other.status() == before
    assert other.call() == 20
    # Also what is started again from the shared layers.
    os.kill(before[DOUBLE]["pid"], signal.SIGKILL)
    wait_for(lambda: other.status()[DOUBLE]["ready"])


def test_two_deployments_of_one_workspace(
    new_deployment: Callable[..., Deployment], deployment: Deployment
) -> None:
    deployment.run(bundle=deployment.bundle(DOUBLE, double=double(3)))
    second = Deployment.__new__(Deployment)
    second.__dict__.update(deployment.__dict__, name="staging")
    done = second.run(bundle=deployment.bundle(DOUBLE, double=double(5)))
    try:
        assert "TURBOLIFT_DEPLOYMENT=staging TURBOLIFT=on" in done.stdout
        assert (deployment.call(), second.call()) == (12, 20)
    finally:
        second.run("destroy")
    assert deployment.call() == 12


def test_damaged_blob_is_copied_again(deployment: Deployment) -> None:
    deployment.run(bundle=deployment.bundle(DOUBLE, double=double()))
    bundle = deployment.bundle(DOUBLE, double=double(3))
    deployment.run(bundle=bundle)
    deployment.run("rollback")
    image = deployment.routes["routes"][DOUBLE]
    for path in (deployment.state / "blobs" / "sha256").iterdir():
        if path.stat().st_size < 5000:
            path.write_bytes(b"x" * path.stat().st_size)
    deployment.run(bundle=bundle)
    assert deployment.call() == 12
    assert deployment.routes["routes"][DOUBLE] != image
