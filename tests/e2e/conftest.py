# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the tests on a real Kubernetes share: a cluster, namespaces and deployments of a test's own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.kubernetes_cluster import (
    ClusterDeployment,
    Namespace,
    NoClusterError,
    Real,
    drop_namespace,
    find,
    make_namespace,
)
from unit.deploy import bundles
from unit.deploy.deployments import environment


@pytest.fixture(scope="module")
def real() -> Real:
    """A cluster."""
    try:
        return find()
    except NoClusterError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def workshop(real: Real) -> bundles.Workshop:
    """What bundles are made from. The cluster comes first: without one there is no need to build."""
    try:
        return bundles.workshop()
    except bundles.CannotBuildError as error:
        pytest.skip(f"no base image or third-party tree can be built here: {error}")


@pytest.fixture
def namespace(real: Real) -> Iterator[Namespace]:
    """A namespace of the test's own."""
    one = make_namespace(real)
    yield one
    drop_namespace(one)


@pytest.fixture
def new(
    workshop: bundles.Workshop, namespace: Namespace, tmp_path: Path
) -> Iterator[Callable[..., ClusterDeployment]]:
    """A maker of deployments: each as from another machine, with a state of its own."""
    made: list[Path] = []

    def make(*extra: str, name: str = "deploy", kubeconfig: str | None = None) -> ClusterDeployment:
        runtime = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
        made.append(runtime)
        env = environment(tmp_path / f"state{len(made)}", runtime)
        env["KUBECONFIG"] = kubeconfig or namespace.real.kubeconfig
        root = tmp_path / f"machine{len(made)}"
        return ClusterDeployment(workshop, root, env, namespace, *extra, name=name)

    yield make
    for folder in made:
        shutil.rmtree(folder)


@pytest.fixture
def deployment(new: Callable[..., ClusterDeployment]) -> ClusterDeployment:
    """A deployment from one machine."""
    return new()


@pytest.fixture(scope="module")
def serving(
    real: Real, workshop: bundles.Workshop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClusterDeployment]:
    """A deployment that serves, for tests that change nothing of it."""
    one = make_namespace(real)
    runtime = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    env = environment(tmp_path_factory.mktemp("state"), runtime)
    env["KUBECONFIG"] = real.kubeconfig
    found = ClusterDeployment(workshop, tmp_path_factory.mktemp("serving"), env, one)
    found.run(bundle=found.double(2))
    yield found
    found.run("destroy")
    assert one.ours() == []
    drop_namespace(one)
    shutil.rmtree(runtime)
