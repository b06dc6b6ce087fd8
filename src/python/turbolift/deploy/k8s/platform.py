# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Implements `turbolift.deploy.platform.Platform` with a namespace of a Kubernetes cluster.

An instance is a version's set of objects; its id is their common name. Whatever is there is found by label, so that
another machine, or a run after one that was killed, sees the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from turbolift.client.transport import Tls
from turbolift.deploy.k8s import (
    approllout,
    apps,
    appstatus,
    diagnose,
    headless,
    images,
    metrics,
    names,
    permissions,
    place,
    readiness,
    removal,
    render,
)
from turbolift.deploy.k8s.apply import apply, check_ours, difference, is_current, is_ours
from turbolift.deploy.k8s.cluster import ApiError, Cluster
from turbolift.deploy.k8s.forward import Forward, socket_folder
from turbolift.deploy.k8s.keys import Keys
from turbolift.deploy.k8s.lease import Lease
from turbolift.deploy.k8s.logs import read_logs
from turbolift.deploy.k8s.memory import Memory
from turbolift.deploy.k8s.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    POD,
    RELEASE_KINDS,
    SERVICE_ACCOUNT,
    Object,
    kind_of,
)
from turbolift.deploy.k8s.place import Place
from turbolift.deploy.k8s.settings import Settings, is_plaintext
from turbolift.deploy.platform import (
    App,
    AppHealth,
    Health,
    Host,
    Instance,
    Reach,
    Release,
    Removal,
    StartError,
)
from turbolift.errors import ConfigurationError, DeployError
from turbolift.image.push import Pushed

KIND = "k8s"

T = TypeVar("T")


