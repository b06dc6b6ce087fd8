# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Many functions, many replicas, and who may call them, on a real Kubernetes."""

from __future__ import annotations

import sys
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from e2e.kubernetes_cluster import ClusterDeployment, Namespace
from turbolift.deploy.k8s.cluster import ApiError
from turbolift.deploy.k8s.names import CALLER
from turbolift.deploy.k8s.objects import DEPLOYMENT, POD
from turbolift.deploy.k8s.pod import CONTAINER_SECURITY, POD_SECURITY
from unit.deploy.deployments import DOUBLE, wait_for

SECONDS = 180.0
MANY = 20
BUSY = """
import os
from turbolift import K8s, on

@on(K8s(3), timeout=60.0, cpu="100m")
def double(n: int) -> int:
    import time
    if "TURBOLIFT_VERSION" not in os.environ:
        return 0
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    return 2 * n
"""
CALLS = """
import sys
sys.path.insert(0, sys.argv[1])
from shop.double import double
while sum(double.map(range(20), concurrency=8).call()) == 380:
    pass
"""


def test_twenty_functions_are_deployed_and_left_alone(
    deployment: ClusterDeployment, namespace: Namespace
) -> None:
    names = [f"f{number}" for number in range(MANY)]
    functions = "".join(
        f"\n@on(K8s(), cpu='20m')\ndef {name}() -> str:\n    return '{name}'\n" for name in names
    )
    sources = {"shop/many.py": f"from turbolift import K8s, on\n{functions}"}
    bundle = deployment.bundle(
        *(f"shop.many:{name}" for name in names), platform=None, **dict.fromkeys(names, sources)
    )
    begin = time.monotonic()
    done = deployment.run("--ready-timeout", "100", bundle=bundle)
    print(f"{MANY} functions were ready {time.monotonic() - begin:.1f} s after the deploy began")
    assert f"{MANY} functions: {MANY} new" in done.stdout
    status = deployment.status()
    assert {one["ready"] for one in status.values()} == {True}
    assert len(status) == MANY
    assert deployment.call("many:f7", "{}") == "f7"
    before = namespace.fingerprints()
    assert len(before) == MANY * 5 + 1
    done = deployment.run(bundle=bundle)
    assert f"{MANY} functions: {MANY} unchanged" in done.stdout
    assert namespace.fingerprints() == before
    deployment.run("destroy")
    assert namespace.ours() == []


def test_a_busy_function_gets_replicas(deployment: ClusterDeployment, namespace: Namespace) -> None:
    try:
        namespace.cluster.json("GET", "/apis/metrics.k8s.io/v1beta1/nodes")
    except ApiError as error:
        pytest.skip(f"this cluster serves no metrics to scale by: {error}")
    bundle = deployment.bundle(DOUBLE, platform=None, double={"shop/double.py": BUSY})
    deployment.run(bundle=bundle)
    assert deployment.status()[DOUBLE]["replicas"] == [1, 1]
    folder = deployment.root / "app"
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "double.py").write_text(BUSY)
    calls = deployment.start("forward", "--", sys.executable, "-c", CALLS, str(folder))
    try:

        def grown() -> bool:
            assert calls.poll() is None, calls.communicate()
            (live,) = namespace.cluster.find(DEPLOYMENT)
            return int((live.get("status") or {}).get("readyReplicas", 0)) > 1

        wait_for(grown, SECONDS)
    finally:
        # The calling program is a child of it, and ends with its functions.
        deployment.run("destroy")
        calls.terminate()
        calls.communicate(timeout=SECONDS)


def test_only_labelled_pods_reach_a_function(deployment: ClusterDeployment, namespace: Namespace) -> None:
    deployment.run(bundle=deployment.double())
    (live,) = namespace.cluster.find(DEPLOYMENT)
    image = live["spec"]["template"]["spec"]["containers"][0]["image"]
    endpoint = urlsplit(deployment.status()[DOUBLE]["endpoint"])
    script = (
        "import socket, sys, time\n"
        f"address = {(endpoint.hostname, endpoint.port)!r}\n"
        "while True:\n"
        "    try:\n"
        "        socket.create_connection(address, 3).close()\n"
        "        print('open', flush=True)\n"
        "    except OSError as error:\n"
        "        print('closed', error, flush=True)\n"
        "    time.sleep(0.2)\n"
    )

    def pod(name: str, labels: dict[str, str]) -> dict[str, Any]:
        container = {
            "name": "app",
            "image": image,
            "command": ["/usr/bin/python3.11", "-c", script],
            "securityContext": CONTAINER_SECURITY,
        }
        spec = {
            "securityContext": POD_SECURITY,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        }
        meta = {"name": name, "labels": labels}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}

    def last(name: str) -> str:
        return "".join(namespace.cluster.log(name, lines=1, container="app"))

    namespace.create(pod("caller", {CALLER: "deploy"}))
    namespace.create(pod("stranger", {"app": "stranger"}))
    wait_for(lambda: last("caller") == "open", SECONDS)
    if not namespace.real.enforces_policies:
        pytest.skip("the policy is admitted; whether this cluster's network plugin enforces it is not known")
    wait_for(lambda: last("stranger").startswith("closed"), SECONDS)
    # Named as a caller, it is let in: nothing else kept it out.
    stranger = POD.path(namespace.name, "stranger")
    body = {"metadata": {"labels": {CALLER: "deploy"}}}
    namespace.cluster.json("PATCH", stranger, body=body, content_type="application/merge-patch+json")
    wait_for(lambda: last("stranger") == "open", SECONDS)
