# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Functions on a real Kubernetes: rolled out, called, changed, gone back, and taken away again.

Pants remembers that a test passed or was skipped; a cluster is no input that it knows: `./pants test --force tests/e2e::`.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from e2e.kubernetes_cluster import ClusterDeployment, Namespace, sources
from turbolift.deploy.k8s.names import function_name
from turbolift.deploy.k8s.objects import CONFIG_MAP, DEPLOYMENT, POD, SERVICE
from turbolift.image.connection import Connection
from turbolift.image.push import MANIFESTS
from unit.deploy.deployments import DOUBLE, wait_for

SECONDS = 60.0


def table(namespace: Namespace, name: str = "deploy") -> dict[str, Any]:
    """Return the route table that callers in the cluster follow."""
    live = namespace.cluster.get(CONFIG_MAP, f"turbolift-{name}")
    assert live is not None
    found: dict[str, Any] = json.loads(live["data"]["routes.json"])
    return found


def test_the_whole_life(deployment: ClusterDeployment, namespace: Namespace) -> None:
    first = deployment.double(2, "K8s(3)", tag=", memory='96Mi', env={'PRICE': '$(HOME)'}")
    done = deployment.run(bundle=first)
    assert "1 function: 1 new; route table 1" in done.stdout
    assert deployment.call() == 8
    (one,) = deployment.status().values()
    assert (one["ready"], one["replicas"], one["calls"], one["restarts"]) == (True, [1, 1], 1, 0)
    shown = deployment.run("status").stdout
    assert f" {one['image'][:19]} " in shown
    assert one["image"] in json.dumps(namespace.cluster.find(DEPLOYMENT))
    endpoint = table(namespace)["routes"][DOUBLE]["endpoint"]
    assert endpoint == f"https://{function_name(DOUBLE)}-{one['version'][:10]}.{namespace.name}.svc:8080"

    # The same again writes nothing and restarts nothing.
    before = namespace.fingerprints()
    kinds = {key.partition("/")[0] for key in before}
    assert kinds == {
        "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Service",
        "ServiceAccount",
    }  # fmt: skip
    again = deployment.run(bundle=first)
    assert "1 function: 1 unchanged; route table 1" in again.stdout
    assert namespace.fingerprints() == before
    assert "pushed" not in again.stderr

    # What would be done is said, and not done.
    second = deployment.double(3, "K8s(3)")
    for arguments in (("diff",), ("up", "--dry-run")):
        said = deployment.run(*arguments, bundle=second).stdout
        assert "replaced" in said
        assert "+kind: Deployment" in said
        assert "retired after the switch: Deployment/" in said
        assert "1 function: 1 replaced" in said
    assert namespace.fingerprints() == before
    unchanged = deployment.run("diff", bundle=first).stdout
    assert "unchanged" in unchanged
    assert "+++" not in unchanged

    deployment.run(bundle=second)
    assert deployment.call() == 12
    assert "doubling 4" in deployment.run("logs", "double").stdout
    # Nothing of the old version is left.
    assert before.keys() & namespace.fingerprints().keys() == {"ConfigMap/turbolift-deploy"}
    assert "route table 3" in deployment.run("rollback", "double").stdout
    assert deployment.call() == 8
    deployment.run("down")
    assert table(namespace)["routes"] == {}
    assert {each["kind"] for each in namespace.ours()} == {"ConfigMap", "Lease"}
    deployment.run("rollback")
    assert deployment.call() == 8
    deployment.run("destroy")
    assert namespace.ours() == []
    assert not deployment.state.exists() or not list(deployment.state.rglob("*.json"))


