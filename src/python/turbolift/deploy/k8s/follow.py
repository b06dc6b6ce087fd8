# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Follow objects by watches: what there is, and then each change, also over broken connections."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from turbolift.deploy.k8s.cluster import ApiError, BrokenStreamError, Cluster, lines_of
from turbolift.deploy.k8s.objects import Kind, Object

_WATCH = 60
"""Seconds after which the server ends a watch, and it is begun anew."""


@dataclass(frozen=True, slots=True)
class Change:
    """An object that is there now, or (`gone`) is no more; or the error that ended the following."""

    kind: Kind
    object: Object
    gone: bool = False
    error: ApiError | None = None


class Follower:
    """Follows several kinds at once; `next` gives their changes. Close it (it is a context manager)."""

    def __init__(self, cluster: Cluster, wanted: Sequence[tuple[Kind, str, str]]) -> None:
        """`wanted`: (kind, label selector, field selector) of what to follow."""
        self._cluster = cluster
        self._changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self._closed = threading.Event()
        for kind, labels, fields in wanted:
            # A daemon: a read that waits for the server cannot be interrupted, and must not hold up the end.
            thread = threading.Thread(target=self._run, args=(kind, labels, fields), daemon=True)
            thread.start()

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()

    def next(self, timeout: float) -> Change | None:
        """Return the next change, or None where there is none within `timeout` seconds. Raises ApiError."""
        try:
            change = self._changes.get(timeout=max(timeout, 0.001))
        except queue.Empty:
            return None
        if change.error is not None:
            raise change.error
        return change

    def _run(self, kind: Kind, labels: str, fields: str) -> None:
        known: dict[str, Object] = {}
        try:
            while not self._closed.is_set():
                items, version = self._cluster.find_with_version(kind, labels=labels, fields=fields)
                here = {one["metadata"]["uid"]: one for one in items}
                for uid in known.keys() - here.keys():
                    self._changes.put(Change(kind, known[uid], gone=True))
                for one in here.values():
                    self._changes.put(Change(kind, one))
                known = here
                self._watch(kind, labels, fields, version, known)
        except ApiError as error:
            self._changes.put(Change(kind, {}, error=error))

    def _watch(self, kind: Kind, labels: str, fields: str, version: str, known: dict[str, Object]) -> None:
        """Watch from `version` on, until it is too old or the connection breaks."""
        while not self._closed.is_set():
            query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(_WATCH)}
            query |= {"allowWatchBookmarks": "true"}
            query |= {
                key: text for key, text in (("labelSelector", labels), ("fieldSelector", fields)) if text
            }
            response = self._cluster.send(
                "GET", kind.path(self._cluster.namespace), query, timeout=_WATCH + 10
            )
            begin = time.monotonic()
            try:
                for line in lines_of(response):
                    if self._closed.is_set():
                        return
                    event = json.loads(line)
                    one = event["object"]
                    if event["type"] == "ERROR":
                        return
                    version = one["metadata"]["resourceVersion"]
                    if event["type"] == "BOOKMARK":
                        continue
                    gone = event["type"] == "DELETED"
                    if gone:
                        known.pop(one["metadata"]["uid"], None)
                    else:
                        known[one["metadata"]["uid"]] = one
                    self._changes.put(Change(kind, one, gone))
            except BrokenStreamError:
                # A restarted API server: what was missed is found by listing anew.
                return
            finally:
                response.close()
                response.release_conn()
            if time.monotonic() - begin < 1:
                # A server that ends watches at once is not to be asked without a pause.
                self._closed.wait(1)
