# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The test cluster itself: it starts once, runs pods from its registry, resolves names, keeps policies, and leaves nothing behind.

It runs beside a cluster that a person has up: it has a name, a network and a state folder of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    not os.environ.get("TURBOLIFT_TEST_CLUSTER"),
    reason="set TURBOLIFT_TEST_CLUSTER=yes: Kubernetes is built first",
)

PROGRAM = Path("build-support/cluster/cluster").resolve()
NAME = f"test-{os.getpid()}"
SECONDS = 90.0
WEB = """
apiVersion: v1
kind: Namespace
metadata: {name: web, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: IMAGE
        args: ["-c", "hostname > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]
        ports: [{name: http, containerPort: 8080}]
        resources: {requests: {cpu: 10m}}
        readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
        securityContext: RESTRICTED
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Pod
metadata: {name: caller, namespace: web, labels: {app: caller}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: caller, image: IMAGE, args: ["-c", "sleep 3600"], securityContext: RESTRICTED}
"""
RESTRICTED = "{runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}"
CLOSED = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: web}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {may-call: web}}}], ports: [{port: http}]}]
"""
BUSY = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: busy, namespace: default}
spec:
  selector: {matchLabels: {app: busy}}
  template:
    metadata: {labels: {app: busy}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: busy, image: IMAGE, args: ["-c", "while true; do true; done"], resources: {requests: {cpu: 50m}, limits: {cpu: 100m}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: busy, namespace: default}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: busy}
  minReplicas: 1
  maxReplicas: 2
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
"""


@dataclass(frozen=True)
class Traces:
    """What a cluster could leave on the machine."""

    links: set[str]
    routes: set[str]
    mounts: set[str]
    cgroups: set[str]


def traces() -> Traces:
    """Return the links, routes, mounts and cgroups of this machine, but for what its other programs come and go with."""
    env = {**os.environ, "PATH": f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"}

    def ip(*words: str) -> list[dict[str, Any]]:
        done = subprocess.run(["ip", "-json", *words], env=env, capture_output=True, check=True)
        found: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
        return found

    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    return Traces(
        links={one["ifname"] for one in ip("link")},
        routes={f"{one['dst']} {one.get('dev', one.get('type'))}" for one in ip("-4", "route")},
        mounts=mounts,
        cgroups={str(path) for path in Path("/sys/fs/cgroup").glob("*/*") if path.is_dir()}
        | {str(path) for path in Path("/sys/fs/cgroup").glob("*") if path.is_dir()},
    )


def cluster(
    *arguments: str, check: bool = True, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `cluster --name NAME ARGUMENTS...`."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--name", NAME, *arguments],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert not check or done.returncode == 0, f"cluster {arguments}: {done.stdout}{done.stderr}"
    return done


def kubectl(*arguments: str, check: bool = True, stdin: str | None = None) -> str:
    """Run kubectl and return what it prints."""
    return cluster("kubectl", *arguments, check=check, stdin=stdin).stdout


def until(what: str, *arguments: str, says: str) -> str:
    """Ask kubectl again until it prints a text; returns all that it printed then."""
    end = time.monotonic() + SECONDS
    while says not in (said := kubectl(*arguments, check=False)):
        assert time.monotonic() < end, f"{what}: waited {SECONDS:.0f} s for {says!r}, and there is {said!r}"
        time.sleep(0.2)
    return said


def inside() -> set[tuple[int, str]]:
    """Return all processes in the pid namespaces of the cluster's nodes: pid and start time."""
    spaces = set()
    for file in state_folder().glob("node-*/init"):
        spaces.add(os.readlink(f"/proc/{file.read_text().split()[0]}/ns/pid"))
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(folder / "ns/pid") in spaces:
                found.add((int(folder.name), started(int(folder.name))))
        except OSError:
            continue  # it ended meanwhile
    return found


def started(pid: int) -> str:
    """Return a process's start time in clock ticks; "" when it ended, though its parent may not have asked how yet."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def state_folder() -> Path:
    """Return the folder that holds all of the cluster."""
    return Path(json.loads(cluster("status", "--json").stdout)["kubeconfig"]).parent


@pytest.fixture(scope="module")
def before() -> Traces:
    """The machine before the cluster."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("the test cluster needs root on Linux, for namespaces, mounts and routes")
    lacking = [
        name for name in ("ip", "unshare", "nsenter", "openssl", "apt-get") if shutil.which(name) is None
    ]
    if lacking:
        pytest.skip(f"the test cluster needs {', '.join(lacking)}, which is not on this machine")
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "true"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"root cannot make namespaces here: {tried.stderr.strip()}")
    return traces()


