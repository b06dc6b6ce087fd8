# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Functions of a real cluster are closed: who has the deployment's certificate calls them, and nobody else does."""

from __future__ import annotations

import base64
import datetime
import json
import shutil
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.kubernetes_cluster import (
    ClusterDeployment,
    Namespace,
    sources,
)
from turbolift.deploy.k8s import certificates, names
from turbolift.deploy.k8s.certificates import Pair
from turbolift.deploy.k8s.objects import CONFIG_MAP, DEPLOYMENT, EVENT, POD, SECRET, Object
from unit.deploy import bundles
from unit.deploy.deployments import environment, wait_for

DOUBLE = "shop.double:double"
SECONDS = 90.0
AUTHORITY, CALLER = "turbolift-deploy-ca", "turbolift-deploy-caller"


@pytest.fixture
def deployment(
    workshop: bundles.Workshop, namespace: Namespace, tmp_path: Path
) -> Iterator[ClusterDeployment]:
    """A deployment from one machine."""
    runtime = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    env = environment(tmp_path / "state", runtime)
    env["KUBECONFIG"] = namespace.real.kubeconfig
    yield ClusterDeployment(workshop, tmp_path / "machine", env, namespace)
    # A forward leaves no key behind.
    assert list(runtime.iterdir()) == []
    shutil.rmtree(runtime)


def secrets(namespace: Namespace) -> dict[str, Object]:
    """Return the Secrets of turbolift's."""
    found = namespace.cluster.find(SECRET, labels="app.kubernetes.io/managed-by=turbolift")
    return {one["metadata"]["name"]: one for one in found}


def data(secret: Mapping[str, Any]) -> dict[str, bytes]:
    return {key: base64.b64decode(text) for key, text in secret["data"].items()}


def writes(namespace: Namespace) -> dict[str, tuple[str, str]]:
    """Return what changes of an object when somebody writes it; our Lease is written by every run."""
    found = [*namespace.ours(), *secrets(namespace).values()]
    return {
        f"{one['kind']}/{one['metadata']['name']}": (
            one["metadata"]["uid"],
            one["metadata"]["resourceVersion"],
        )
        for one in found
        if one["kind"] not in ("Lease", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget")
    }


PROGRAM = """
import json, sys, time
from shop.double import double
from turbolift import TlsError
def call():
    try:
        return double.call(4)
    except TlsError as error:
        return error.reason
    except Exception as error:
        return type(error).__name__
if sys.argv[1:] == ["once"]:
    print(json.dumps(call()))
else:
    while True:
        print(json.dumps(call()), flush=True)
        time.sleep(0.2)
"""


class Caller:
    """A pod that calls ``double``, from the function's own image: once, or until it is deleted."""

    def __init__(
        self,
        namespace: Namespace,
        name: str,
        *,
        secret: str | None = CALLER,
        label: bool = True,
        once: bool = True,
        keys: Iterable[str] = ("tls.crt", "tls.key", "ca.crt"),
    ) -> None:
        self.namespace = namespace
        self.name = name
        (live,) = namespace.cluster.find(DEPLOYMENT)
        (container,) = live["spec"]["template"]["spec"]["containers"]
        table = {
            "name": names.routes_name("deploy"),
            "items": [{"key": "routes.json", "path": "routes.json"}],
        }
        files = [{"key": key, "path": f"tls/{key}"} for key in keys]
        mounted: list[dict[str, Any]] = [{"configMap": table}]
        if secret is not None:
            mounted.append({"secret": {"name": secret, "items": files}})
        namespace.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "labels": {names.CALLER: "deploy"} if label else {}},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 0,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 65532,
                        "fsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [
                        {
                            "name": "function",
                            "image": container["image"],
                            "command": ["/usr/bin/python3", "-c", PROGRAM, "once" if once else "on"],
                            "env": [
                                {"name": "TURBOLIFT", "value": "on"},
                                {"name": "TURBOLIFT_ROUTES", "value": "/etc/turbolift/routes.json"},
                            ],
                            "volumeMounts": [
                                {"name": "routes", "mountPath": "/etc/turbolift", "readOnly": True}
                            ],
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "capabilities": {"drop": ["ALL"]},
                                "readOnlyRootFilesystem": True,
                            },
                        }
                    ],
                    "volumes": [{"name": "routes", "projected": {"sources": mounted}}],
                },
            }
        )

    def lines(self) -> list[Any]:
        """Return what it has printed, line by line."""
        return [json.loads(line) for line in self.namespace.cluster.log(self.name, lines=None)]

    def result(self) -> Any:
        """Return what its one call gave."""

        def ended() -> Any:
            live = self.namespace.cluster.get(POD, self.name)
            return live is not None and live["status"]["phase"] in ("Succeeded", "Failed")

        wait_for(ended, SECONDS)
        text = list(self.namespace.cluster.log(self.name, lines=None))
        self.namespace.cluster.delete(POD, self.name)
        assert len(text) == 1, text
        return json.loads(text[0])


