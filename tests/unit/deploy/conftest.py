# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the tests of the deploy room share: the workshop of bundles, and deployments that are destroyed at the
end.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from unit.deploy import bundles
from unit.deploy.deployments import DOUBLE, Deployment, double, environment


@pytest.fixture(scope="session")
def workshop() -> bundles.Workshop:
    """What bundles are made from; skips where it cannot be had."""
    try:
        return bundles.workshop()
    except bundles.CannotBuildError as error:
        pytest.skip(f"no base image or third-party tree can be built here: {error}")


@pytest.fixture(scope="session")
def shared(workshop: bundles.Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment with one state home for many deployments; one of them keeps the common layers unpacked."""
    # A socket's path has to be short.
    runtime = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    env = environment(tmp_path_factory.mktemp("state"), runtime)
    anchor = Deployment(workshop, tmp_path_factory.mktemp("anchor"), env, "anchor")
    anchor.run(bundle=anchor.bundle(DOUBLE, double=double()))
    yield env
    anchor.run("destroy")
    shutil.rmtree(runtime)


@pytest.fixture
def new_deployment(
    workshop: bundles.Workshop, shared: dict[str, str], tmp_path: Path
) -> Iterator[Callable[..., Deployment]]:
    """A maker of deployments; all of them are destroyed at the end, and nothing of them may run on."""
    made: list[Deployment] = []

    def make(
        name: str = "deploy", *, folder: str | None = None, env: dict[str, str] | None = None
    ) -> Deployment:
        found = Deployment(workshop, tmp_path / (folder or f"d{len(made)}"), env or shared, name)
        made.append(found)
        return found

    yield make
    for one in made:
        state = one.state
        one.run("--grace", "2", "destroy")
        assert not state.exists()
        assert not one.running()


@pytest.fixture
def deployment(new_deployment: Callable[..., Deployment]) -> Deployment:
    """A deployment of its own."""
    return new_deployment()


@pytest.fixture
def private_env(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment with a state home of its own."""
    runtime = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    yield environment(tmp_path / "state", runtime)
    shutil.rmtree(runtime)
