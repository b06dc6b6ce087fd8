# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Apps on a real Kubernetes: they call exactly the versions that they were packaged with, for as long as they run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e2e.app_bundles import APP, add_app
from e2e.kubernetes_cluster import ClusterDeployment, Namespace, sources
from turbolift.deploy.k8s.names import function_name
from turbolift.deploy.k8s.objects import DEPLOYMENT, JOB, POD, Object
from unit.deploy.deployments import DOUBLE, wait_for

LOOP = """
import signal
import sys
import time
from shop.double import double

if __name__ == "__main__":
    # The first process of a container ignores what it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    {first}
    while True:
        print("result", double.call(4), flush=True)
        time.sleep(0.1)
"""
ONCE = """
import sys
from shop.double import double

if __name__ == "__main__":
    print("result", double.call(int(sys.argv[1])), flush=True)
"""


def bundle(
    deployment: ClusterDeployment,
    factor: int,
    text: str,
    kind: str = "deployment",
    args: tuple[str, ...] = (),
) -> Path:
    """Write a bundle of the function and an app that calls it."""
    functions = deployment.double(factor)
    files = {**sources(factor), "shop/app.py": text}
    return add_app(deployment.workshop, functions, files, kind=kind, args=list(args))


def pods(namespace: Namespace) -> list[Object]:
    """Return the app's pods."""
    return namespace.cluster.find(POD, labels=f"app.kubernetes.io/name={function_name(APP)}")


def last_results(namespace: Namespace, lines: int = 1) -> list[str]:
    """Return the last lines of the app's running pod."""
    (pod,) = (one for one in pods(namespace) if not one["metadata"].get("deletionTimestamp"))
    return list(namespace.cluster.log(pod["metadata"]["name"], lines=lines, container="app"))


def app_status(deployment: ClusterDeployment) -> list[dict[str, Any]]:
    """Return what `status` says of apps."""
    return [one for one in json.loads(deployment.run("status", "--json").stdout) if "app" in one]


def versions(namespace: Namespace) -> Iterator[str]:
    """Yield the versions of the function that are there."""
    labels = f"app.kubernetes.io/name={function_name(DOUBLE)}"
    return (
        one["metadata"]["labels"]["app.kubernetes.io/version"]
        for one in namespace.cluster.find(DEPLOYMENT, labels=labels)
    )


def test_an_app_calls_the_versions_of_its_bundle_while_it_runs(
    deployment: ClusterDeployment, namespace: Namespace
) -> None:
    first = bundle(deployment, 2, LOOP.format(first="pass"))
    said = deployment.run(bundle=first)
    assert f"app {APP}" in said.stderr
    wait_for(lambda: "result 8" in last_results(namespace))
    (old,) = versions(namespace)
    assert "unchanged" in deployment.run(bundle=first).stdout
    (pod,) = pods(namespace)
    (one,) = app_status(deployment)
    assert (one["kind"], one["ready"], one["state"], one["replicas"]) == ("deployment", True, "ready", [1, 1])
    assert set(deployment.run("logs", "app", "-n", "3").stdout.splitlines()) == {"result 8"}

    # A new version of the function, and an app that ends at once: the old app runs on, and what it calls stays.
    broken = bundle(deployment, 3, LOOP.format(first="raise SystemExit('no settings')"))
    failed = deployment.run(bundle=broken, code=1)
    assert f"app {APP}: did not start" in failed.stderr
    assert "no settings" in failed.stderr
    assert deployment.call() == 12
    assert old in set(versions(namespace))
    (survivor,) = (one for one in pods(namespace) if one["metadata"]["uid"] == pod["metadata"]["uid"])
    assert set(namespace.cluster.log(survivor["metadata"]["name"], lines=5, container="app")) == {"result 8"}
    (one,) = app_status(deployment)
    assert not one["ready"]
    assert "exit code 1" in one["state"]
    assert "1 of the version before still run" in one["state"]
    assert "an app is pinned to it: it stays" in deployment.run("prune").stderr
    assert old in set(versions(namespace))

    # The app is mended: it calls the new version, and the old one goes.
    mended = bundle(deployment, 3, LOOP.format(first="pass"))
    deployment.run(bundle=mended)
    wait_for(lambda: "result 12" in last_results(namespace))
    assert old not in set(versions(namespace))
    deployment.run("down")
    wait_for(lambda: not pods(namespace))
    deployment.run("destroy")
    assert namespace.ours() == []


def test_an_app_goes_back_to_its_version_before_and_to_what_that_calls(
    deployment: ClusterDeployment, namespace: Namespace
) -> None:
    deployment.run(bundle=bundle(deployment, 2, LOOP.format(first="pass")))
    (old,) = versions(namespace)
    deployment.run(bundle=bundle(deployment, 3, LOOP.format(first="pass")))
    wait_for(lambda: last_results(namespace) == ["result 12"])
    (new,) = versions(namespace)

    # The app alone: what it calls is started again beside what serves, and gets no other calls.
    deployment.run("rollback", APP)
    wait_for(lambda: last_results(namespace) == ["result 8"])
    assert set(versions(namespace)) == {old, new}
    assert deployment.call() == 12
    deployment.run("rollback", APP)
    wait_for(lambda: last_results(namespace) == ["result 12"])
    assert list(versions(namespace)) == [new]

    # All of it: the last that was there before, which is the app's version before with the function that serves.
    deployment.run("rollback")
    wait_for(lambda: last_results(namespace) == ["result 8"])
    deployment.run("rollback", "double")
    assert deployment.call() == 8
    wait_for(lambda: list(versions(namespace)) == [old])
    deployment.run("down")
    assert app_status(deployment) == []
    deployment.run("rollback")
    wait_for(lambda: last_results(namespace) == ["result 8"])
    assert deployment.call() == 8
    deployment.run("destroy")
    assert namespace.ours() == []


def test_a_job_runs_once_at_each_version(deployment: ClusterDeployment, namespace: Namespace) -> None:
    first = bundle(deployment, 2, ONCE, "job", ("21",))
    deployment.run(bundle=first)

    def finished() -> list[str]:
        return [
            one["metadata"]["uid"]
            for one in namespace.cluster.find(JOB, labels="app.kubernetes.io/managed-by=turbolift")
            if (one.get("status") or {}).get("succeeded") == 1
        ]

    (uid,) = wait_for(finished)
    assert last_results(namespace) == ["result 42"]
    (one,) = app_status(deployment)
    assert (one["kind"], one["ready"], one["state"]) == ("job", True, "finished")
    assert deployment.run("logs", APP).stdout == "result 42\n"
    assert "it ran once at its version" in deployment.run("rollback", APP, code=1).stderr
    deployment.run(bundle=first)
    assert finished() == [uid]

    deployment.run(bundle=bundle(deployment, 2, ONCE, "job", ("22",)))
    wait_for(lambda: [one for one in finished() if one != uid])
    assert last_results(namespace) == ["result 44"]
    # What ran before is taken away with its table.
    deployment.run(bundle=bundle(deployment, 2, ONCE, "job", ("22",)))
    assert uid not in finished()
    deployment.run("destroy")
    assert namespace.ours() == []
