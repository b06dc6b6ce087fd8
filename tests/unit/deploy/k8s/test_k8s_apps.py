# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The objects of apps: what their pods may do, and which versions they call."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from turbolift.deploy.k8s import apps, manifests, names, render
from turbolift.deploy.k8s.objects import Object
from turbolift.deploy.k8s.settings import Settings
from turbolift.deploy.platform import App, Release

SETTINGS = Settings("deploy", "pricing", "registry.example/team")
SHARED = ("ServiceAccount", "ConfigMap")


def release(function: str, version: str = "1") -> Release:
    digest = hashlib.sha256(f"{function} {version}".encode()).hexdigest()
    document = {"contract": {"digest": f"sha256:{'c' * 64}"}, "options": {"timeout": 5.0, "idempotent": True}}
    return Release(function, digest, f"sha256:{digest}", "k8s", document)


def app(kind: str = "deployment", *pins: Release, version: str = "1", **options: Any) -> App:
    given = {"args": [], "env": {}, "replicas": 2, "cpu": None, "memory": None, **options}
    made = release("shop.app:__main__", version)
    spec = {"kind": kind, "options": given, "functions": [one.function for one in pins]}
    return App(Release(made.function, made.version, made.image, "k8s", spec), pins)


def by_kind(one: App) -> dict[str, Object]:
    return {each["kind"]: each for each in apps.app_objects(SETTINGS, one)}


@pytest.mark.parametrize(("kind", "run"), [("deployment", "Deployment"), ("job", "Job")])
def test_what_runs_is_closed_and_named_by_digest(kind: str, run: str) -> None:
    one = app(kind, release("shop.a:f"), cpu="250m", memory="64Mi")
    found = by_kind(one)
    assert set(found) == {*SHARED, run}
    pod = found[run]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (
        container["image"]
        == f"registry.example/team/{names.function_name(one.release.function)}@{one.release.image}"
    )
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"] == {
        "requests": {"cpu": "250m", "memory": "64Mi"},
        "limits": {"memory": "64Mi"},
    }
    labels = found[run]["spec"]["template"]["metadata"]["labels"]
    assert labels[names.CALLER] == "deploy"


def test_its_table_has_exactly_its_pins_and_its_pods_mount_it() -> None:
    pins = (release("shop.a:f"), release("shop.b:g"))
    found = by_kind(app("job", *pins))
    table = json.loads(found["ConfigMap"]["data"]["routes.json"])
    assert {name: route["version"] for name, route in table["routes"].items()} == {
        one.function: one.version for one in pins
    }
    assert table["routes"]["shop.a:f"]["endpoint"] == render.endpoint(SETTINGS, pins[0])
    assert found["ConfigMap"]["immutable"] is True
    pod = found["Job"]["spec"]["template"]["spec"]
    (volume,) = (one for one in pod["volumes"] if one["name"] == "routes")
    assert volume["projected"]["sources"][0]["configMap"]["name"] == found["ConfigMap"]["metadata"]["name"]
    (mount,) = (one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "routes")
    env = {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
    assert env["TURBOLIFT_ROUTES"] == f"{mount['mountPath']}/routes.json"
    assert env["TURBOLIFT"] == "on"
    assert apps.pinned([found["ConfigMap"]]) == {
        (one.function, one.version): "shop.app:__main__" for one in pins
    }


def test_a_deployment_keeps_its_name_and_a_job_does_not() -> None:
    pins = [release("shop.a:f")]
    old, new = (by_kind(app("deployment", *pins, version=version)) for version in "12")
    assert old["Deployment"]["metadata"]["name"] == new["Deployment"]["metadata"]["name"]
    assert old["Deployment"]["spec"]["selector"] == new["Deployment"]["spec"]["selector"]
    # A pod of the old version keeps the old table while the new one rolls out.
    assert old["ConfigMap"]["metadata"]["name"] != new["ConfigMap"]["metadata"]["name"]
    first, second = (by_kind(app("job", *pins, version=version))["Job"] for version in "12")
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert first["spec"]["backoffLimit"] == 0
    assert first["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_arguments_and_environment_reach_the_program_as_they_are_written() -> None:
    found = by_kind(app("deployment", env={"PRICE": "$(HOME) costs $5"}, args=["--at", "$(HOME)"]))
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["--at", "$$(HOME)"]
    assert {"name": "PRICE", "value": "$$(HOME) costs $$5"} in container["env"]
    assert found["Deployment"]["spec"]["replicas"] == 2


def test_objects_of_functions_pin_nothing() -> None:
    table = render.route_table(SETTINGS, [release("shop.a:f")], generation=3)
    assert apps.pinned([render.routes_map(SETTINGS, table)]) == {}


def test_manifests_have_the_apps_too() -> None:
    one = app("deployment", release("shop.a:f"))
    name = f"{names.function_name(one.release.function)}.yaml"
    found = manifests.files(SETTINGS, [], [one])
    assert name in found
    assert f"- {name}" in found[manifests.KUSTOMIZATION]
    assert found == manifests.files(SETTINGS, [], [one])
