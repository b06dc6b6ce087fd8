# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the documentation promises, and what is said of a pod, without a cluster (tests/e2e/test_k8s_life.py has one)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from turbolift.deploy.k8s import diagnose, permissions, place
from turbolift.deploy.k8s.place import Place
from turbolift.deploy.places import locate
from turbolift.deploy.platform import Release
from turbolift.errors import ConfigurationError

ROOT = Path(__file__).parents[4]


def release(function: str, platform: str) -> Release:
    return Release(function, "0" * 64, "sha256:" + "0" * 64, platform, {"platform": {"kind": platform}})


def test_the_documented_role_is_the_checked_one() -> None:
    text = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
    documented = yaml.safe_load(text.partition("<!-- role:")[2].partition("```yaml")[2].partition("```")[0])
    assert documented == permissions.role("pricing")


def test_a_role_has_each_verb_once() -> None:
    seen = [
        (group, resource, verb)
        for group, resources, verbs in permissions.RULES
        for resource in resources
        for verb in verbs
    ]
    assert len(seen) == len(set(seen))
    assert not any("*" in part for one in seen for part in one)
    # Who may list Secrets may read everybody's.
    secrets = {verb for _, resource, verb in seen if resource == "secrets"}
    assert secrets == {"get", "create", "patch", "delete"}


def pod(uid: str, *statuses: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"uid": uid, "name": uid, **metadata},
        "status": {"containerStatuses": list(statuses)},
    }


WAITING = {"restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff"}}}
ENDED = {"restartCount": 0, "state": {"terminated": {"exitCode": 78}}}
AGAIN = {"restartCount": 3, "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}}}


@pytest.mark.parametrize(
    ("one", "before", "stuck", "expected"),
    [
        (pod("a"), {}, set(), False),
        (pod("a", WAITING), {}, set(), True),
        (pod("a", WAITING), {"a": 0}, {"a"}, False),
        (pod("a", {"state": {"waiting": {"reason": "ContainerCreating"}}}), {}, set(), False),
        (pod("a", ENDED), {}, set(), True),
        (pod("a", AGAIN), {}, set(), True),
        (pod("a", AGAIN), {"a": 3}, set(), False),
        (pod("a", AGAIN), {"a": 2}, set(), True),
        (pod("a", ENDED, deletionTimestamp="2026-01-01T00:00:00Z"), {}, set(), False),
    ],
)
def test_when_waiting_is_in_vain(
    one: dict[str, Any], before: dict[str, int], stuck: set[str], expected: bool
) -> None:
    assert (diagnose.hopeless(None, [one], before, stuck) is one) is expected


def test_places_are_told_apart_and_remembered(tmp_path: Path) -> None:
    staging = Place("staging", "https://one", "shop", "/kube/config", "registry.example/team")
    production = Place("prod", "https://two", "shop")
    assert staging.folder != production.folder
    # The same server and namespace under another name of the context is the same place.
    assert (
        staging.folder.rpartition("-")[2] == Place("other", "https://one", "shop").folder.rpartition("-")[2]
    )
    place.remember(tmp_path / place.SCOPE / staging.folder, staging)
    assert locate(tmp_path, None, {}, ()) == (tmp_path / "k8s" / staging.folder, staging)
    assert locate(tmp_path, "local", {}, ()) == (tmp_path, None)
    place.remember(tmp_path / place.SCOPE / production.folder, production)
    with pytest.raises(
        ConfigurationError, match="in 2 places: say which one: --context prod --namespace shop; --context"
    ):
        locate(tmp_path, "k8s", {}, ())
    assert locate(tmp_path, "k8s", {"context": "prod"}, ())[1] == production


def test_one_run_goes_to_one_kind_of_place(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"to k8s alone, or not at all: m:f \(k8s\), m:g \(local\): pass --platform"
    ):
        locate(tmp_path, None, {}, [release("m:f", "k8s"), release("m:g", "local")])
    with pytest.raises(ConfigurationError, match="--context, --namespace: only platform k8s takes that"):
        locate(tmp_path, "local", {"namespace": "n", "context": "c"}, ())


def test_the_client_is_imported_for_clusters_alone() -> None:
    import subprocess

    program = (
        "import sys; from turbolift.deploy import cli, registry, places; from turbolift.deploy.k8s import manifests, "
        "render, diagnose; print(*sorted({'cryptography', 'kubernetes', 'yaml', 'urllib3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
