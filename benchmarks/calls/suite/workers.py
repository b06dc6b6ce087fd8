# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A worker process instead of the loop: how quick the server's probes are while every core computes."""

from __future__ import annotations

import http.client
import os
import threading
import time
from typing import Any

from benchmarks.calls.suite.stack import Stack

GOAL_P99_MS = 50.0
GOAL_THROUGHPUT = 0.6


def probes(stack: Stack, port: int, seconds: float) -> dict[str, Any]:
    """Probe ``/healthz`` on `port` while as many calls compute as there are cores.

    Returns ``probes`` (their number), ``p50_ms``, ``p99_ms``, ``max_ms`` and ``failed``; ``{"blank": why}`` where nothing computes.
    """
    cores = os.cpu_count() or 1
    warm = stack.ask({"do": "round", "payload": "burn", "flight": cores, "seconds": 0.5})
    if stack.dead or not warm.get("calls"):
        return {"blank": stack.dead or warm.get("lacks") or warm.get("failed") or "no call came back"}
    took: list[float] = []
    failed = 0
    over = threading.Event()

    def probe() -> None:
        nonlocal failed
        while not over.wait(0.01):
            begin = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("GET", "/healthz")
                good = connection.getresponse().status == 200
            except OSError:
                good = False
            connection.close()
            if good:
                took.append(time.perf_counter() - begin)
            else:
                failed += 1

    prober = threading.Thread(target=probe)
    prober.start()
    said = stack.ask({"do": "round", "payload": "burn", "flight": cores, "seconds": seconds}, seconds + 60)
    over.set()
    prober.join()
    took.sort()
    if stack.dead or not took:
        return {"blank": stack.dead or "no probe was answered"}
    return {
        "computing": cores,
        "calls": said.get("calls", 0),
        "probes": len(took),
        "failed": failed,
        "p50_ms": took[len(took) // 2] * 1e3,
        "p99_ms": took[int(len(took) * 0.99)] * 1e3,
        "max_ms": took[-1] * 1e3,
    }