def test_pods_are_closed_in_the_process_itself(deployment: ClusterDeployment, namespace: Namespace) -> None:
    code = """
from turbolift import K8s, on

@on(K8s(configs={"WHERE": "settings/where"}, secrets={"WORD": "vault/word"}), env={"PRICE": "$(HOME) $5"})
def look() -> dict[str, str]:
    import os
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines() if ":" in line)
    found = {name: status[name].strip() for name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")}
    found |= {name: os.environ.get(name, "") for name in ("PRICE", "WHERE", "WORD", "TURBOLIFT")}
    found["uid"] = str(os.getuid())
    found["token"] = str(os.path.exists("/var/run/secrets/kubernetes.io"))
    open("/tmp/mine", "w").write("x")
    for path in ("/app/src/x", "/x", "/etc/turbolift/x"):
        try:
            open(path, "w")
        except OSError as error:
            found[path] = error.strerror
    return found
"""
    namespace.cluster.json(
        "POST",
        f"/api/v1/namespaces/{namespace.name}/configmaps",
        body={"metadata": {"name": "settings"}, "data": {"where": "here"}},
    )
    namespace.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault"}, "stringData": {"word": "hush"}}
    )
    deployment.run(bundle=deployment.bundle("shop.look:look", platform=None, look={"shop/look.py": code}))
    assert deployment.call("look", "{}") == {
        "CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2", "uid": "65532", "token": "False",
        "PRICE": "$(HOME) $5", "WHERE": "here", "WORD": "hush", "TURBOLIFT": "on",
        "/app/src/x": "Read-only file system", "/x": "Read-only file system", "/etc/turbolift/x": "Read-only file system",
    }  # fmt: skip
    (live,) = [each for each in namespace.ours() if each["kind"] == "Deployment"]
    assert "hush" not in json.dumps(live)


def test_one_edited_function_touches_its_own_objects_alone(
    deployment: ClusterDeployment, namespace: Namespace
) -> None:
    other = {
        "shop/other.py": "from turbolift import K8s, on\n\n@on(K8s())\ndef other() -> str:\n    return 'o'\n"
    }
    both = (DOUBLE, "shop.other:other")
    deployment.run(bundle=deployment.bundle(*both, platform=None, double=sources(2), other=other))
    before = {key: one for key, one in namespace.fingerprints().items() if "other" in key}
    assert len(before) == 5
    done = deployment.run(bundle=deployment.bundle(*both, platform=None, double=sources(3), other=other))
    assert "2 functions: 1 unchanged, 1 replaced" in done.stdout
    assert {key: one for key, one in namespace.fingerprints().items() if "other" in key} == before
    # Left out of the bundle: retired.
    done = deployment.run(bundle=deployment.bundle(DOUBLE, platform=None, double=sources(3)))
    assert "2 functions: 1 unchanged, 1 retired" in done.stdout
    assert not [key for key in namespace.fingerprints() if "other" in key]


def test_two_deployments_of_one_function(new: Callable[..., ClusterDeployment], namespace: Namespace) -> None:
    one, other = new(), new(name="other")
    one.run(bundle=one.double())
    failed = other.run(bundle=other.double(), code=1)
    assert "is of the deployment 'deploy': it is not touched" in failed.stderr
    assert one.call() == 8
    other.run(bundle=other.double(5))
    assert (one.call(), other.call()) == (8, 20)
    other.run("destroy")
    assert one.call() == 8