def table(namespace: Namespace) -> dict[str, Any]:
    live = namespace.cluster.get(CONFIG_MAP, "turbolift-deploy")
    assert live is not None
    found: dict[str, Any] = json.loads(live["data"]["routes.json"])
    return found


def test_calls_are_closed_and_their_certificates_go_with_the_rest(
    deployment: ClusterDeployment, namespace: Namespace
) -> None:
    bundle = deployment.double(2)
    deployment.run("--check", 'double={"n": 4}', bundle=bundle)
    (one,) = deployment.status().values()
    name = names.object_name(DOUBLE, one["version"])
    assert one["endpoint"] == table(namespace)["routes"][DOUBLE]["endpoint"]
    assert one["endpoint"] == f"https://{name}.{namespace.name}.svc:8080"
    # Counted by the plain port, called by the other.
    assert one["calls"] == 1
    assert secrets(namespace).keys() == {AUTHORITY, CALLER, name}
    for each in secrets(namespace).values():
        assert each["metadata"]["labels"]["app.kubernetes.io/part-of"] == "deploy"
    assert b"PRIVATE KEY" not in data(secrets(namespace)[CALLER])["ca.crt"]
    assert data(secrets(namespace)[CALLER])["ca.crt"] == data(secrets(namespace)[AUTHORITY])["tls.crt"]

    # Who has the label and the Secret calls; who lacks either does not.
    assert Caller(namespace, "caller").result() == 8
    assert Caller(namespace, "stranger", secret=None).result() == "unknown-authority"
    wrong = certificates.new_authority("other", datetime.datetime.now(datetime.UTC))
    pair = certificates.issue_caller(wrong, datetime.datetime.now(datetime.UTC))
    for title, files, said in (
        ("nobody", {}, "no-client-certificate"),
        ("other", {"tls.crt": pair.certificate, "tls.key": pair.key}, "client-unknown-authority"),
    ):
        made = {"ca.crt": data(secrets(namespace)[CALLER])["ca.crt"], **files}
        assert Stranger(namespace, title, made).result() == said
    if namespace.real.status:
        # The project's own cluster enforces network policies; not every other does.
        assert Caller(namespace, "unlabelled", label=False).result() == "ConnectError"
    (pod,) = namespace.cluster.find(POD, labels=f"{names.NAME}={names.function_name(DOUBLE)}")
    log = list(namespace.cluster.log(pod["metadata"]["name"], lines=None))
    assert any("peer did not return a certificate" in line for line in log)
    assert deployment.status()[DOUBLE]["calls"] == 2

    # A second deploy writes nothing.
    before = writes(namespace)
    again = deployment.run(bundle=bundle)
    assert "1 unchanged" in again.stdout
    assert writes(namespace) == before
    # One that does not start takes its own away again.
    failed = deployment.run(bundle=deployment.double(7, before="import frobnicate"), code=1)
    assert "No module named 'frobnicate'" in failed.stderr
    assert writes(namespace) == before
    # Another version has a certificate of its own; that of the one before goes with it. The callers' stays.
    deployment.run(bundle=deployment.double(3))
    after = secrets(namespace)
    assert len(after) == 3
    assert name not in after
    assert [data(after[kept]) for kept in (AUTHORITY, CALLER)] == [
        data(secrets(namespace)[kept]) for kept in (AUTHORITY, CALLER)
    ]
    assert deployment.call() == 12
    deployment.run("rollback")
    assert deployment.call() == 8
    assert name in secrets(namespace)
    deployment.run("down")
    assert secrets(namespace).keys() == {AUTHORITY, CALLER}
    deployment.run("destroy")
    assert secrets(namespace) == {}
    assert namespace.ours() == []


