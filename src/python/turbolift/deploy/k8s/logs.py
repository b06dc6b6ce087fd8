# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The output of a version: of all its pods, and with `follow` of those that come."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from turbolift.deploy.k8s.cluster import ApiError, Cluster
from turbolift.deploy.k8s.diagnose import restarts
from turbolift.deploy.k8s.follow import Follower
from turbolift.deploy.k8s.objects import POD, Object


def read_logs(cluster: Cluster, selector: str, *, lines: int, follow: bool) -> Iterator[str]:
    """Yield the last `lines` lines of each pod; with its name before them where there are several, or will be."""
    pods = sorted(
        cluster.find(POD, labels=selector), key=lambda pod: pod["metadata"].get("creationTimestamp") or ""
    )
    if follow:
        yield from _follow(cluster, selector, lines, several=len(pods) != 1)
        return
    for pod in pods:
        name = pod["metadata"]["name"]
        prefix = f"{name}  " if len(pods) > 1 else ""
        container = _container(pod)
        found = list(cluster.log(name, lines=lines, container=container)) if lines else []
        if not found and lines and restarts(pod):
            # It is being started anew: what it said before is what there is.
            found = list(cluster.log(name, lines=lines, previous=True, container=container))
        for line in found:
            yield prefix + line


def _follow(cluster: Cluster, selector: str, lines: int, *, several: bool) -> Iterator[str]:
    said: queue.SimpleQueue[str | ApiError] = queue.SimpleQueue()
    seen: set[tuple[str, int]] = set()

    def read(pod: Object, lines: int | None, prefix: str) -> None:
        try:
            name, container = pod["metadata"]["name"], _container(pod)
            for line in cluster.log(name, lines=lines, follow=True, container=container):
                said.put(prefix + line)
        except ApiError as error:
            said.put(error)

    def pods() -> None:
        first = True
        with Follower(cluster, [(POD, selector, "")]) as follower:
            try:
                while True:
                    change = follower.next(1.0)
                    if change is None:
                        first = False
                        continue
                    if change.gone or not _runs(change.object):
                        continue
                    name = change.object["metadata"]["name"]
                    key = (name, restarts(change.object))
                    if key in seen:
                        continue
                    seen.add(key)
                    # Of what comes later, everything is new.
                    count = lines if first else None
                    prefix = f"{name}  " if several or len(seen) > 1 else ""
                    threading.Thread(target=read, args=(change.object, count, prefix), daemon=True).start()
            except ApiError as error:
                said.put(error)

    threading.Thread(target=pods, daemon=True).start()
    while True:
        line = said.get()
        if isinstance(line, ApiError):
            raise line
        yield line


def _container(pod: Object) -> str:
    """Return the name of our container: the first, others may have been put beside it."""
    name: str = pod["spec"]["containers"][0]["name"]
    return name


def _runs(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return any((one.get("state") or {}).get("running") for one in statuses)
