# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on a real Kubernetes: each mistake has its name, and what served before serves on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.kubernetes_cluster import ClusterDeployment, Namespace, Real
from turbolift.deploy.k8s import permissions
from turbolift.deploy.k8s.cluster import ApiError
from turbolift.deploy.k8s.names import function_name
from turbolift.deploy.k8s.objects import SERVICE
from unit.deploy.deployments import DOUBLE, wait_for
from unit.image.registries import running as running_registry

BROKEN = {
    "import": (
        {"before": "import frobnicate"},
        ["exit code 78: the function cannot be loaded", "No module named 'frobnicate'", "pod shop-double-"],
    ),
    "never ready": (
        {"before": "import time; print('waiting for a database', flush=True); time.sleep(600)"},
        ["was not ready within 8 s: pod shop-double-", "Startup probe failed", "waiting for a database"],
    ),
    "secret": (
        {"platform": "K8s(secrets={'DB': 'database/password'})"},
        ['CreateContainerConfigError: secret "database" not found'],
    ),
    "memory": (
        {"before": "x = b'x' * (1 << 30)", "tag": ", memory='64Mi'"},
        ["it used more memory than its tag says", "raise memory="],
    ),
    "nodes": (
        {"platform": "K8s(node_selector={'pool': 'none'})"},
        [
            "was not ready within 8 s: pod shop-double-",
            "Unschedulable: 0/",
            "didn't match Pod's node affinity/selector",
        ],
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_version_that_does_not_start_says_why_and_the_old_one_serves(
    serving: ClusterDeployment, what: str
) -> None:
    given, said = BROKEN[what]
    before = serving.namespace.fingerprints()
    failed = serving.run("--ready-timeout", "8", bundle=serving.double(7, **given), code=1)
    for text in said:
        assert text in failed.stderr
    assert "nothing was switched, what served before serves on" in failed.stderr
    assert serving.namespace.fingerprints() == before
    assert serving.call() == 8


def test_an_image_that_cannot_be_pulled(serving: ClusterDeployment, tmp_path: Path) -> None:
    before = serving.namespace.fingerprints()
    # Reachable from here, but not from the nodes.
    with running_registry(tmp_path / "registry") as host:
        bundle = serving.double(7)
        failed = serving.run("--registry", f"{host}/team", "--ready-timeout", "60", bundle=bundle, code=1)
    assert "ImagePullBackOff" in failed.stderr
    assert f"{host}/team/{function_name(DOUBLE)}@sha256:" in failed.stderr
    assert "connection refused" in failed.stderr
    assert serving.namespace.fingerprints() == before
    assert serving.call() == 8


def test_quota(deployment: ClusterDeployment, namespace: Namespace) -> None:
    namespace.create(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "small"},
            "spec": {"hard": {"requests.memory": "32Mi"}},
        }
    )

    def counted() -> bool:
        quota = namespace.cluster.json("GET", f"/api/v1/namespaces/{namespace.name}/resourcequotas/small")
        return "used" in (quota.get("status") or {})

    wait_for(counted)
    failed = deployment.run(bundle=deployment.double(), code=1)
    assert "no pod can be made" in failed.stderr
    assert "exceeded quota: small" in failed.stderr
    assert [each["kind"] for each in namespace.ours()] == ["Lease"]


def test_somebody_elses_object_is_never_adopted(deployment: ClusterDeployment, namespace: Namespace) -> None:
    bundle = deployment.double()
    deployment.run(bundle=bundle)
    name = next(each["metadata"]["name"] for each in namespace.ours() if each["kind"] == "Service")
    deployment.run("destroy")
    spec = {"selector": {"app": "mine"}, "ports": [{"port": 80}]}
    mine = namespace.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
    failed = deployment.run(bundle=bundle, code=1)
    assert (
        f"Service/{name} in namespace {namespace.name} is there already and is not made by turbolift"
        in failed.stderr
    )
    live = namespace.cluster.get(SERVICE, name)
    assert live is not None
    assert (live["metadata"]["uid"], live["spec"]["selector"]) == (mine["metadata"]["uid"], {"app": "mine"})
    assert {each["kind"] for each in namespace.ours()} == {"Lease"}


