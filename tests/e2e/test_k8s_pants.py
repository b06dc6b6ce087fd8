# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""`./pants run deploy -- --platform k8s`: the real Pants on a real Kubernetes, from a clone with two functions to nothing left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.kubernetes_cluster import Namespace, Real, drop_namespace, make_namespace
from integration.repositories import Repository, temporary_clone
from turbolift.deploy.k8s.objects import POD

CODE = """from turbolift import K8s, on


@on(K8s(), timeout=10.0)
def {name}(n: int) -> int:
    print(f"{name} {{n}}", flush=True)
    return {factor} * n
"""
BUILD = """turbolift_deployment(name="deploy", platform="k8s", functions=["examples/shop:"])
files(name="locks", sources=["3rdparty/python/*.lock"])
"""
DOUBLE, TRIPLE = "shop.double:double", "shop.triple:triple"


@dataclass
class Shop:
    """A clone whose deployment has two functions, and where it is deployed to."""

    clone: Repository
    namespace: Namespace

    def edit(self, name: str, factor: int) -> None:
        """Write a function."""
        self.clone.write({f"examples/shop/{name}.py": CODE.format(name=name, factor=factor)})

    def deploy(self, *arguments: str, code: int = 0) -> str:
        """Run `./pants run deploy -- ... ARGUMENTS`; return its stdout, and where it fails, its stderr too."""
        real = self.namespace.real
        place = ["--platform", "k8s", "--namespace", self.namespace.name, "--retire-after", "0"]
        place += ["--registry", f"{real.registry}/{self.namespace.name}"]
        place += ["--insecure-registry"] if real.insecure else []
        env = {"KUBECONFIG": real.kubeconfig}
        done = self.clone.run_pants(["run", "deploy", "--", *place, *arguments], env=env, check=False)
        assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "turbolift/deploy/" not in done.stderr, done.stderr
        return done.stdout + done.stderr if code else done.stdout

    def call(self, name: str) -> int:
        """Call a function with 4."""
        result: int = json.loads(self.deploy("call", name, '{"n": 4}'))
        return result


@pytest.fixture
def shop(real: Real) -> Iterator[Shop]:
    """The clone, with the deployment gone afterwards."""
    namespace = make_namespace(real)
    with temporary_clone() as clone:
        shop = Shop(clone, namespace)
        clone.write(
            {
                "BUILD": BUILD,
                "examples/shop/BUILD": 'python_sources()\nturbolift_functions(name="functions")\n',
            }
        )
        shop.edit("double", 2)
        shop.edit("triple", 3)
        yield shop
    drop_namespace(namespace)


def test_from_the_first_deploy_to_nothing_left(shop: Shop, tmp_path: Path) -> None:
    namespace = shop.namespace

    # What would be made is said by the server, and not made.
    assert "2 functions: 2 new" in shop.deploy("--dry-run")
    assert namespace.ours() == []

    assert "2 functions: 2 new; route table 1" in shop.deploy()
    assert (shop.call("double"), shop.call("triple")) == (8, 12)
    assert "double 4" in shop.deploy("logs", "double")
    status = {one["function"]: one for one in json.loads(shop.deploy("status", "--json"))}
    assert {name: (one["ready"], one["replicas"], one["calls"]) for name, one in status.items()} == {
        DOUBLE: (True, [1, 1], 1), TRIPLE: (True, [1, 1], 1),
    }  # fmt: skip

    # The same commit again writes nothing and restarts nothing.
    before = namespace.fingerprints()
    pods = {one["metadata"]["uid"] for one in namespace.cluster.find(POD)}
    assert "2 functions: 2 unchanged; route table 1" in shop.deploy()
    assert namespace.fingerprints() == before
    assert {one["metadata"]["uid"] for one in namespace.cluster.find(POD)} == pods

    # One edited function: its objects alone, said before it is done.
    shop.edit("double", 5)
    said = shop.deploy("diff")
    assert "+kind: Deployment" in said
    assert "shop-double" in said
    assert "shop-triple" not in said
    assert "2 functions: 1 unchanged, 1 replaced" in said
    assert namespace.fingerprints() == before
    assert "2 functions: 1 unchanged, 1 replaced" in shop.deploy()
    after = namespace.fingerprints()
    assert {key for key in before if after.get(key) == before[key]} == {
        key for key in before if "triple" in key
    }
    assert (shop.call("double"), shop.call("triple")) == (20, 12)

    # Back, without a build; forward again.
    assert "1 unchanged, 1 replaced" in shop.deploy("rollback", "double")
    assert shop.call("double") == 8
    shop.deploy("rollback", "double")
    assert shop.call("double") == 20

    # A version that does not start: the reason, and what served serves on.
    shop.clone.write(
        {
            "examples/shop/double.py": "import os\nif 'TURBOLIFT_VERSION' in os.environ:\n    import frobnicate  # pants: no-infer-dep\n"
            + CODE.format(name="double", factor=7)
        }
    )
    before = namespace.fingerprints()
    said = shop.deploy(code=1)
    assert "exit code 78: the function cannot be loaded" in said
    assert "No module named 'frobnicate'" in said
    assert namespace.fingerprints() == before
    assert shop.call("double") == 20

    assert "freed" in shop.deploy("prune")
    shop.deploy("destroy")
    assert namespace.ours() == []
    assert not [one for one in namespace.cluster.find(POD) if not one["metadata"].get("deletionTimestamp")]
