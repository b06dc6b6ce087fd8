# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The cluster's certificate authority, its certificates, and a kubeconfig for each program and for the administrator."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

from .files import run, write, write_json
from .settings import Cluster

# The programs of the control plane, and the user and the groups that the API server takes each of them for.
_USERS = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "network-policy": ("turbolift:network-policy", ""),
}
_DAYS = "3650"


def make(cluster: Cluster) -> None:
    """Make all keys, certificates and kubeconfigs of a cluster below its state folder."""
    folder = cluster.state / "pki"
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "openssl.cnf", "[req]\ndistinguished_name=dn\n[dn]\n")
    authority = ["req", "-x509", "-config", "openssl.cnf", *_key("ca"), "-days", _DAYS, "-out", "ca.crt"]
    _openssl(
        folder, *authority, "-subj", f"/CN={cluster.context}-ca",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    names = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    addresses = ["127.0.0.1", cluster.control.address, cluster.api_service]
    _certificate(folder, "apiserver", "/CN=kube-apiserver", "serverAuth", names, addresses)
    _certificate(folder, "front-proxy", "/CN=front-proxy-client", "clientAuth")
    _certificate(
        folder, "apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client", "clientAuth"
    )
    for node in cluster.nodes:
        _certificate(
            folder,
            node.name,
            f"/O=system:nodes/CN=system:node:{node.name}",
            "serverAuth",
            [node.name],
            [node.address],
        )
    _openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "service-account.key")
    _openssl(folder, "ec", "-in", "service-account.key", "-pubout", "-out", "service-account.pub")
    for key in folder.glob("*.key"):
        key.chmod(0o600)
    users = dict(_USERS)
    users |= {f"kubelet-{node.name}": (f"system:node:{node.name}", "system:nodes") for node in cluster.nodes}
    tokens = {name: secrets.token_hex(16) for name in users}
    lines = [f'{tokens[name]},{user},{name},"{groups}"\n' for name, (user, groups) in users.items()]
    write(folder / "tokens.csv", "".join(lines), 0o600)
    for name, token in tokens.items():
        path = cluster.kubeconfig if name == "admin" else cluster.state / "kubeconfigs" / f"{name}.json"
        write_json(path, _kubeconfig(cluster, token), 0o600)


def _kubeconfig(cluster: Cluster, token: str) -> dict[str, object]:
    """Return a kubeconfig as JSON, which every reader of YAML takes, so that we need no YAML writer."""
    authority = base64.b64encode((cluster.state / "pki/ca.crt").read_bytes()).decode()
    name = cluster.context
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [
            {"name": name, "cluster": {"server": cluster.server, "certificate-authority-data": authority}}
        ],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }


def _certificate(
    folder: Path,
    name: str,
    subject: str,
    usage: str,
    names: list[str] | None = None,
    addresses: list[str] | None = None,
) -> None:
    _openssl(
        folder, "req", "-new", "-config", "openssl.cnf", *_key(name), "-out", f"{name}.csr", "-subj", subject
    )
    alternatives = [f"DNS:{host}" for host in names or ()] + [f"IP:{address}" for address in addresses or ()]
    extensions = f"extendedKeyUsage={usage}\n" + (
        f"subjectAltName={','.join(alternatives)}\n" if alternatives else ""
    )
    write(folder / f"{name}.ext", extensions)
    serial = str(secrets.randbits(63))
    _openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial", serial, "-days", _DAYS,
        "-extfile", f"{name}.ext", "-out", f"{name}.crt",
    )  # fmt: skip


def _key(name: str) -> list[str]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]


def _openssl(folder: Path, *arguments: str) -> None:
    run("openssl", *arguments, cwd=folder)
