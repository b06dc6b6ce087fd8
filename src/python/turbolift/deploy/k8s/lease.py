# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One run at a time changes a deployment, whatever machine it runs on: a Lease in the namespace.

Clocks of machines differ, so none is compared with another: a Lease whose record does not change for its duration,
by the clock of who waits for it, has been left by a run that was killed.
"""

from __future__ import annotations

import contextlib
import datetime
import getpass
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from turbolift.deploy.k8s import names
from turbolift.deploy.k8s.apply import check_ours
from turbolift.deploy.k8s.cluster import ApiError, Cluster
from turbolift.deploy.k8s.objects import LEASE, Object
from turbolift.errors import DeployError

DURATION = 15
"""Seconds without a sign of life after which a Lease is free."""

_RENEW = 4.0
_LOOK = 1.0


class Lease:
    """The right to change a deployment; `lost` once another run has taken it, or it could not be renewed."""

    def __init__(self, cluster: Cluster, deployment: str) -> None:
        self._cluster = cluster
        self._deployment = deployment
        self._name = names.routes_name(deployment)
        self._live: Object = {}
        self._ended = threading.Event()
        self.lost = False

    @contextlib.contextmanager
    def hold(self, command: str, wait: float, say: Callable[[str], None]) -> Iterator[None]:
        """Hold the Lease for the block; waits `wait` seconds at most. Raises DeployError that names the holder."""
        self._acquire(f"{_user()}@{platform.node()} ({command}, process {os.getpid()})", wait, say)
        self._ended.clear()
        thread = threading.Thread(target=self._renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            with contextlib.suppress(DeployError):
                if not self.lost:
                    self._write("")

    def check(self) -> None:
        """Raise DeployError where the Lease was lost: somebody else may be changing the same."""
        if self.lost:
            raise DeployError(
                f"Lease/{self._name} in {self._cluster.place} was lost to another run, or could not be renewed: nothing "
                "was switched; deploy again"
            )

    def _acquire(self, holder: str, wait: float, say: Callable[[str], None]) -> None:
        until = time.monotonic() + wait
        seen, since, told = "", 0.0, False
        while True:
            live = self._cluster.get(LEASE, self._name)
            if live is None:
                if self._create(holder):
                    return
                continue
            check_ours(live, self._deployment)
            now = time.monotonic()
            if live["metadata"]["resourceVersion"] != seen:
                seen, since = live["metadata"]["resourceVersion"], now
            current = (live.get("spec") or {}).get("holderIdentity") or ""
            if not current or now - since > DURATION:
                self._live = live
                with contextlib.suppress(ApiError):
                    self._write(holder)
                    return
                continue
            if now >= until:
                raise DeployError(
                    f"deployment {self._deployment!r} in {self._cluster.place} is being changed by {current}; "
                    + (f"waited {wait:g} s for it. " if wait else "")
                    + "Try again when it is done, or give --wait SECONDS"
                )
            if not told:
                say(f"waiting for {current} (up to {wait:g} s; --wait 0 does not wait)")
                told = True
            time.sleep(_LOOK)

    def _create(self, holder: str) -> bool:
        document = {
            "apiVersion": LEASE.api,
            "kind": LEASE.kind,
            "metadata": {
                "name": self._name,
                "namespace": self._cluster.namespace,
                "labels": names.deployment_labels(self._deployment),
            },
            "spec": _spec(holder),
        }
        path = LEASE.path(self._cluster.namespace)
        try:
            self._live = self._cluster.json("POST", path, {"fieldManager": names.MANAGER}, document)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return False
            raise
        return True

    def _write(self, holder: str) -> None:
        """Replace the record that was last seen; raises ApiError where somebody else did so meanwhile."""
        document = {**self._live, "spec": _spec(holder)}
        path = LEASE.path(self._cluster.namespace, self._name)
        self._live = self._cluster.json("PUT", path, {"fieldManager": names.MANAGER}, document)

    def _renew(self) -> None:
        holder = self._live["spec"]["holderIdentity"]
        alive = time.monotonic()
        while not self._ended.wait(_RENEW):
            try:
                self._write(holder)
                alive = time.monotonic()
            except ApiError as error:
                if error.status in (404, 409) or time.monotonic() - alive > DURATION:
                    self.lost = True
                    return


def _spec(holder: str) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"holderIdentity": holder, "leaseDurationSeconds": DURATION, "renewTime": now}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
