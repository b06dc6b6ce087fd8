# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Which cluster and namespace a deployment goes to, and what is remembered of it.

One deployment may go to many places (staging, production); each has its own state. The command line decides, then
the tags' ``K8s(...)``, then the kubeconfig's current context.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from turbolift.deploy import files
from turbolift.deploy.k8s.settings import check_namespace, check_registry, declared
from turbolift.deploy.platform import Release
from turbolift.errors import ConfigurationError, DeployError

SCOPE = "k8s"
_FILE = "place.json"
_IN_CLUSTER = "in-cluster"


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace of a cluster: the kubeconfig's `context` (``in-cluster`` in a pod), the API `server`, the file that
    says so (empty: where kubectl looks), and the `registry` that images are pushed below.
    """

    context: str
    server: str
    namespace: str
    kubeconfig: str = ""
    registry: str = ""
    insecure: bool = False

    @property
    def folder(self) -> str:
        """The name of the folder of what is remembered: the same server and namespace, the same folder."""
        readable = re.sub(r"[^a-z0-9]+", "-", f"{self.context}-{self.namespace}".lower()).strip("-")[:40]
        identity = f"{self.server}\n{self.namespace}".encode()
        return f"{readable}-{hashlib.sha256(identity).hexdigest()[:8]}"

    def __str__(self) -> str:
        return f"namespace {self.namespace} of context {self.context} ({self.server})"


def find(base: Path, options: Mapping[str, str], releases: Sequence[Release]) -> Place:
    """Return the place for a run.

    `base` is the deployment's folder, `options` what the command line gives (``context``, ``namespace``,
    ``kubeconfig``, ``registry``, ``insecure_registry``). Without releases, and where nothing else is said, it is the
    one place that is remembered. Raises ConfigurationError where there is none, or more than one.
    """
    known = [one for one in remembered(base) if _fits(one, options)]
    if not releases and len(known) > 1:
        shown = "; ".join(f"--context {one.context} --namespace {one.namespace}" for one in known)
        raise ConfigurationError(f"this deployment is in {len(known)} places: say which one: {shown}")
    if not releases and known:
        found = known[0]
    else:
        found = _look(options, releases)
        same = [one for one in remembered(base) if one.folder == found.folder]
        found = replace(found, registry=same[0].registry, insecure=same[0].insecure) if same else found
    registry = declared("registry", options.get("registry"), releases)
    if registry:
        where = "--registry" if options.get("registry") else "K8s(registry=...)"
        found = replace(found, registry=check_registry(registry, where), insecure=False)
    if options.get("insecure_registry"):
        found = replace(found, insecure=True)
    return found


def remembered(base: Path) -> list[Place]:
    """Return the places that a deployment went to from this machine."""
    found = []
    for path in sorted((base / SCOPE).glob(f"*/{_FILE}")):
        try:
            found.append(Place(**json.loads(path.read_text("utf-8"))))
        except (OSError, ValueError, TypeError) as error:
            raise DeployError(f"{path}: not a place of a deployment: {error}: remove its folder") from None
    return found


def remember(folder: Path, place: Place) -> None:
    """Note in the state folder `folder` where its deployment is."""
    path = folder / _FILE
    data = json.dumps(asdict(place), indent=1).encode()
    if not path.is_file() or path.read_bytes() != data:
        files.private_dir(folder)
        files.write(path, data)


def configuration(place: Place) -> Any:
    """Return the client's configuration (``kubernetes.client.Configuration``) for a place."""
    return _load(place.kubeconfig, place.context)[0]


def _fits(place: Place, options: Mapping[str, str]) -> bool:
    return options.get("context") in (None, place.context) and options.get("namespace") in (
        None,
        place.namespace,
    )


def _look(options: Mapping[str, str], releases: Sequence[Release]) -> Place:
    context = declared("context", options.get("context"), releases)
    namespace = declared("namespace", options.get("namespace"), releases)
    if namespace:
        check_namespace(namespace, "--namespace" if options.get("namespace") else "K8s(namespace=...)")
    kubeconfig = options.get("kubeconfig") or ""
    if kubeconfig and not Path(kubeconfig).is_file():
        raise ConfigurationError(f"--kubeconfig {kubeconfig}: no such file")
    if not kubeconfig and os.environ.get("KUBECONFIG"):
        kubeconfig = os.pathsep.join(
            os.path.abspath(one) for one in os.environ["KUBECONFIG"].split(os.pathsep) if one
        )
    loaded, name, usual = _load(kubeconfig, context or "")
    return Place(name, loaded.host, namespace or usual, kubeconfig)


def _load(kubeconfig: str, context: str) -> tuple[Any, str, str]:
    """Return (configuration, name of the context, its namespace). Raises ConfigurationError."""
    from kubernetes import client, config
    from kubernetes.config.config_exception import ConfigException

    loaded = client.Configuration()
    shown = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    if context == _IN_CLUSTER or (
        not kubeconfig
        and not context
        and os.environ.get("KUBERNETES_SERVICE_HOST")
        and not Path(os.path.expanduser("~/.kube/config")).exists()
    ):
        try:
            config.load_incluster_config(client_configuration=loaded)  # type: ignore[no-untyped-call]
        except ConfigException as error:
            raise ConfigurationError(f"no cluster: this is no pod with a service account: {error}") from None
        own = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
        return loaded, _IN_CLUSTER, own.read_text("utf-8").strip() if own.is_file() else "default"
    try:
        # Any: what the client returns has no types, and is guessed differently by each checker.
        listed: Any = config.list_kube_config_contexts(  # type: ignore[no-untyped-call]
            config_file=kubeconfig or None
        )
        contexts, active = listed
    except (ConfigException, OSError, ValueError) as error:
        raise ConfigurationError(
            f"no cluster: {shown}: {_line(error)}: give --kubeconfig FILE, set KUBECONFIG, or run 'kubectl config "
            "get-contexts' to see what there is"
        ) from None
    by_name = {one["name"]: one for one in contexts}
    name = context or (active or {}).get("name", "")
    if name not in by_name:
        raise ConfigurationError(
            f"no context {name!r} in {shown}; there is: {', '.join(sorted(by_name)) or 'none'}: give --context NAME"
        )
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=kubeconfig or None, context=name, client_configuration=loaded, persist_config=False
        )
    except (ConfigException, OSError, ValueError) as error:
        raise ConfigurationError(f"{shown}: context {name!r}: {_line(error)}") from None
    return loaded, name, by_name[name]["context"].get("namespace") or "default"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