class Stranger(Caller):
    """A caller with certificates of its own."""

    def __init__(self, namespace: Namespace, name: str, files: Mapping[str, bytes]) -> None:
        text = {key: base64.b64encode(value).decode() for key, value in files.items()}
        namespace.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": text})
        super().__init__(namespace, name, secret=name, keys=files)


def test_plaintext_is_a_choice(deployment: ClusterDeployment, namespace: Namespace) -> None:
    bundle = deployment.double(2, "K8s(plaintext=True)")
    said = deployment.run("diff", bundle=bundle).stdout
    assert "shop.double:double: plaintext=True: calls of it are not encrypted" in said
    deployment.run("--check", 'double={"n": 4}', bundle=bundle)
    assert secrets(namespace) == {}
    (one,) = deployment.status().values()
    assert one["plaintext"] is True
    assert one["endpoint"].startswith("http://")
    assert "plaintext" in deployment.run("status").stdout
    assert Caller(namespace, "caller", secret=None).result() == 8
    # To TLS, and back: each is a version of its own, and callers follow the table.
    deployment.run(bundle=deployment.double(3))
    assert deployment.call() == 12
    assert deployment.status()[DOUBLE]["plaintext"] is False
    assert Caller(namespace, "caller").result() == 12
    deployment.run("rollback")
    assert deployment.call() == 8
    deployment.run("destroy")
    assert secrets(namespace) == {}


def replace(namespace: Namespace, name: str, files: Mapping[str, bytes]) -> None:
    """Replace the data of a Secret, as somebody else."""
    text = {key: base64.b64encode(value).decode() for key, value in files.items()}
    namespace.cluster.json(
        "PATCH",
        SECRET.path(namespace.name, name),
        {"fieldManager": "test"},
        {"data": text},
        content_type="application/merge-patch+json",
    )


def test_what_runs_out_is_renewed(deployment: ClusterDeployment, namespace: Namespace) -> None:
    bundle = deployment.double(2)
    deployment.run(bundle=bundle)
    (name,) = secrets(namespace).keys() - {AUTHORITY, CALLER}
    early = datetime.datetime.now(datetime.UTC) - certificates.LIFETIME * 0.8
    authority = certificates.read_authority(data(secrets(namespace)[AUTHORITY]))
    service = names.server_names(name, namespace.name)
    # Most of their time has passed.
    for which, pair in (
        (name, certificates.issue_server(authority, service, early)),
        (CALLER, certificates.issue_caller(authority, early)),
    ):
        made = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.trusted()}
        replace(namespace, which, made)
    before = {key: one for key, one in writes(namespace).items() if not key.startswith("Secret/")}
    old = secrets(namespace)
    done = deployment.run(bundle=bundle)
    for which in (name, CALLER):
        assert f"Secret/{which}: its certificate is renewed" in done.stderr
        assert data(secrets(namespace)[which])["tls.crt"] != data(old[which])["tls.crt"]
    assert "1 unchanged" in done.stdout
    assert data(secrets(namespace)[AUTHORITY]) == data(old[AUTHORITY])
    assert {key: one for key, one in writes(namespace).items() if not key.startswith("Secret/")} == before
    settled = writes(namespace)
    deployment.run(bundle=bundle)
    assert writes(namespace) == settled
    deployment.run("destroy")


