# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Objects and manifests: golden, the same bytes always, and valid for any identity that Python allows."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from turbolift import K8s
from turbolift.deploy.k8s import headless, manifests, names, pod, render
from turbolift.deploy.k8s.objects import RELEASE_KINDS, Object, annotation, kind_of
from turbolift.deploy.k8s.settings import Settings, check_registry, declared
from turbolift.deploy.platform import Release
from turbolift.errors import ConfigurationError, DeployError, DocumentError

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = Settings("deploy", "pricing", "registry.example/team")

LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
IDENTITIES = st.from_regex(r"[^:\s]{1,90}:[^:\s]{1,60}", fullmatch=True)
VERSIONS = st.binary(min_size=1, max_size=8).map(lambda data: hashlib.sha256(data).hexdigest())


def release(function: str, platform: K8s | None = None, version: str = "1", **options: Any) -> Release:
    digest = hashlib.sha256(f"{function} {version}".encode()).hexdigest()
    given: dict[str, Any] = {
        "timeout": None,
        "idempotent": False,
        "max_scale_n": 1,
        "env": {},
        "cpu": None,
        "memory": None,
    }
    document = {
        "contract": {"digest": f"sha256:{'c' * 64}", "parameters": {}, "result": {}},
        "options": {**given, **options},
        "platform": (platform or K8s()).describe(),
    }
    return Release(function, digest, f"sha256:{digest}", "k8s", document)


SMALL = release("shop.double:double")
OPEN = release("shop.open:serve", K8s(plaintext=True))
RICH = release(
    "pricing.quote:Quotes.quote",
    K8s(
        10,
        min_scale_n=2,
        secrets={"DB_PASSWORD": "database/password"},
        configs={"REGION": "settings/region"},
        node_selector={"pool": "gpu"},
        tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        resources={"nvidia.com/gpu": 1},
        pull_secrets=["registry-login"],
    ),
    max_scale_n=10,
    timeout=45.0,
    idempotent=True,
    cpu="500m",
    memory="256Mi",
    env={"MODE": "fast", "PRICE": "$(HOME) costs $5"},
)


def by_kind(settings: Settings, one: Release) -> dict[str, Object]:
    return {each["kind"]: each for each in render.release_objects(settings, one)}


def test_golden() -> None:
    found = manifests.files(SETTINGS, [RICH, SMALL, OPEN])
    assert sorted(found) == sorted(path.name for path in GOLDEN.glob("*.yaml"))
    for name, text in found.items():
        assert text == (GOLDEN / name).read_text("utf-8"), f"{name}: see {GOLDEN}"


def test_manifests_say_what_deploy_applies() -> None:
    found = manifests.files(SETTINGS, [SMALL, RICH])
    for one in (SMALL, RICH):
        text = found[f"{names.function_name(one.function)}.yaml"]
        assert list(yaml.safe_load_all(text)) == render.release_objects(SETTINGS, one)
    (routes,) = yaml.safe_load_all(found["routes.yaml"])
    table = json.loads(routes["data"]["routes.json"])
    assert table["routes"][RICH.function]["endpoint"] == render.endpoint(SETTINGS, RICH)
    kustomization = yaml.safe_load(found["kustomization.yaml"])
    assert set(kustomization["resources"]) == found.keys() - {"kustomization.yaml"}


@pytest.mark.parametrize(
    "text", ["1234567e10", "0123456789", "1_000", "0x1f", "1:30", "y", "no", "~", "", "-", "null", ".5"]
)
def test_a_text_stays_a_text_for_any_reader(text: str) -> None:
    assert manifests.to_yaml([{"a": text}]) == f"---\na: '{text}'\n"


def test_writing_takes_old_functions_away_and_touches_no_file_of_others(tmp_path: Path) -> None:
    manifests.write(tmp_path, SETTINGS, [SMALL, RICH])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    manifests.write(tmp_path, SETTINGS, [RICH, SMALL])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    manifests.write(tmp_path, SETTINGS, [SMALL])
    assert len(list(tmp_path.iterdir())) == 3
    (tmp_path / "mine.yaml").write_text("kind: Secret\n")
    with pytest.raises(DeployError, match=r"mine\.yaml: not made by turbolift"):
        manifests.write(tmp_path, SETTINGS, [SMALL])
    with pytest.raises(DeployError, match="not made by turbolift for deployment 'other'"):
        manifests.write(tmp_path, Settings("other", "n", "r.example"), [SMALL])


@given(IDENTITIES, VERSIONS)
def test_names_are_dns_labels_for_any_identity(function: str, version: str) -> None:
    name = names.object_name(function, version)
    assert LABEL.fullmatch(name)
    assert name.endswith(f"-{hashlib.sha256(function.encode()).hexdigest()[:8]}-{version[:10]}")
    assert LABEL.fullmatch(names.function_name(function))
    each = headless.each_name(name)
    assert LABEL.fullmatch(each)
    assert each.endswith(f"{name[-20:]}-each")
    for value in names.labels("deploy", release(function)).values():
        assert re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", value)
    # The repository of its images too.
    assert check_registry(SETTINGS.repository(function), "it")