@pytest.fixture(scope="module")
def up(before: Traces) -> Iterator[dict[str, Any]]:
    """The cluster's status; it is down afterwards, whatever happened."""
    try:
        yield json.loads(cluster("up", "--json").stdout)
    finally:
        cluster("down", check=False)


@pytest.fixture(scope="module")
def web(up: dict[str, Any]) -> str:
    """The namespace of two web servers, one on each node, and a pod that calls them."""
    kubectl(
        "apply",
        "-f",
        "-",
        stdin=WEB.replace("IMAGE", up["images"]["busybox"]).replace("RESTRICTED", RESTRICTED),
    )
    kubectl("-n", "web", "rollout", "status", "deployment/web", f"--timeout={SECONDS:.0f}s")
    kubectl("-n", "web", "wait", "--for=condition=Ready", "pod/caller", f"--timeout={SECONDS:.0f}s")
    return "web"


def test_status_has_what_a_deployer_needs(up: dict[str, Any]) -> None:
    """Two Ready nodes of a current Kubernetes, a kubeconfig that works, and the registry's address."""
    assert [node["ready"] for node in up["nodes"]] == [True, True]
    major, minor = up["kubernetes"].removeprefix("v").split(".")[:2]
    assert (int(major), int(minor)) >= (1, 34)
    version = json.loads(kubectl("version", "--output=json"))
    assert version["serverVersion"]["gitVersion"] == up["kubernetes"]
    config = json.loads(Path(up["kubeconfig"]).read_text())
    assert config["current-context"] == up["context"]
    assert Path(up["kubeconfig"]).stat().st_mode & 0o077 == 0


def test_up_again_changes_nothing(up: dict[str, Any]) -> None:
    """A second `up` starts nothing, and says the same."""
    processes = inside()
    again = cluster("up", "--json")
    assert json.loads(again.stdout) == up
    assert again.stderr == ""
    assert {pid for pid in inside() if pid in processes} == processes