def test_an_authority_is_followed_by_another_while_calls_go_on(
    deployment: ClusterDeployment, namespace: Namespace
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    turn = now + datetime.timedelta(seconds=60)
    aged = certificates.new_authority("deploy", now - certificates.AUTHORITY_LIFETIME * 0.9)
    following = certificates.new_authority("deploy", turn - certificates.SPREAD)
    authority = certificates.Authority(aged.signer, following.signer)
    text = {key: base64.b64encode(value).decode() for key, value in authority.data().items()}
    labels = names.deployment_labels("deploy")
    namespace.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": AUTHORITY, "labels": labels},
            "data": text,
        }
    )
    bundle = deployment.double(2)
    deployment.run(bundle=bundle)
    (name,) = secrets(namespace).keys() - {AUTHORITY, CALLER}
    for which in (name, CALLER):
        made = Pair(data(secrets(namespace)[which])["tls.crt"], b"").parsed()
        made.verify_directly_issued_by(aged.signer.parsed())
    caller = Caller(namespace, "caller", once=False)
    wait_for(lambda: len(caller.lines()) > 5, SECONDS)
    wait_for(lambda: datetime.datetime.now(datetime.UTC) > turn, SECONDS)
    done = deployment.run(bundle=bundle)
    assert f"Secret/{AUTHORITY}: the next authority signs from now on" in done.stderr
    assert "1 unchanged" in done.stdout
    new = data(secrets(namespace)[name])
    Pair(new["tls.crt"], b"").parsed().verify_directly_issued_by(following.signer.parsed())
    assert new["ca.crt"] == following.signer.certificate + aged.signer.certificate
    # The pod takes it up when the kubelet shows it.
    with deployment.start("forward") as forward:
        assert forward.stdout is not None
        path = Path(forward.stdout.readline().split()[1].partition("=")[2])
        (route,) = json.loads(path.read_text())["routes"].values()
        wanted = ssl.PEM_cert_to_DER_cert(new["tls.crt"].decode())
        try:
            wait_for(lambda: shown(route, path.parent / "tls") == wanted, 180.0)
        finally:
            forward.send_signal(signal.SIGINT)
            forward.communicate(timeout=SECONDS)
    count = len(caller.lines())
    wait_for(lambda: len(caller.lines()) > count + 5, SECONDS)
    assert set(caller.lines()) == {8}
    (pod,) = namespace.cluster.find(POD, labels=f"{names.NAME}={names.function_name(DOUBLE)}")
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    deployment.run("destroy")
    assert secrets(namespace) == {}


def shown(route: Mapping[str, Any], folder: Path) -> bytes | None:
    """Return the certificate (DER) that an endpoint shows to a caller who has `folder`; None where the connection ends."""
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    host, _, port = route["endpoint"].removeprefix("https://").partition(":")
    try:
        with (
            socket.create_connection((host, int(port)), 20) as plain,
            context.wrap_socket(plain, server_hostname=route["server_name"]) as secure,
        ):
            return secure.getpeercert(binary_form=True)
    except ConnectionError:
        # One port-forward ended; a caller would try again.
        return None


def test_what_is_broken_or_gone_is_made_anew_or_said(
    deployment: ClusterDeployment, namespace: Namespace
) -> None:
    bundle = deployment.double(2)
    deployment.run(bundle=bundle)
    namespace.cluster.delete(SECRET, CALLER)
    failed = deployment.run("call", "double", '{"n": 4}', code=1)
    assert f"Secret/{CALLER} in namespace {namespace.name}" in failed.stderr
    assert "is gone" in failed.stderr
    assert "1 unchanged" in deployment.run(bundle=bundle).stdout
    assert deployment.call() == 8
    replace(namespace, AUTHORITY, {"tls.crt": b"nonsense"})
    failed = deployment.run(bundle=bundle, code=1)
    assert f"Secret/{AUTHORITY}: no authority of turbolift's certificates is in it" in failed.stderr
    deployment.run("destroy")
    # Somebody else's Secret of that name is not adopted.
    namespace.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": CALLER}, "stringData": {"a": "b"}}
    )
    failed = deployment.run(bundle=bundle, code=1)
    assert f"Secret/{CALLER} in namespace {namespace.name} is there already and is not made by turbolift" in (
        failed.stderr
    )
    live = namespace.cluster.get(SECRET, CALLER)
    assert live is not None
    assert data(live) == {"a": b"b"}
    assert {one["kind"] for one in namespace.ours()} <= {"Lease"}