def test_machines_take_turns(new: Callable[..., ClusterDeployment], namespace: Namespace) -> None:
    laptop, ci = new(), new()
    laptop.run(bundle=laptop.double(2))
    assert ci.call() == 8
    ci.run(bundle=ci.double(3))
    assert laptop.call() == 12
    # It has the image no more, or never had; the registry has.
    shutil.rmtree(laptop.state)
    laptop.run("rollback")
    assert (ci.call(), laptop.call()) == (8, 8)
    # Both at once: the second waits for the first, or says whom it would not wait for.
    slow = laptop.double(4, before="import time; time.sleep(6)")
    busy = laptop.start(bundle=slow)
    wait_for(lambda: len(namespace.cluster.find(DEPLOYMENT)) == 2)
    failed = ci.run("--wait", "0", bundle=ci.double(5), code=1)
    assert "is being changed by " in failed.stderr
    assert f"process {busy.pid}" in failed.stderr
    ci.run(bundle=ci.double(5))
    assert busy.wait(SECONDS) == 0
    busy.communicate()
    assert (laptop.call(), ci.call()) == (20, 20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_deploy_that_is_ended_halfway(
    deployment: ClusterDeployment, namespace: Namespace, number: signal.Signals
) -> None:
    deployment.run(bundle=deployment.double(2))
    before = namespace.fingerprints()
    half = deployment.start(bundle=deployment.double(3, before="import time; time.sleep(600)"))
    wait_for(lambda: len(namespace.cluster.find(POD, labels="turbolift.dev/caller=deploy")) == 2)
    half.send_signal(number)
    _, err = half.communicate(timeout=SECONDS)
    assert half.returncode == (143 if number is signal.SIGTERM else -number)
    assert deployment.call() == 8
    if number is signal.SIGTERM:
        assert "stopping what this run started" in err
    else:
        assert namespace.fingerprints() != before
    # The next one cleans up what a killed one left; its Lease is free when nobody renews it.
    deployment.run(bundle=deployment.double(2))
    assert namespace.fingerprints() == before
    assert deployment.call() == 8


def test_what_was_changed_by_hand_is_put_right(deployment: ClusterDeployment, namespace: Namespace) -> None:
    bundle = deployment.double(2)
    deployment.run(bundle=bundle)
    (name,) = [each["metadata"]["name"] for each in namespace.ours() if each["kind"] == "Service"]
    namespace.cluster.delete(SERVICE, name)
    done = deployment.run(bundle=bundle)
    assert "1 restarted" in done.stdout
    assert namespace.cluster.get(SERVICE, name) is not None
    namespace.cluster.delete(DEPLOYMENT, name)
    wait_for(lambda: not namespace.cluster.find(POD))
    (one,) = deployment.status().values()
    assert one["ready"] is False
    deployment.run(bundle=bundle)
    assert deployment.call() == 8
    # Other settings of the same version: applied to what runs, not beside it.
    done = deployment.run("--grace", "3", bundle=bundle)
    assert "1 restarted" in done.stdout
    live = namespace.cluster.get(DEPLOYMENT, name)
    assert live is not None
    assert live["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 18
    assert deployment.call() == 8


def test_fields_that_somebody_else_has_taken_are_not_fought_over(
    deployment: ClusterDeployment, namespace: Namespace
) -> None:
    bundle = deployment.double(2)
    deployment.run(bundle=bundle)
    (name,) = [each["metadata"]["name"] for each in namespace.ours() if each["kind"] == "Deployment"]
    namespace.cluster.json(
        "PATCH",
        DEPLOYMENT.path(namespace.name, name),
        {"fieldManager": "somebody"},
        {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 99}}}},
        content_type="application/merge-patch+json",
    )
    failed = deployment.run("--grace", "3", bundle=bundle, code=1)
    assert f"Deployment/{name}: somebody else changed fields that turbolift writes" in failed.stderr
    assert ".spec.template.spec.terminationGracePeriodSeconds" in failed.stderr
    assert '"somebody"' in failed.stderr
    assert "Undo that, or delete the object" in failed.stderr
    live = namespace.cluster.get(DEPLOYMENT, name)
    assert live is not None
    assert live["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 99
    assert deployment.call() == 8
    namespace.cluster.delete(DEPLOYMENT, name)
    deployment.run("--grace", "3", bundle=bundle)
    assert deployment.call() == 8


def test_prune_and_destroy_leave_nothing(deployment: ClusterDeployment, namespace: Namespace) -> None:
    for factor in (2, 3, 4):
        deployment.run(bundle=deployment.double(factor))
    repository = f"{namespace.real.registry}/{namespace.name}/{function_name(DOUBLE)}"
    before = listed(namespace, repository)
    assert len(before) == 3
    planned = deployment.run("prune", "--dry-run").stdout
    assert "would free" in planned
    assert planned.count(f"{repository}@sha256:") >= 1
    assert listed(namespace, repository) == before
    done = deployment.run("prune").stdout
    assert "freed" in done
    after = listed(namespace, repository)
    (gone,) = before.keys() - after.keys()
    assert len(after) == 2
    kept = set().union(*after.values())
    there = {
        blob for blobs in before.values() for blob in blobs if has(namespace, repository, f"blobs/{blob}")
    }
    assert there == kept
    assert before[gone] - kept
    assert not has(namespace, repository, f"manifests/{gone}")
    # The version before is kept for a rollback; the one before that is gone, here and in the registry.
    deployment.run("rollback")
    assert deployment.call() == 12
    assert "in 0 files" in deployment.run("prune").stdout
    deployment.run("destroy")
    assert namespace.ours() == []


def listed(namespace: Namespace, repository: str) -> dict[str, set[str]]:
    """Return digest -> digests of its config and layers, of every image that a tag of the repository names."""
    connection = connect(namespace, repository)
    found: dict[str, set[str]] = {}
    with connection.open("GET", "tags/list") as answer:
        tags = json.load(answer)["tags"] or []
    for tag in tags:
        with connection.open(
            "GET", f"manifests/{tag}", headers={"Accept": MANIFESTS}, accept=(404,)
        ) as answer:
            if answer.status == 200:
                manifest = json.load(answer)
                parts = (manifest["config"], *manifest["layers"])
                found[answer.headers["Docker-Content-Digest"]] = {one["digest"] for one in parts}
    return found


def has(namespace: Namespace, repository: str, what: str) -> bool:
    """Return whether the repository has a blob or a manifest."""
    headers = {"Accept": MANIFESTS}
    with connect(namespace, repository).open("HEAD", what, headers=headers, accept=(404,)) as answer:
        return bool(answer.status == 200)


def connect(namespace: Namespace, repository: str) -> Connection:
    """Return a connection to a repository."""
    host, _, path = repository.partition("/")
    return Connection(host, path, insecure=namespace.real.insecure)


def test_a_program_here_calls_by_forward(serving: ClusterDeployment) -> None:
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from shop.double import double
print(double.call(4), sum(double.map(range(40)).call()))
"""
    folder = serving.root / "app"
    for name, text in sources(0).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    done = serving.run("forward", "--", sys.executable, "-c", program, str(folder))
    # In process it would be 0.
    assert done.stdout == "8 1560\n"
    failed = serving.run("forward", "--", "no-such-program", code=1)
    assert "there is no program 'no-such-program'" in failed.stderr


def test_manifests_are_taken_by_the_server_as_they_are(
    deployment: ClusterDeployment, namespace: Namespace
) -> None:
    import yaml

    bundle = deployment.double(2, "K8s(4, min_scale_n=2)")
    folder = deployment.root / "gitops"
    deployment.run("render", str(folder), bundle=bundle)
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    documents = [
        document
        for name in kustomization["resources"]
        for document in yaml.safe_load_all((folder / name).read_text())
    ]
    assert len(documents) == 8
    for document in documents:
        assert (
            namespace.cluster.apply(document, dry_run=True)["metadata"]["name"]
            == document["metadata"]["name"]
        )
    # What a GitOps tool applied is what deploy would: only the state is added. (The tool's own field manager would say
    # who owns what; ours stands in for it.) The images are pushed by the first run.
    deployment.run(bundle=bundle)
    deployment.run("destroy")
    for document in documents:
        namespace.cluster.apply(document)

    def writes() -> dict[str, tuple[str, str]]:
        # Not by the generation: the autoscaler writes replicas.
        return {key: one[::2] for key, one in namespace.fingerprints().items() if "ConfigMap" not in key}

    before = writes()
    deployment.run(bundle=bundle)
    assert writes() == before
    assert deployment.call() == 8
    assert deployment.status()[DOUBLE]["replicas"] == [2, 2]


def test_logs_of_all_pods_and_following_them(deployment: ClusterDeployment, namespace: Namespace) -> None:
    deployment.run(bundle=deployment.double(2, "K8s(2, min_scale_n=2)"))
    lines = deployment.run("logs", "double").stdout.splitlines()
    pods = {each["metadata"]["name"] for each in namespace.cluster.find(POD)}
    assert len(pods) == 2
    assert {line.split("  ")[0] for line in lines} == pods
    follower = deployment.start("logs", "double", "-f", "-n", "0")
    assert follower.stdout is not None
    import select

    heard: list[str] = []
    end = time.monotonic() + SECONDS
    while not heard and time.monotonic() < end:
        deployment.call()
        if select.select([follower.stdout], [], [], 0.5)[0]:
            heard.append(follower.stdout.readline())
    follower.send_signal(signal.SIGINT)
    follower.communicate(timeout=SECONDS)
    assert any("doubling 4" in line for line in heard)
    assert follower.returncode == 0
