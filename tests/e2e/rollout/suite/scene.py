# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the disturbances happen to: a namespace, the collector, a deployment of two functions, their callers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from e2e.kubernetes_cluster import PROGRAM, ClusterDeployment, Namespace, Real
from e2e.rollout.suite import collector, userland
from e2e.rollout.suite.load import STREAMS
from turbolift.deploy.k8s import names, pod
from turbolift.deploy.k8s.cluster import ApiError, Cluster
from turbolift.deploy.k8s.objects import DEPLOYMENT, POD, Object
from turbolift.image import assemble, layer, layout, push
from turbolift.image.registry import parse_reference
from unit.deploy.bundles import Workshop

DEPLOYED = "rollout"
"""The name of the deployment."""

Fact = dict[str, Any]
T = TypeVar("T")


class SceneError(Exception):
    """What the run stands on has failed; says what."""


@dataclass(frozen=True)
class Plan:
    """How much is run: callers of each origin, replicas of each function, seconds that a call takes in it."""

    in_flight: int = 32
    replicas: int = 3
    seconds: float = 0.1
    retire_after: float | None = None


@dataclass
class Scene:
    """Everything of one run. `say` tells a person what is going on."""

    real: Real
    namespace: Namespace
    deployment: ClusterDeployment
    workshop: Workshop
    folder: Path
    plan: Plan
    say: Callable[[str], None]
    home: str = ""
    """The node of the collector and of the calling pod: it is never drained."""
    image: str = ""
    python: str = ""
    facts: list[Fact] = field(default_factory=list)
    outside: subprocess.Popen[str] | None = None

    @property
    def cluster(self) -> Cluster:
        """A connection with all rights."""
        return self.namespace.cluster

    # What runs.

    def build(self, factor: int) -> Path:
        """Write the bundle of both functions, which return ``factor * n``."""
        found = userland.functions(factor, replicas=self.plan.replicas, seconds=self.plan.seconds)
        return self.workshop.bundle(
            self.folder / f"bundle{factor}", found, platform=None, deployment=DEPLOYED
        )

    def push_programs(self) -> None:
        """Make the image of the collector and of the calling pod, and push it."""
        tree, built, image = (self.folder / f"programs-{part}" for part in ("src", "layer", "image"))
        found = userland.functions(1, replicas=self.plan.replicas, seconds=self.plan.seconds)
        for name, text in userland.programs(found).items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        layer.build("first-party", tree, "app/src", self.workshop.rootfs, built)
        layers = [self.workshop.third_party / "layer", self.workshop.shim / "layer", built]
        made = assemble.assemble(
            layout.Layout(self.workshop.base), layers, "shop.load:__main__", image, entry=assemble.execute
        )
        repository = f"{self.real.registry}/{self.namespace.name}/programs"
        push.push(
            layout.Layout(image),
            [push.Target(made["manifest"], parse_reference(repository), (DEPLOYED,))],
            insecure=self.real.insecure,
        )
        self.image, self.python = f"{repository}@{made['manifest']}", made["python"]

    def start_collector(self) -> None:
        """Start the collector and wait for it."""
        labels = {names.NAME: userland.COLLECTOR}
        self.namespace.create(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": userland.COLLECTOR},
                "spec": {"selector": labels, "ports": [{"port": collector.PORT}]},
            }
        )
        self._start_pod(
            userland.COLLECTOR, labels, {"command": [self.python, "-m", "shop.collector"], "args": []}
        )

    def start_calling_pod(self) -> None:
        """Start the load in a pod that follows the table, as docs/kubernetes.md says."""
        where = f"{userland.COLLECTOR}:{collector.PORT}"
        container = {
            "args": ["pod", str(self.plan.in_flight), where],
            "env": [
                {"name": "TURBOLIFT", "value": "on"},
                {"name": "TURBOLIFT_ROUTES", "value": "/etc/turbolift/routes.json"},
            ],
            "volumeMounts": [{"name": "routes", "mountPath": "/etc/turbolift", "readOnly": True}],
        }
        table = {
            "name": names.routes_name(DEPLOYED),
            "items": [{"key": "routes.json", "path": "routes.json"}],
        }
        secret = {
            "name": f"turbolift-{DEPLOYED}-caller",
            "items": [{"key": key, "path": f"tls/{key}"} for key in ("tls.crt", "tls.key", "ca.crt")],
        }
        sources = [{"configMap": table}, {"secret": secret}]
        volumes = [{"name": "routes", "projected": {"sources": sources}}]
        self._start_pod("load", {names.CALLER: DEPLOYED}, container, volumes)

    def start_outside(self) -> None:
        """Start the load on this machine, as the program of ``forward``."""
        tree = self.folder / "programs-src"
        env = {**self.deployment.env}
        env["PYTHONPATH"] = os.pathsep.join([str(tree), env["PYTHONPATH"]])
        arguments = ["-m", "shop.load", "outside", str(self.plan.in_flight), str(self.outside_file)]
        with (self.folder / "forward.log").open("w") as log:
            self.outside = subprocess.Popen(
                self.deployment.command("forward", "--", sys.executable, *arguments),
                env=env,
                cwd=self.deployment.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )

    @property
    def outside_file(self) -> Path:
        """Where the load on this machine says how its calls ended."""
        return self.folder / "outside.jsonl"

    def stop_outside(self) -> None:
        """Have the load on this machine end, and read what it said."""
        assert self.outside is not None
        first = json.loads(self.outside_file.read_text("utf-8").partition("\n")[0])
        with contextlib.suppress(ProcessLookupError):
            os.kill(first["pid"], signal.SIGTERM)
        status = self.outside.wait(timeout=60)
        if status != 0:
            said = (self.folder / "forward.log").read_text("utf-8")[-2000:]
            raise SceneError(f"the load outside ended with {status}:\n{said}")
        self.outside = None
        self.facts += map(json.loads, self.outside_file.read_text("utf-8").splitlines())

    def stop_calling_pod(self) -> None:
        """Have the load in the pod end, and wait until it has said all."""
        self.cluster.delete(POD, "load")
        self.wait("the calling pod to end", lambda: self.cluster.get(POD, "load") is None, 90)

    def end(self) -> None:
        """Stop what runs on this machine."""
        if self.outside is not None:
            with contextlib.suppress(OSError, ValueError):
                first = json.loads(self.outside_file.read_text("utf-8").partition("\n")[0])
                os.kill(first["pid"], signal.SIGKILL)
            self.outside.terminate()
            self.outside.wait()

    # What is asked.

    def collect(self) -> None:
        """Read what the collector has got that was not read yet."""
        collected = sum("origin" not in fact or fact["origin"] == "pod" for fact in self.facts)
        sock = self.cluster.forward(userland.COLLECTOR, collector.PORT)
        sock.settimeout(60)
        with sock.makefile("rwb") as stream:
            while True:
                stream.write(b"read %d\n" % collected)
                stream.flush()
                count = int(stream.readline())
                if not count:
                    break
                self.facts += [json.loads(stream.readline()) for _ in range(count)]
                collected += count
        sock.close()

    def wait_flowing(self) -> None:
        """Wait until calls of both streams have ended well from all that was started."""
        origins = ["pod", *(["outside"] if self.outside is not None else [])]

        def flowing() -> bool:
            self.collect()
            told = self.outside_file.read_text("utf-8") if self.outside_file.exists() else ""
            lines = told.splitlines()[: None if told.endswith("\n") else -1]
            facts = [*self.facts, *map(json.loads, lines)]
            found = {(one["origin"], one["stream"]) for one in facts if one.get("outcome") == "result"}
            return found >= {(origin, stream) for origin in origins for stream in STREAMS}

        self.wait("calls of every kind", flowing, 60)

    def pods(self) -> list[Object]:
        """Return the pods of the functions, also those that end, by name."""
        labels = f"{names.PART_OF}={DEPLOYED},{names.MANAGED_BY}={names.MANAGER}"
        return sorted(self.cluster.find(POD, labels=labels), key=lambda one: str(one["metadata"]["name"]))

    def is_whole(self) -> bool:
        """Return whether every function has all its replicas, and no pod ends."""
        labels = f"{names.PART_OF}={DEPLOYED}"
        deployments = self.cluster.find(DEPLOYMENT, labels=labels)
        return (
            bool(deployments)
            and all(
                (one.get("status") or {}).get("availableReplicas", 0)
                == one["spec"]["replicas"]
                == self.plan.replicas
                for one in deployments
            )
            and not any(one["metadata"].get("deletionTimestamp") for one in self.pods())
        )

    def wait(self, what: str, check: Callable[[], T], seconds: float) -> T:
        """Return the first true result of `check`. Raises SceneError."""
        until = time.monotonic() + seconds
        while True:
            with contextlib.suppress(ApiError):
                if result := check():
                    return result
            if time.monotonic() > until:
                raise SceneError(f"waited {seconds:g} s for {what}")
            time.sleep(0.25)

    def deploy(self, *arguments: str, bundle: Path | None = None) -> str:
        """Run the deployer; return what it said. Raises SceneError."""
        with self.deployment.start(*arguments, bundle=bundle) as process:
            out, err = process.communicate(timeout=500)
        if process.returncode:
            raise SceneError(f"deploy {' '.join(arguments)}: exit {process.returncode}\n{out}\n{err}")
        return out + err

    def control(self, *arguments: str) -> str:
        """Run the program of the project's own cluster."""
        done = subprocess.run(
            [str(PROGRAM), *arguments], capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode:
            raise SceneError(f"cluster {' '.join(arguments)}: {done.stderr.strip()[-800:]}")
        return done.stdout

    def _start_pod(
        self,
        name: str,
        labels: Mapping[str, str],
        container: Mapping[str, Any],
        volumes: list[dict[str, Any]] | None = None,
    ) -> None:
        self.namespace.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "labels": dict(labels)},
                "spec": {
                    "nodeSelector": {"kubernetes.io/hostname": self.home},
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 60,
                    "securityContext": pod.POD_SECURITY,
                    "containers": [
                        {
                            "name": "program",
                            "image": self.image,
                            "securityContext": pod.CONTAINER_SECURITY,
                            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                            **container,
                        }
                    ],
                    "volumes": volumes or [],
                },
            }
        )

        def phase() -> str:
            found = self.cluster.get(POD, name)
            return str(((found or {}).get("status") or {}).get("phase", ""))

        self.wait(f"pod {name}", lambda: phase() not in ("", "Pending"), 60)
        if phase() != "Running":
            said = "\n".join(self.cluster.log(name, lines=20, container="program"))
            raise SceneError(f"pod {name}: {phase()}:\n{said}")


def own_status(real: Real) -> Real:
    """Return `real` with what is known of the project's own cluster, if it is that one that was given."""
    if real.status:
        return real
    done = subprocess.run([str(PROGRAM), "status", "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        return real
    status = json.loads(done.stdout)
    if os.path.realpath(status.get("kubeconfig") or "/") != os.path.realpath(real.kubeconfig):
        return real
    return replace(real, status=status)


def ready_nodes(cluster: Cluster) -> Iterator[str]:
    """Yield the names of the nodes that take pods."""
    for one in cluster.json("GET", "/api/v1/nodes")["items"]:
        conditions = {each["type"]: each["status"] for each in one["status"]["conditions"]}
        if conditions.get("Ready") == "True" and not one["spec"].get("unschedulable"):
            yield one["metadata"]["name"]
