# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A real cluster for tests, and deployments on it.

It is the one of ``$KUBECONFIG`` with ``$TURBOLIFT_TEST_REGISTRY`` (``host[:port]/prefix`` that its nodes pull from and this
machine pushes to; ``$TURBOLIFT_TEST_REGISTRY_INSECURE=1`` for plain HTTP), else the project's own, started by
build-support/cluster where this machine can run one.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turbolift.deploy.k8s.cluster import ApiError, Cluster
from turbolift.deploy.k8s.objects import OWN_KINDS, Object
from turbolift.deploy.k8s.place import Place
from unit.deploy import bundles
from unit.deploy.deployments import Deployment

ROOT = Path(__file__).parents[2]
_PLURALS = {
    "Deployment": "deployments",
    "Pod": "pods",
    "ResourceQuota": "resourcequotas",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
}
PROGRAM = ROOT / "build-support" / "cluster" / "cluster"


@dataclass(frozen=True)
class Real:
    """A running cluster: its kubeconfig, where images go, and what is known of the project's own."""

    kubeconfig: str
    registry: str
    insecure: bool
    status: Mapping[str, Any] = field(default_factory=dict)

    def connect(self, namespace: str) -> Cluster:
        """Return a connection to a namespace with all rights."""
        from kubernetes import config

        _, active = config.list_kube_config_contexts(config_file=self.kubeconfig)  # type: ignore[no-untyped-call]
        return Cluster(Place(active["name"], "", namespace, self.kubeconfig))

    @property
    def enforces_policies(self) -> bool:
        """Whether NetworkPolicy is known to be enforced: the project's own clusters do, by their context."""
        from kubernetes import config

        _, active = config.list_kube_config_contexts(config_file=self.kubeconfig)  # type: ignore[no-untyped-call]
        return str(active["name"]).startswith("turbolift-")


class NoClusterError(Exception):
    """No cluster was given, and none can be, or may be, started here."""


@functools.cache
def find() -> Real:
    """Return a cluster. Raises NoClusterError."""
    given, registry = os.environ.get("KUBECONFIG"), os.environ.get("TURBOLIFT_TEST_REGISTRY")
    if given and registry:
        return Real(given, registry, bool(os.environ.get("TURBOLIFT_TEST_REGISTRY_INSECURE")))
    if not (os.environ.get("TURBOLIFT_TEST_CLUSTER") and PROGRAM.is_file()):
        raise NoClusterError(
            "no cluster: set KUBECONFIG and TURBOLIFT_TEST_REGISTRY, or TURBOLIFT_TEST_CLUSTER=yes to have "
            "build-support/cluster start one (it builds Kubernetes first)"
        )
    done = subprocess.run(
        [str(PROGRAM), "up", "--json"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode != 0:
        raise NoClusterError(f"no cluster can be started here: {done.stderr.strip()[-400:]}")
    status = json.loads(done.stdout)
    return Real(status["kubeconfig"], f"{status['registry']}/turbolift-test", True, status)


@dataclass
class Namespace:
    """A namespace of its own, which enforces the restricted Pod Security Standard."""

    real: Real
    name: str

    @functools.cached_property
    def cluster(self) -> Cluster:
        """A connection to it with all rights."""
        return self.real.connect(self.name)

    def ours(self) -> list[Object]:
        """Return every object in it with turbolift's label."""
        wanted = "app.kubernetes.io/managed-by=turbolift"
        return [one for kind in OWN_KINDS for one in self.cluster.find(kind, labels=wanted)]

    def fingerprints(self) -> dict[str, tuple[str, int, str]]:
        """Return what changes of an object when somebody writes its metadata or spec: of all of ours."""
        found = {}
        for one in self.ours():
            if one["kind"] == "Lease":
                continue
            meta = one["metadata"]
            times = sorted(
                each["time"] for each in meta.get("managedFields", []) if each["manager"] == "turbolift"
            )
            found[f"{one['kind']}/{meta['name']}"] = (meta["uid"], meta.get("generation", 0), times[-1])
        return found

    def create(self, document: Mapping[str, Any]) -> Object:
        """Create any object by its JSON."""
        group, _, version = document["apiVersion"].rpartition("/")
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        plural = _PLURALS[document["kind"]]
        path = f"{root}/namespaces/{self.name}/{plural}"
        done: Object = self.cluster.json("POST", path, body=dict(document))
        return done


def make_namespace(real: Real) -> Namespace:
    """Make a namespace with a name of its own."""
    name = f"tl-{secrets.token_hex(4)}"
    document = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/enforce-version": "latest",
            },
        },
    }
    real.connect("default").json("POST", "/api/v1/namespaces", body=document)
    return Namespace(real, name)


def drop_namespace(namespace: Namespace) -> None:
    """Have a namespace deleted; nobody waits for it."""
    try:
        namespace.cluster.json("DELETE", f"/api/v1/namespaces/{namespace.name}")
    except ApiError as error:
        # It is being deleted already.
        if error.status not in (404, 409):
            raise


class ClusterDeployment(Deployment):
    """Runs the program against a namespace; `extra` are options of every command."""

    def __init__(
        self,
        workshop: bundles.Workshop,
        root: Path,
        env: dict[str, str],
        namespace: Namespace,
        *extra: str,
        name: str = "deploy",
    ) -> None:
        super().__init__(workshop, root, env, name)
        self.namespace = namespace
        self.extra = ["--platform", "k8s", "--namespace", namespace.name, "--retire-after", "0", *extra]
        self.pushing = ["--registry", f"{namespace.real.registry}/{namespace.name}"]
        if namespace.real.insecure:
            self.pushing.append("--insecure-registry")

    def command(self, *arguments: str | Path, bundle: Path | None = None) -> list[str]:
        """Return the command line of the program."""
        return super().command(*self.extra, *self.pushing, *arguments, bundle=bundle)

    def double(self, factor: int = 2, platform: str = "K8s()", **more: str) -> Path:
        """Write a bundle of ``shop.double:double`` alone."""
        return self.bundle("shop.double:double", platform=None, double=sources(factor, platform, **more))


def sources(
    factor: int, platform: str = "K8s()", *, tag: str = "", before: str = "", body: str = "pass"
) -> dict[str, str]:
    """Return the sources of ``shop.double:double``, which returns ``factor * n``."""
    return {
        "shop/__init__.py": "",
        "shop/double.py": f"""
import os
from turbolift import K8s, on
if "TURBOLIFT_VERSION" in os.environ:
    {before or "pass"}

@on({platform}, timeout=20.0{tag})
def double(n: int) -> int:
    if n < 0:
        raise ValueError(f"negative: {{n}}")
    print(f"doubling {{n}}", flush=True)
    {body}
    return {factor} * n
""",
    }