def test_pods_run_from_the_registry_by_digest(up: dict[str, Any], web: str) -> None:
    """Both nodes pulled the image by its digest; the servers are on different nodes."""
    pods = json.loads(kubectl("-n", web, "get", "pods", "-l", "app=web", "-o", "json"))["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"node-1", "node-2"}
    for pod in pods:
        (status,) = pod["status"]["containerStatuses"]
        assert status["ready"]
        assert status["imageID"] == up["images"]["busybox"]


def test_names_of_services_resolve(web: str) -> None:
    """A pod reaches both servers by the Service's name, over nodes."""
    seen = set()
    for _ in range(40):
        seen.add(
            kubectl(
                "-n", web, "exec", "caller", "--", "wget", "-qO-", "http://web.web.svc.cluster.local/"
            ).strip()
        )
        if len(seen) == 2:
            break
    names = kubectl("-n", web, "get", "pods", "-l", "app=web", "-o", "name").split()
    assert {f"pod/{name}" for name in seen} == set(names)


def test_pod_security_is_enforced(up: dict[str, Any], web: str) -> None:
    """A pod that asks for more than `restricted` is refused."""
    refused = cluster("kubectl", "-n", web, "run", "bad", f"--image={up['images']['busybox']}", check=False)
    assert refused.returncode != 0
    assert 'violates PodSecurity "restricted' in refused.stderr


def test_roles_are_enforced(web: str) -> None:
    """A service account without a role may not read Secrets."""
    said = kubectl("auth", "can-i", "get", "secrets", "--as=system:serviceaccount:web:default", check=False)
    assert said.strip() == "no"


def test_network_policy_is_enforced(web: str) -> None:
    """Of two alike pods only the one with the label gets through, over both nodes; without the policy both do."""
    call = [
        "-n",
        web,
        "exec",
        "caller",
        "--",
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6 7 8; do wget -qO- http://web/ || echo refused; done",
    ]
    assert "refused" not in kubectl(*call)
    kubectl("apply", "-f", "-", stdin=CLOSED)
    until("closed to the caller", *call, says="refused\n" * 8)
    kubectl("-n", web, "label", "pod", "caller", "may-call=web")
    said = until("open to the labelled caller", *call, says="web-")
    assert "refused" not in kubectl(*call), said
    kubectl("-n", web, "delete", "networkpolicy", "web")


def test_metrics_scale_a_busy_deployment(up: dict[str, Any]) -> None:
    """An autoscaler sees the CPU that a pod uses, and adds a replica."""
    if not up["metrics"]:
        pytest.skip("no Go on this machine is new enough for metrics-server")
    kubectl("apply", "-f", "-", stdin=BUSY.replace("IMAGE", up["images"]["busybox"]))
    replicas = ["get", "deployment", "busy", "-o", "jsonpath={.status.replicas}"]
    assert until("the autoscaler", *replicas, says="2") == "2"
    kubectl("delete", "hpa/busy", "deployment/busy")


def test_an_ended_program_is_started_again(web: str) -> None:
    """The API server comes back by itself after it was killed, with what it knew."""
    cluster("restart", "node-1", "kube-apiserver")
    until(
        "the API server", "-n", web, "get", "pod", "caller", "-o", "jsonpath={.status.phase}", says="Running"
    )
    assert json.loads(cluster("status", "--json").stdout)["restarts"]["node-1"] == {"kube-apiserver": 1}


def test_half_a_cluster_is_replaced(up: dict[str, Any], before: Traces) -> None:
    """When a node was killed, `up` clears away the rest and starts whole."""
    state = state_folder()
    old = inside()
    pid = int((state / "node-2/init").read_text().split()[0])
    os.kill(pid, 9)
    end = time.monotonic() + SECONDS
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert cluster("status", check=False).returncode == 1
    again = json.loads(cluster("up", "--json").stdout)
    assert [node["ready"] for node in again["nodes"]] == [True, True]
    assert not old & inside()


def test_down_leaves_nothing(up: dict[str, Any], before: Traces) -> None:
    """No process, link, route, mount, cgroup or file is left, and `down` again is fine."""
    state = state_folder()
    processes = inside()
    assert len(processes) > 10
    during = traces()
    assert during.links - before.links
    assert during.routes - before.routes
    assert cluster("down").stdout == f"{NAME}: down\n"
    left = {(pid, start) for pid, start in processes if started(pid) == start}
    assert not left
    after = traces()
    mine = {f"tl{up['registry'].split('.')[1]}"}
    assert not {name for name in after.links - before.links if name.startswith(tuple(mine))}
    network = ".".join(up["registry"].split(".")[:2]) + "."
    assert not {route for route in after.routes - before.routes if route.startswith(network)}
    assert not {mount for mount in after.mounts - before.mounts if mount.startswith(str(state))}
    assert not {path for path in after.cgroups if Path(path).name in mine}
    assert not list(state.parent.glob(f"{NAME}*"))
    assert cluster("down").stdout == f"{NAME}: was not up\n"
    assert not list(state.parent.glob(f"{NAME}*"))
