# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Each pod behind a Service is an endpoint of its own, on a real Kubernetes: followed, called in turn, left out alone."""

from __future__ import annotations

import json
from typing import Any

from e2e.app_bundles import APP, add_app
from e2e.kubernetes_cluster import ClusterDeployment, Namespace
from turbolift.deploy.k8s.names import function_name
from turbolift.deploy.k8s.objects import AUTOSCALER, DEPLOYMENT, POD, Object
from unit.deploy.deployments import wait_for

WHERE = "shop.where:where"
REPLICAS = 3
# One call at a time, by one caller that is never started again. A pod that is told to stands still, as one whose loop is
# blocked does: it takes connections, and answers nothing.
SOURCES = {
    "shop/__init__.py": "",
    "shop/where.py": f"""
import socket
import time
from turbolift import K8s, on

@on(K8s({REPLICAS}), timeout=30.0, idempotent=True, cpu="20m")
async def where(victim: str, seconds: float) -> str:
    if victim == socket.gethostname():
        time.sleep(seconds)
    return socket.gethostname()
""",
    "shop/app.py": f"""
import asyncio
import collections
import json
import signal
import sys
import time
from shop.where import where
from turbolift.client import default_caller

seen = collections.Counter()
failed = []

async def calls(count, victim="", seconds=0.0, **options):
    found = collections.Counter()
    for _ in range(count):
        try:
            found[await where.with_options(**options)(victim, seconds)] += 1
        except Exception as error:
            failed.append(repr(error))
        await asyncio.sleep(0.01)
    seen.update(found)
    return found

def say(phase, **facts):
    left_out = default_caller().health.left_out()
    connections = default_caller().transport.connections()
    print(json.dumps(dict(facts, phase=phase, failed=failed, left_out=left_out, connections=connections)), flush=True)

async def main():
    # The look-ups' answer comes while the first calls are made.
    while len(seen) < 1 or sum(seen.values()) < 100:
        await calls(10)
    say("one", counts=await calls(20))
    while len(seen) < {REPLICAS}:
        await calls(10)
    began = time.monotonic()
    await calls(10)
    say("all", counts=await calls(90))
    victim = min(seen)
    stuck = asyncio.create_task(calls(1, victim, 8.0, hedge=0.5))
    counts = collections.Counter()
    while not default_caller().health.left_out():
        # One of these meets the victim, which then stands still for all.
        counts += await calls(5, victim, 8.0, hedge=0.5)
    out = default_caller().health.left_out()
    say("stuck", victim=victim, out=out, counts=await calls(30, hedge=0.5))
    await stuck
    while (await calls(30, hedge=0.5))[victim] < 5:
        await asyncio.sleep(0.1)
    say("well", counts=await calls(90))
    await asyncio.Event().wait()

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    asyncio.run(main())
""",
}


def pods(namespace: Namespace, identity: str) -> list[Object]:
    return namespace.cluster.find(POD, labels=f"app.kubernetes.io/name={function_name(identity)}")


def said(namespace: Namespace) -> dict[str, Any]:
    """Return what the app has said, by phase."""
    (pod,) = pods(namespace, APP)
    lines = namespace.cluster.log(pod["metadata"]["name"], lines=None, container="app")
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return {one["phase"]: one for one in found}


def test_each_pod_is_an_endpoint(deployment: ClusterDeployment, namespace: Namespace) -> None:
    functions = deployment.bundle(WHERE, platform=None, where=SOURCES)
    deployment.run(bundle=add_app(deployment.workshop, functions, SOURCES))
    wait_for(lambda: "one" in said(namespace))
    (only,) = said(namespace)["one"]["counts"]
    (live,) = pods(namespace, WHERE)
    assert only == live["metadata"]["name"]
    (caller,) = pods(namespace, APP)

    # What is added is called, by the same process, though it has a connection that nobody ends.
    for kind, change in (
        (AUTOSCALER, {"minReplicas": REPLICAS}),
        (DEPLOYMENT, {"replicas": REPLICAS}),
    ):
        name = next(
            one["metadata"]["name"]
            for one in namespace.cluster.find(kind)
            if one["metadata"]["labels"]["app.kubernetes.io/name"] == function_name(WHERE)
        )
        path = kind.path(namespace.name, name)
        body = {"spec": change}
        namespace.cluster.json("PATCH", path, body=body, content_type="application/merge-patch+json")
    wait_for(lambda: "all" in said(namespace))
    everybody = {one["metadata"]["name"]: one["status"]["podIP"] for one in pods(namespace, WHERE)}
    shared = said(namespace)["all"]
    assert shared["counts"] == dict.fromkeys(everybody, 30)
    assert shared["failed"] == []
    # One call at a time: one connection to each, and what is left of that to the Service.
    direct = {endpoint: n for endpoint, n in shared["connections"].items() if ".svc:" not in endpoint}
    assert direct == {f"https://{ip}:8080": 1 for ip in everybody.values()}

    # One that stands still is left out, alone, and no call is lost.
    wait_for(lambda: "well" in said(namespace))
    stuck, well = said(namespace)["stuck"], said(namespace)["well"]
    assert stuck["out"] == [f"https://{everybody[stuck['victim']]}:8080"]
    assert set(stuck["counts"]) == everybody.keys() - {stuck["victim"]}
    assert well["failed"] == []
    assert set(well["counts"]) == everybody.keys()
    (same,) = pods(namespace, APP)
    assert same["metadata"]["uid"] == caller["metadata"]["uid"]
    assert same["status"]["containerStatuses"][0]["restartCount"] == 0
    deployment.run("destroy")
    assert namespace.ours() == []