class K8sPlatform:
    """Runs functions as Deployments of one namespace."""

    kind = KIND
    adopts = True
    at_once = 16
    retire_after = 90.0
    """A kubelet shows a changed ConfigMap to the pods that mount it within 60 to 90 s."""

    def __init__(self, host: Host) -> None:
        self._host = host
        if not isinstance(host.place, Place):
            raise ConfigurationError(
                "functions of one deployment are tagged for k8s and for something else: pass --platform, or make two "
                "deployments"
            )
        self.place = host.place
        self.cluster = Cluster(self.place)
        self.settings = Settings(host.deployment, self.place.namespace, self.place.registry, host.drain)
        self._memory = Memory(self.cluster)
        self._lease = Lease(self.cluster, host.deployment)
        self._keys = Keys(self.cluster, self.settings, host.say)
        self._pool = ThreadPoolExecutor(64, thread_name_prefix="k8s")

    # What the rollout asks for.

    async def prepare(self, releases: Sequence[Release]) -> None:
        """Push what the registry lacks."""
        self._check_releases(releases)
        if any(not is_plaintext(one) for one in releases):
            await self._call(self._keys.prepare)
        done = await self._call(self._push, releases)
        place.remember(self._host.state, self.place)
        if done.sent or done.mounted:
            self._host.say(
                f"pushed {done.size / 1e6:.1f} MB in {done.sent} blobs to {self.settings.registry} "
                f"({done.mounted} mounted, {done.present} there already)"
            )

    async def start(self, release: Release) -> Instance:
        """Apply the objects of `release`; what is there already and says the same is not touched."""
        instance = render.instance(self.settings, release)
        try:
            await self._call(self._apply, release)
        except DeployError as error:
            raise StartError(release.function, str(error)) from None
        return instance

    async def wait_ready(self, instance: Instance, timeout: float) -> None:
        """Follow Deployment and pods until enough of them are available, or none ever will be."""
        stop = threading.Event()
        try:
            await self._call(
                readiness.wait_ready, self.cluster, self._selector(instance), instance, timeout, stop
            )
        finally:
            stop.set()

    async def health(self, instance: Instance) -> Health:
        """Read the Deployment and its pods."""
        return await self._call(self._health, instance)

    async def stop(self, instance: Instance) -> None:
        """Delete the instance's objects; returns when its pods have finished their calls and are gone."""
        stop = threading.Event()
        try:
            await self._call(
                removal.remove,
                self.cluster,
                self.settings.deployment,
                self._selector(instance),
                instance,
                stop,
            )
        finally:
            stop.set()

    async def retire(self, instance: Instance) -> bool:
        """Stop `instance` if no app is pinned to it and nobody calls it any more; return whether it was stopped."""
        if await self._call(self._is_pinned, instance) or not await self._call(self._is_idle, instance):
            return False
        await self.stop(instance)
        return True

    def instances(self) -> list[Instance]:
        """Return what there is of this deployment, by label."""
        return headless.instances_of(self.settings, self._call_all(self._labelled, RELEASE_KINDS))

    def logs(self, instance: Instance, *, lines: int, follow: bool) -> Iterator[str]:
        """Yield lines of all pods of the instance; each with its pod where there are several."""
        return read_logs(self.cluster, self._selector(instance), lines=lines, follow=follow)

    def prune(self, keep: Sequence[Release], *, dry_run: bool) -> list[Removal]:
        """Remove versions that no table names and nobody calls, and images in the registry that none of `keep` needs."""
        removed: list[Removal] = []
        running = self.instances()
        routed = self._memory.routed()
        for instance in running:
            if (instance.function, instance.version) in routed:
                continue
            if dry_run or asyncio.run(self.retire(instance)):
                removed.append(Removal("version", f"{self.settings.namespace}/{instance.id}", 0))
            else:
                self._host.say(f"{instance.id} is still called, or an app is pinned to it: it stays")
        programs = apps.running(apps.find(self.cluster, self.settings.deployment))
        keep = [*keep, *programs]
        functions = {one.function for one in keep} | {one.function for one in running}
        if self.settings.registry:
            removed += images.prune(
                self.settings,
                self._memory.id,
                functions,
                keep,
                insecure=self.place.insecure,
                dry_run=dry_run,
            )
        return removed

    def destroy(self) -> None:
        """Remove every object with the deployment's labels, the route table last."""
        removal.destroy(self.cluster, self.settings.deployment)

    # What other machines and callers see of it.

    @contextlib.contextmanager
    def alone(self, command: str, wait: float) -> Iterator[None]:
        """Check permissions and the namespace, then hold the deployment's Lease for the block."""
        permissions.check(self.cluster)
        with self._lease.hold(command, wait, self._host.say):
            yield

    def recall(self) -> Mapping[str, bytes] | None:
        """Return the state that the cluster keeps of this deployment; None where there is none."""
        found = self._memory.recall(self.settings.deployment)
        if found is not None:
            place.remember(self._host.state, self.place)
        return found

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Replace the route table that callers follow, and the state, in one write."""
        self._lease.check()
        self._memory.publish(self.settings, files)
        self._nudge()

    def table(self) -> dict[str, Any] | None:
        """Return the route table that callers in the cluster follow."""
        return self._memory.table(self.settings.deployment)

    def holds(self, release: Release) -> bool:
        """Return whether the registry has the image of `release`."""
        return images.is_there(self.settings, release, insecure=self.place.insecure)

    @contextlib.contextmanager
    def reach(self, instance: Instance) -> Iterator[Reach]:
        """Give an endpoint here that leads to the pods of `instance` while the block runs."""
        with socket_folder() as folder:
            tls = None
            if instance.endpoint.startswith("https://"):
                tls = Tls(urlsplit(instance.endpoint).hostname or "", str(folder / "tls"))
                self._keys.write_caller(folder / "tls")
            forward = Forward(
                self.cluster, None if tls else folder / "s", lambda: self._ready_names(instance)
            )
            try:
                yield Reach(forward.endpoint, tls)
            finally:
                forward.close()

    def advice(self) -> list[str]:
        """Return how to use what was deployed."""
        name = names.routes_name(self.settings.deployment)
        secret = names.caller_name(self.settings.deployment)
        return [
            f"in the cluster:      label pods {names.CALLER}={self.settings.deployment}, mount ConfigMap {name}",
            f"                     and Secret {secret} (as folder tls beside the table),",
            "                     and set TURBOLIFT=on TURBOLIFT_ROUTES=PATH/routes.json",
            "call it from here:   ./pants run deploy -- --platform k8s call FUNCTION JSON",
        ]

    def changes(self, wanted: Sequence[Release], gone: Sequence[Instance]) -> Iterator[str]:
        """Yield the differences that a deploy of `wanted` would make, as the server says."""
        self._check_releases(wanted)
        for release in wanted:
            if is_plaintext(release):
                yield f"{release.function}: plaintext=True: calls of it are not encrypted, and need no certificate\n"
            for document in render.release_objects(self.settings, release):
                text = difference(self.cluster, self.settings.deployment, document)
                if text:
                    yield text
        for instance in gone:
            for one in removal.objects_of(self.cluster, self.settings.deployment, instance):
                yield f"retired after the switch: {kind_of(one).kind}/{one['metadata']['name']}\n"

    def scrape(self, instance: Instance) -> list[bytes]:
        """Return the /metrics of every ready pod of `instance`; those that cannot be reached are left out."""
        return metrics.scrape(self.cluster, self._ready_pods(instance))

    async def tend(self, releases: Sequence[Release]) -> list[str]:
        """Renew the certificates of what serves, and of its callers, where it is time; return until when they are valid."""
        return await self._call(
            self._keys.renew, [one for one in releases if not is_plaintext(one)], self._pool
        )

    def stale(self, release: Release) -> bool:
        """Return whether what is there of `release` is not what would be applied now."""
        for document in render.release_objects(self.settings, release):
            live = self.cluster.get(kind_of(document), document["metadata"]["name"])
            if live is None or not is_ours(live, self.settings.deployment) or not is_current(live, document):
                return True
        return False

    # Apps.

    async def roll_out_apps(
        self, wanted: Sequence[App], bring: Callable[[Sequence[Release]], object], timeout: float
    ) -> list[str]:
        """Make exactly `wanted` run; return a line for each that was changed."""

        def push(releases: Sequence[Release]) -> None:
            bring(releases)
            self._push(releases)

        stop = threading.Event()
        try:
            return await self._call(
                approllout.roll_out, self.cluster, self.settings, wanted, push, timeout, stop
            )
        finally:
            stop.set()

    async def stop_apps(self) -> list[str]:
        """Stop all apps, Jobs that run included; return a line for each."""
        stop = threading.Event()
        try:
            return await self._call(
                functools.partial(approllout.sweep, self.cluster, self.settings, (), stop, jobs=True)
            )
        finally:
            stop.set()

    def app_changes(self, wanted: Sequence[App]) -> Iterator[str]:
        """Yield the differences that a deploy would make to the objects of apps, as the server says."""
        for app in wanted:
            for document in apps.app_objects(self.settings, app):
                text = difference(self.cluster, self.settings.deployment, document)
                if text:
                    yield text

    def apps(self) -> list[AppHealth]:
        """Return the apps that are there, and how they fare."""
        return appstatus.read(self.cluster, self.settings)

    def app_logs(self, app: str, *, lines: int, follow: bool) -> Iterator[str]:
        """Yield lines of all pods of an app; each with its pod where there are several."""
        selector = f"{names.selector(self.settings.deployment)},{names.NAME}={names.function_name(app)}"
        return read_logs(self.cluster, selector, lines=lines, follow=follow)

    # How.

    def _push(self, releases: Sequence[Release]) -> Pushed:
        return images.push_releases(
            self._host.store, self.settings, self._memory.id, releases, insecure=self.place.insecure
        )

    def _is_pinned(self, instance: Instance) -> bool:
        return (instance.function, instance.version) in apps.pinned(self._labelled(CONFIG_MAP))

    def _check_releases(self, releases: Sequence[Release]) -> None:
        if not self.settings.registry:
            raise ConfigurationError(
                f"{releases[0].function if releases else 'platform k8s'}: where are images pushed to? Give --registry "
                "HOST/PREFIX, or K8s(registry=...) in the tag"
            )
        names.deployment_labels(self.settings.deployment)

    def _apply(self, release: Release) -> None:
        wanted = render.release_objects(self.settings, release)
        for document in wanted:
            live = self.cluster.get(kind_of(document), document["metadata"]["name"])
            if live is not None:
                check_ours(live, self.settings.deployment)
        secured = not is_plaintext(release)
        if secured:
            self._keys.check(release)
        for document in wanted:
            apply(self.cluster, self.settings.deployment, document)
            if secured and kind_of(document) is SERVICE_ACCOUNT:
                # After what is found by label, and before what mounts it.
                self._keys.serve(release)

    def _health(self, instance: Instance) -> Health:
        deployment = self.cluster.get(DEPLOYMENT, instance.id)
        if deployment is None:
            return Health(alive=False, ready=False, note="its Deployment is gone: deploy again")
        pods = self.cluster.find(POD, labels=self._selector(instance))
        ready = sum(diagnose.is_ready(pod) for pod in pods)
        wanted = (deployment.get("spec") or {}).get("replicas", 1)
        note = ""
        if not ready:
            note = diagnose.explain(self.cluster, deployment, pods).reason.splitlines()[0]
        return Health(
            alive=bool(pods),
            ready=ready > 0,
            restarts=sum(diagnose.restarts(pod) for pod in pods),
            since=_seconds(deployment["metadata"].get("creationTimestamp")),
            note=note,
            replicas=(ready, wanted),
        )

    def _nudge(self) -> None:
        """Have kubelets show the new table to callers at once: they look again when a pod's annotation changes.

        Only a help: where it fails, they look by themselves within 60 to 90 s.
        """
        stamp = {"metadata": {"annotations": {names.GENERATION: self._memory.generation}}}

        def nudge(pod: Object) -> None:
            with contextlib.suppress(ApiError):
                self.cluster.json(
                    "PATCH",
                    POD.path(self.settings.namespace, pod["metadata"]["name"]),
                    {"fieldManager": names.MANAGER},
                    stamp,
                    content_type="application/merge-patch+json",
                )

        with contextlib.suppress(ApiError):
            callers = self.cluster.find(POD, labels=f"{names.CALLER}={self.settings.deployment}")
            list(self._pool.map(nudge, callers))

    def _is_idle(self, instance: Instance) -> bool:
        return metrics.is_idle(self.cluster, functools.partial(self._ready_pods, instance))

    def _ready_pods(self, instance: Instance) -> list[Object]:
        return [
            pod for pod in self.cluster.find(POD, labels=self._selector(instance)) if diagnose.is_ready(pod)
        ]

    def _ready_names(self, instance: Instance) -> list[str]:
        return sorted(pod["metadata"]["name"] for pod in self._ready_pods(instance))

    def _labelled(self, kind: Any) -> list[Object]:
        return self.cluster.find(kind, labels=names.selector(self.settings.deployment))

    def _selector(self, instance: Instance) -> str:
        return names.pod_selector(self.settings.deployment, instance.function, instance.version)

    def _call_all(self, work: Callable[[Any], list[T]], items: Sequence[Any]) -> list[T]:
        return list(itertools.chain.from_iterable(self._pool.map(work, items)))

    async def _call(self, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Run blocking work in a thread of our own: asyncio's few would be taken by those that wait."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, functools.partial(work, *arguments, **named))


def _seconds(stamp: str | None) -> float | None:
    """Return an RFC 3339 time as seconds since 1970."""
    return None if stamp is None else datetime.datetime.fromisoformat(stamp).timestamp()
