# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the pods of a version count: asked through port-forwards, which no NetworkPolicy closes."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from turbolift.deploy.k8s.cluster import ApiError, Cluster
from turbolift.deploy.k8s.objects import Object
from turbolift.deploy.k8s.pod import PORT, PROBE_PORT_NAME

_TIMEOUT = 5.0
_LOOK = 3.0
"""Seconds between two looks at the counters of a version that may be idle."""

_CALLS = re.compile(rb"^turbolift_calls_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)
_BUSY = re.compile(rb"^turbolift_calls_(?:running|queued)\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)


def scrape(cluster: Cluster, pods: Sequence[Object]) -> list[bytes]:
    """Return the /metrics of each pod that answers."""
    if not pods:
        return []

    def ask(pod: Object) -> bytes | None:
        connection = _Forwarded(cluster, pod)
        try:
            connection.request("GET", "/metrics", headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.read() if answer.status == 200 else None
        except (ApiError, OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    with ThreadPoolExecutor(min(8, len(pods))) as pool:
        return [text for text in pool.map(ask, pods) if text is not None]


def calls(texts: Sequence[bytes]) -> int:
    """Return how many calls the pods have answered."""
    return round(sum(float(value) for text in texts for value in _CALLS.findall(text)))


def is_idle(cluster: Cluster, pods: Callable[[], Sequence[Object]]) -> bool:
    """Return whether nothing runs or waits in the pods, and no call came in between two looks.

    A version without a ready pod is idle; one whose counters cannot be read is not known to be.
    """
    seen = []
    for number in range(2):
        ready = pods()
        if not ready:
            return True
        texts = scrape(cluster, ready)
        if len(texts) < len(ready):
            return False
        if sum(float(value) for text in texts for value in _BUSY.findall(text)):
            return False
        seen.append(calls(texts))
        if number == 0:
            time.sleep(_LOOK)
    return seen[0] == seen[1]


def _port(pod: Object) -> int:
    """Return the port that a pod answers plain HTTP on: what made it may be older than what runs here."""
    for container in pod["spec"].get("containers") or []:
        for port in container.get("ports") or []:
            if port.get("name") == PROBE_PORT_NAME:
                return int(port["containerPort"])
    return PORT


class _Forwarded(http.client.HTTPConnection):
    """Plain HTTP over a port-forward."""

    def __init__(self, cluster: Cluster, pod: Object) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._cluster = cluster
        self._pod: str = pod["metadata"]["name"]
        self._port = _port(pod)

    def connect(self) -> None:
        """Open the port-forward."""
        found: Any = self._cluster.forward(self._pod, self._port)
        found.settimeout(_TIMEOUT)
        self.sock = found