def test_the_users_mistakes(deployment: ClusterDeployment, namespace: Namespace, tmp_path: Path) -> None:
    bundle = deployment.double()
    kubeconfig = Path(namespace.real.kubeconfig)

    def fails(*arguments: str) -> str:
        failed = deployment.run(*arguments, bundle=bundle, code=1)
        assert failed.stderr.splitlines()[-1].startswith("error: "), failed.stderr
        return failed.stderr

    assert "no such file" in fails("--kubeconfig", str(tmp_path / "none"))
    broken = tmp_path / "broken"
    broken.write_text("nothing: here\n")
    assert "no cluster: " in fails("--kubeconfig", str(broken))
    said = fails("--context", "prod")
    assert "no context 'prod'" in said
    assert "there is: " in said
    assert "no name of a namespace" in fails("--namespace", "No")
    said = fails("--namespace", "tl-not-there")
    assert "there is no namespace 'tl-not-there' in context" in said
    assert "kubectl create namespace tl-not-there" in said
    away = tmp_path / "away"
    config = json.loads(kubeconfig.read_text()) if kubeconfig.read_text().startswith("{") else None
    if config is not None:
        config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
        away.write_text(json.dumps(config))
        said = fails("--kubeconfig", str(away))
        assert "cannot reach namespace" in said
        assert "https://127.0.0.1:9" in said
        assert "Connection refused" in said
        config["users"][0]["user"] = {"token": "wrong"}
        config["clusters"][0]["cluster"]["server"] = json.loads(kubeconfig.read_text())["clusters"][0][
            "cluster"
        ]["server"]
        away.write_text(json.dumps(config))
        assert "log in to the cluster again" in fails("--kubeconfig", str(away))
    said = fails("--registry", "127.0.0.1:9/team")
    assert "127.0.0.1:9/v2/team" in said
    assert "cannot be reached" in said
    with running_registry(tmp_path / "registry", read_only=True) as host:
        assert "read-only" in fails("--registry", f"{host}/team")
    deployment.pushing = []
    assert "Give --registry HOST/PREFIX" in fails()
    assert {each["kind"] for each in namespace.ours()} <= {"Lease"}


def test_the_documented_role_is_enough_and_no_less_is(
    new: Callable[..., ClusterDeployment], namespace: Namespace, tmp_path: Path
) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "ci"}}
    role = permissions.role(namespace.name)
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "ci"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": role["metadata"]["name"],
        },
        "subjects": [{"kind": "ServiceAccount", "name": "ci", "namespace": namespace.name}],
    }
    for document in (account, role, binding):
        namespace.create(document)
    token = namespace.cluster.json(
        "POST",
        f"/api/v1/namespaces/{namespace.name}/serviceaccounts/ci/token",
        body={
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600},
        },
    )["status"]["token"]
    config = kubeconfig_of(namespace.real, token)
    path = tmp_path / "ci.kubeconfig"
    path.write_text(json.dumps(config))
    ci = new(kubeconfig=str(path))

    def may() -> bool:
        # An authorizer hears of a binding by a watch of its own.
        try:
            permissions.check(Real(str(path), "", False).connect(namespace.name))
        except Exception:
            return False
        return True

    wait_for(may)
    for factor in (2, 3, 4):
        ci.run(bundle=ci.double(factor, "K8s(2)"))
    assert ci.call() == 16
    assert ci.status()[DOUBLE]["ready"]
    assert "doubling 4" in ci.run("logs", "double").stdout
    assert "replaced" in ci.run("diff", bundle=ci.double(5)).stdout
    failed = ci.run(bundle=ci.double(6, before="import frobnicate"), code=1)
    assert "No module named 'frobnicate'" in failed.stderr
    ci.run("rollback")
    ci.run("prune")
    ci.run("down")
    ci.run("destroy")
    assert namespace.ours() == []

    # Without one verb of it, what is missing is said before anything is made.
    rules = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace.name}/roles/{role['metadata']['name']}"
    less = namespace.cluster.json("GET", rules)
    for rule in less["rules"]:
        if "deployments" in rule["resources"]:
            rule["verbs"] = [verb for verb in rule["verbs"] if verb != "delete"]
    namespace.cluster.json("PUT", rules, body=less)
    wait_for(lambda: not may())
    failed = ci.run(bundle=ci.double(2), code=1)
    assert "no permission in namespace" in failed.stderr
    assert "delete deployments.apps" in failed.stderr
    assert namespace.ours() == []


def kubeconfig_of(real: Real, token: str) -> dict[str, Any]:
    """Return a kubeconfig of the same cluster for a token."""
    import yaml

    admin = yaml.safe_load(Path(real.kubeconfig).read_text())
    (context,) = [each for each in admin["contexts"] if each["name"] == admin["current-context"]]
    (cluster,) = [each for each in admin["clusters"] if each["name"] == context["context"]["cluster"]]
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "users": [{"name": "ci", "user": {"token": token}}],
        "contexts": [{"name": "ci", "context": {"cluster": cluster["name"], "user": "ci"}}],
        "current-context": "ci",
    }


def test_errors_of_the_function_come_back(serving: ClusterDeployment) -> None:
    failed = serving.run("call", "double", '{"n": -3}', code=1)
    assert "raised ValueError: negative: -3" in failed.stderr
    assert 'app/src/shop/double.py", line ' in failed.stderr


def test_a_check_that_fails_is_no_success(deployment: ClusterDeployment) -> None:
    done = deployment.run("--check", 'double={"n": 2}', bundle=deployment.double(2))
    assert 'check shop.double:double({"n": 2}): 4' in done.stdout
    failed = deployment.run("--check", 'double={"n": -2}', bundle=deployment.double(3), code=1)
    assert "rolled out, but the checks of shop.double:double failed" in failed.stderr


def test_nothing_is_deployed(deployment: ClusterDeployment) -> None:
    assert deployment.status() == {}
    assert "no function is deployed" in deployment.run("call", "double", code=1).stderr
    with pytest.raises(ApiError, match="not found"):
        deployment.namespace.cluster.json(
            "GET", f"/api/v1/namespaces/{deployment.namespace.name}/configmaps/none"
        )
