# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A deployment whose fields say where it goes: its manifests are packaged, `experimental-deploy` rolls it out, and its app runs.

The tests share one clone and one namespace, and run in the order of this file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.kubernetes_cluster import Namespace, Real, drop_namespace, make_namespace
from integration.repositories import Repository, temporary_clone
from turbolift.deploy.k8s.names import function_name
from turbolift.deploy.k8s.objects import POD
from unit.deploy.deployments import wait_for

BUILD = """python_sources()
turbolift_functions(name="functions")
turbolift_app(name="job", entry_point="app.py", kind="job", args=["4"])
"""
DEPLOYMENT = """turbolift_deployment(
    name="deploy",
    functions=["examples/shop:"],
    apps=["examples/shop:job"],
    platform="k8s",
    namespace="{namespace}",
    registry="{registry}",
    insecure_registry={insecure},
)
"""
CART = """from turbolift import K8s, on


@on(K8s(), timeout=20.0, idempotent=True)
def total(prices: list[int]) -> int:
    print("adding up", flush=True)
    return sum(prices)
"""
DISCOUNT = """from turbolift import K8s, on


@on(K8s(), timeout=20.0)
def discount(total: int) -> int:
    return total // 10
"""
APP = """import sys

from shop.cart import total

if __name__ == "__main__":
    print("total", total.call([int(one) for one in sys.argv[1:]] * 3))
"""
TOTAL, REST = "shop.cart:total", "shop.discount:discount"


@pytest.fixture(scope="module")
def namespace(real: Real) -> Iterator[Namespace]:
    one = make_namespace(real)
    yield one
    drop_namespace(one)


@pytest.fixture(scope="module")
def clone(namespace: Namespace) -> Iterator[Repository]:
    with temporary_clone() as clone:
        real = namespace.real
        clone.env["KUBECONFIG"] = real.kubeconfig
        place = DEPLOYMENT.format(
            namespace=namespace.name, registry=f"{real.registry}/{namespace.name}", insecure=real.insecure
        )
        clone.write(
            {
                "BUILD": place,
                "examples/shop/BUILD": BUILD,
                "examples/shop/cart.py": CART,
                "examples/shop/discount.py": DISCOUNT,
                "examples/shop/app.py": APP,
            }
        )
        yield clone


def status(clone: Repository) -> dict[str, dict[str, Any]]:
    printed = clone.run_pants(["run", "deploy", "--", "status", "--json"]).stdout
    return {one.get("function") or one["app"]: one for one in json.loads(printed)}


def test_manifests_are_packaged_and_are_the_same_bytes_again(clone: Repository, namespace: Namespace) -> None:
    clone.run_pants(["package", "//:deploy"])
    folder = clone.root / "dist" / "deploy" / "manifests"
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"kustomization.yaml", "routes.yaml", f"{function_name(TOTAL)}.yaml"} <= first.keys()
    assert f"{function_name('shop.app:__main__')}.yaml" in first
    objects = {name: text for name, text in first.items() if name != "kustomization.yaml"}
    assert all(f"namespace: {namespace.name}".encode() in text for text in objects.values())
    clone.run_pants(["package", "//:deploy"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_the_deploy_goal_rolls_out_functions_and_the_app_that_calls_them(
    clone: Repository, namespace: Namespace
) -> None:
    done = clone.run_pants(["experimental-deploy", "//:deploy"])
    said = done.stdout + done.stderr
    assert "2 functions: 2 new; route table 1" in said
    assert "app shop.app:__main__" in said
    now = status(clone)
    assert now.keys() == {TOTAL, REST, "shop.app:__main__"}
    assert all(now[name]["platform"] == "k8s" and now[name]["ready"] for name in (TOTAL, REST))
    selector = f"app.kubernetes.io/name={function_name('shop.app:__main__')}"
    wait_for(
        lambda: (
            [one["status"]["phase"] for one in namespace.cluster.find(POD, labels=selector)] == ["Succeeded"]
        )
    )
    (pod,) = namespace.cluster.find(POD, labels=selector)
    assert list(namespace.cluster.log(pod["metadata"]["name"], lines=5, container="app")) == ["total 12"]


def test_the_same_fields_serve_the_other_commands(clone: Repository, namespace: Namespace) -> None:
    before = namespace.fingerprints()
    assert "2 functions: 2 unchanged" in clone.run_pants(["run", "deploy"]).stdout
    assert namespace.fingerprints() == before
    clone.run_pants(["run", "deploy", "--", "destroy"])
    assert namespace.ours() == []