@given(IDENTITIES, IDENTITIES)
def test_names_differ_where_identities_do(one: str, other: str) -> None:
    assert (names.function_name(one) == names.function_name(other)) == (one == other)


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.from_regex(r"[A-Z]{1,5}", fullmatch=True), st.text(max_size=20)), st.randoms())
def test_the_order_of_what_is_given_changes_nothing(env: dict[str, str], random: Any) -> None:
    items = list(env.items())
    random.shuffle(items)
    one, other = (release("m:f", max_scale_n=3, env=given) for given in (env, dict(items)))
    assert manifests.files(SETTINGS, [one, SMALL]) == manifests.files(SETTINGS, [SMALL, other])


@pytest.mark.parametrize("one", [SMALL, RICH, OPEN], ids=["small", "rich", "open"])
def test_the_pod_is_restricted(one: Release) -> None:
    spec = by_kind(SETTINGS, one)["Deployment"]["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert re.fullmatch(r"registry\.example/team/[-a-z0-9]+@sha256:[0-9a-f]{64}", container["image"])
    assert all(volume.keys() & {"emptyDir", "projected", "secret"} for volume in spec["volumes"])


@given(st.floats(0.1, 5000), st.none() | st.floats(0, 5000))
def test_the_grace_time_fits_preStop_and_drain(timeout: float, drain: float | None) -> None:
    one = release("m:f", timeout=timeout)
    spec = by_kind(Settings("deploy", "n", "r.example", drain), one)["Deployment"]["spec"]["template"]["spec"]
    container = spec["containers"][0]
    env = {each["name"]: each.get("value") for each in container["env"]}
    grace = spec["terminationGracePeriodSeconds"]
    assert isinstance(grace, int)
    assert grace > container["lifecycle"]["preStop"]["sleep"]["seconds"] + float(env["TURBOLIFT_GRACE"])


def test_replicas_are_the_autoscalers_where_there_is_one() -> None:
    plain, rich = by_kind(SETTINGS, SMALL), by_kind(SETTINGS, RICH)
    assert plain["Deployment"]["spec"]["replicas"] == 1
    assert "HorizontalPodAutoscaler" not in plain
    assert "replicas" not in rich["Deployment"]["spec"]
    scaler = rich["HorizontalPodAutoscaler"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 10)
    assert scaler["scaleTargetRef"]["name"] == rich["Deployment"]["metadata"]["name"]
    kinds = [kind_of(each) for each in render.release_objects(SETTINGS, RICH)]
    assert list(dict.fromkeys(kinds)) == list(RELEASE_KINDS)
    # Nothing twice, but the Service: one stands for any replica, and one for each.
    assert sorted(each.kind for each in kinds) == sorted([*(each.kind for each in RELEASE_KINDS), "Service"])


def test_there_is_a_name_for_each_replica_where_there_may_be_several() -> None:
    each, any_ = [one for one in render.release_objects(SETTINGS, RICH) if one["kind"] == "Service"]
    name = any_["metadata"]["name"]
    assert "clusterIP" not in any_["spec"]
    assert each["spec"] == {**any_["spec"], "clusterIP": "None"}
    assert each["metadata"]["name"] == headless.each_name(name) == f"{name}-each"
    assert each["metadata"]["labels"] == any_["metadata"]["labels"]
    routes = render.route_table(SETTINGS, [RICH, SMALL], generation=1)["routes"]
    assert routes[RICH.function]["replicas"] == [f"https://{name}-each.pricing.svc:8080#each"]
    assert routes[RICH.function]["server_name"] == f"{name}.pricing.svc"
    assert "replicas" not in routes[SMALL.function]
    assert len([one for one in render.release_objects(SETTINGS, SMALL) if one["kind"] == "Service"]) == 1
    # What is there says the same: of a release made before there were such names, that it has none.
    objects = [one for release in (RICH, SMALL) for one in render.release_objects(SETTINGS, release)]
    assert headless.instances_of(SETTINGS, objects) == [
        render.instance(SETTINGS, RICH),
        render.instance(SETTINGS, SMALL),
    ]
    (found,) = headless.instances_of(
        SETTINGS, [one for one in render.release_objects(SETTINGS, RICH) if one != each]
    )
    assert found.way() == {"endpoint": f"https://{name}.pricing.svc:8080"}
    (found,) = headless.instances_of(
        SETTINGS, render.release_objects(SETTINGS, release("m:f", K8s(5, plaintext=True)))
    )
    assert "server_name" not in found.way()


def test_secrets_are_references_and_a_dollar_is_a_dollar() -> None:
    container = by_kind(SETTINGS, RICH)["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    env = {each["name"]: each for each in container["env"]}
    assert env["DB_PASSWORD"]["valueFrom"] == {"secretKeyRef": {"name": "database", "key": "password"}}
    assert env["REGION"]["valueFrom"] == {"configMapKeyRef": {"name": "settings", "key": "region"}}
    assert env["PRICE"]["value"] == "$$(HOME) costs $$5"
    assert container["resources"]["limits"] == {"memory": "256Mi", "nvidia.com/gpu": "1"}


def test_the_hash_tells_every_change() -> None:
    (before,) = [each for each in render.release_objects(SETTINGS, SMALL) if each["kind"] == "Service"]
    assert annotation(before, names.SPEC_HASH) == annotation(
        by_kind(SETTINGS, copy.deepcopy(SMALL))["Service"], names.SPEC_HASH
    )
    moved = by_kind(Settings("deploy", "elsewhere", "registry.example/team"), SMALL)["Service"]
    assert annotation(before, names.SPEC_HASH) != annotation(moved, names.SPEC_HASH)


def test_a_table_that_callers_would_refuse_is_not_written() -> None:
    with pytest.raises(DocumentError, match="not a valid route table"):
        render.routes_map(SETTINGS, {"version": 1})


def test_one_deployment_goes_to_one_place() -> None:
    here, there = release("m:f", K8s(namespace="a")), release("m:g", K8s(namespace="b"))
    assert declared("namespace", None, [here, release("m:h")]) == "a"
    assert declared("namespace", "c", [here, there]) == "c"
    assert declared("namespace", None, [release("m:h")]) is None
    with pytest.raises(
        ConfigurationError, match=r"2 values of K8s\(namespace=\.\.\.\): a \(m:f\); b \(m:g\)"
    ):
        declared("namespace", None, [here, there])


@pytest.mark.parametrize(
    "text", ["team", "UPPER.example/Team", "host.example/", "host.example/a//b", "http://h.example"]
)
def test_what_is_no_registry(text: str) -> None:
    with pytest.raises(ConfigurationError):
        check_registry(text, "--registry")


def test_a_deployment_whose_name_is_no_label() -> None:
    with pytest.raises(ConfigurationError, match="too long for a label"):
        names.deployment_labels("d" * 54)


@pytest.mark.parametrize(("one", "port"), [(SMALL, "probes"), (OPEN, "http")], ids=["tls", "plaintext"])
def test_ports_and_paths_are_the_shims(one: Release, port: str) -> None:
    template = by_kind(SETTINGS, one)["Deployment"]["spec"]["template"]
    container = template["spec"]["containers"][0]
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]
    assert [probe["path"] for probe in probes] == ["/readyz", "/readyz", "/healthz"]
    assert {(probe["port"], probe["scheme"]) for probe in probes} == {(port, "HTTP")}
    assert container["ports"][0]["containerPort"] == pod.PORT == 8080
    numbers = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(numbers[port])


def test_calls_are_closed_by_default() -> None:
    found = by_kind(SETTINGS, SMALL)
    (served,) = found["Service"]["spec"]["ports"]
    assert (served["name"], served["targetPort"], served["appProtocol"]) == ("https", "https", "https")
    name = found["Service"]["metadata"]["name"]
    assert render.endpoint(SETTINGS, SMALL) == f"https://{name}.pricing.svc:8080"
    spec = found["Deployment"]["spec"]["template"]["spec"]
    container = spec["containers"][0]
    env = {each["name"]: each.get("value") for each in container["env"]}
    assert env["TURBOLIFT_PROBE_PORT"] == "8081"
    (mount,) = [each for each in container["volumeMounts"] if each["mountPath"] == env["TURBOLIFT_TLS"]]
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert mount["readOnly"] is True
    assert volumes[mount["name"]]["secret"] == {"secretName": name, "defaultMode": 0o440}
    # A function may call others: it has what callers have, where callers look for it.
    (mount,) = [each for each in container["volumeMounts"] if each["mountPath"] == "/etc/turbolift"]
    sources = volumes[mount["name"]]["projected"]["sources"]
    paths = {item["path"] for source in sources for one in source.values() for item in one["items"]}
    assert paths == {"routes.json", "tls/ca.crt", "tls/tls.crt", "tls/tls.key"}
    assert env["TURBOLIFT_ROUTES"] == "/etc/turbolift/routes.json"
    # Only its callers reach either port.
    (rule,) = found["NetworkPolicy"]["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"turbolift.dev/caller": "deploy"}}}]
    assert [each["port"] for each in rule["ports"]] == [8080, 8081]


def test_plaintext_is_said_and_nothing_else_of_it_is_mounted() -> None:
    found = by_kind(SETTINGS, OPEN)
    assert [each["name"] for each in found["Service"]["spec"]["ports"]] == ["http"]
    assert render.endpoint(SETTINGS, OPEN).startswith("http://shop-open-serve-")
    spec = found["Deployment"]["spec"]["template"]["spec"]
    assert [each["name"] for each in spec["volumes"]] == ["tmp", "routes"]
    assert "TURBOLIFT_TLS" not in json.dumps(found["Deployment"])
    assert [each["port"] for each in found["NetworkPolicy"]["spec"]["ingress"][0]["ports"]] == [8080]


def test_no_key_is_in_a_manifest() -> None:
    text = "".join(manifests.files(SETTINGS, [SMALL, RICH, OPEN]).values())
    assert "kind: Secret\n" not in text
    assert "PRIVATE KEY" not in text
