# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Celery: Redis as broker and result backend, a worker of threads, pickle for values; many calls as chunks of a hundred."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import celery
from benchmarks.calls.suite.payloads import FUNCTIONS

URL = f"redis://127.0.0.1:{sys.argv[2]}/0"
app = celery.Celery("calls", broker=URL, backend=URL)
app.conf.update(
    task_serializer="pickle", result_serializer="pickle", accept_content=["pickle"], task_ignore_result=False,
    worker_prefetch_multiplier=16, broker_connection_retry_on_startup=True, worker_hijack_root_logger=False,
)  # fmt: skip
TASKS = {name: app.task(name=f"calls.{name}")(function) for name, function in FUNCTIONS.items()}


def serve(port: str) -> None:
    libraries = {"LD_LIBRARY_PATH": os.environ["REDIS_LIBRARIES"]} if os.environ["REDIS_LIBRARIES"] else {}
    command = [
        os.environ["REDIS_SERVER"],
        "--port",
        port,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    os.environ["C_FORCE_ROOT"] = "1"  # pickle as root: of a Redis of our own, on loopback, and no one else's
    redis = subprocess.Popen(command, env={**os.environ, **libraries}, stdout=subprocess.DEVNULL)
    try:
        app.worker_main(
            ["worker", "-P", "threads", "-c", "8", "-l", "ERROR", "--without-gossip", "--without-mingle",
             "--without-heartbeat"]
        )  # fmt: skip
    finally:
        redis.terminate()


def connect() -> Any:
    def call(name: str, args: tuple[Any, ...]) -> Any:
        return TASKS[name].delay(*args).get(timeout=60)

    return call


def many(calls: int) -> list[Any]:
    chunks = TASKS["tiny"].chunks([(i, 1) for i in range(calls)], 100).group()
    return [result for chunk in chunks.apply_async().get(timeout=120) for result in chunk]


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        from benchmarks.calls.suite.driver import drive_threads

        drive_threads(connect, many)