def test_manifests_for_others_to_apply_get_their_certificates(
    deployment: ClusterDeployment, namespace: Namespace
) -> None:
    bundle = deployment.double(2)
    # The images are pushed.
    deployment.run(bundle=bundle)
    deployment.run("destroy")
    folder = deployment.root / "gitops"
    deployment.run("render", str(folder), bundle=bundle)
    text = "".join(path.read_text() for path in sorted(folder.iterdir()))
    assert "PRIVATE KEY" not in text
    documents = [one for one in yaml.safe_load_all(text) if one["kind"] != "Kustomization"]
    (wanted,) = [one for one in documents if one["kind"] == "Deployment"]
    for one in documents:
        namespace.cluster.apply(one)
    name = wanted["metadata"]["name"]

    def says(what: str) -> Any:
        found = namespace.cluster.find(EVENT, fields=f"reason={what}")
        return [one for one in found if name in one["involvedObject"]["name"]]

    wait_for(lambda: says("FailedMount"), SECONDS)
    said = deployment.run("certificates", bundle=bundle).stdout.splitlines()
    assert [line.partition("  valid until ")[0] for line in said] == [f"Secret/{CALLER}", f"Secret/{name}"]
    year = f"{datetime.datetime.now(datetime.UTC) + certificates.LIFETIME:%Y-%m-%d}"
    assert all(year in line for line in said)
    assert secrets(namespace).keys() == {AUTHORITY, CALLER, name}
    before = writes(namespace)
    assert deployment.run("certificates", bundle=bundle).stdout.splitlines() == said
    assert writes(namespace) == before

    def available() -> Any:
        live = namespace.cluster.get(DEPLOYMENT, name)
        return live is not None and (live.get("status") or {}).get("availableReplicas")

    # A kubelet that has not found a Secret looks again, less and less often.
    wait_for(available, 180.0)
    assert Caller(namespace, "caller").result() == 8
    deployment.run("destroy")
    assert secrets(namespace) == {}
    assert namespace.ours() == []


def test_a_program_here_calls_over_tls(deployment: ClusterDeployment) -> None:
    deployment.run(bundle=deployment.double(2))
    folder = deployment.root / "app"
    for name, text in sources(0).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    program = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from shop.double import double
(route,) = json.load(open(os.environ["TURBOLIFT_ROUTES"]))["routes"].values()
print(double.call(4), sum(double.map(range(40)).call()), route["endpoint"].partition(":")[0])
"""
    for kind in ("lane", "aiohttp"):
        deployment.env["TURBOLIFT_HTTP"] = kind
        done = deployment.run("forward", "--", sys.executable, "-c", program, str(folder))
        assert done.stdout == "8 1560 https\n"
    deployment.run("destroy")


def test_clocks_that_differ(deployment: ClusterDeployment, namespace: Namespace) -> None:
    """Certificates are dated by the API server: a machine whose clock is wrong makes good ones, and is told so."""
    bundle = deployment.double(2)
    folder = deployment.root / "clock"
    folder.mkdir()
    # The machine's clock is everybody's: what the program reads of it is shifted.
    (folder / "sitecustomize.py").write_text(
        "import datetime, os, time\n"
        "_now, _shift = time.time, float(os.environ.get('SHIFT', '0'))\n"
        "time.time = lambda: _now() + _shift\n"
        "class _Shifted(datetime.datetime):\n"
        "    @classmethod\n"
        "    def now(cls, tz=None):\n"
        "        return datetime.datetime.fromtimestamp(time.time(), tz)\n"
        "_real = datetime.datetime\n"
        "import turbolift.deploy.k8s.keys as keys\n"
        "import types\n"
        "shifted = types.SimpleNamespace(**{n: getattr(datetime, n) for n in dir(datetime)})\n"
        "shifted.datetime = _Shifted\n"
        "keys.datetime = shifted\n"
    )
    deployment.env["PYTHONPATH"] = f"{folder}:{deployment.env['PYTHONPATH']}"
    deployment.env["SHIFT"] = str(-3 * 86400)
    done = deployment.run(bundle=bundle)
    assert "certificates are dated by the latter" in done.stderr
    del deployment.env["SHIFT"]
    assert deployment.call() == 8
    made = Pair(data(secrets(namespace)[CALLER])["tls.crt"], b"").parsed()
    begin = datetime.datetime.now(datetime.UTC) - certificates.BEFORE
    assert abs((made.not_valid_before_utc - begin).total_seconds()) < 600
    deployment.run("destroy")
