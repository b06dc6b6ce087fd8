# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The calling side of a stack: takes rounds from stdin, a JSON object a line, and answers with what it measured.

``{"do": "connect"}`` calls until an answer comes: ``{"at": time.time()}``. ``{"do": "round", "payload", "flight",
"seconds"}``: ``{"calls", "wall", "cpu", "latencies" (seconds)}``. Standard library alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.calls.suite.payloads import FUNCTIONS, PAYLOADS

PATIENCE = 60.0


def _channel() -> Any:
    """Keep prints of libraries off the channel."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return channel


def _check(function: str, args: tuple[Any, ...], result: Any) -> None:
    if result != FUNCTIONS[function](*args):
        raise SystemExit(f"{function}: a wrong result: {result!r:.80}")


async def drive(call: Callable[[str, tuple[Any, ...]], Awaitable[Any]]) -> None:
    """Serve the channel with `await call(function, args)`."""
    channel = _channel()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        if order["do"] == "connect":
            end = time.monotonic() + PATIENCE
            while True:
                try:
                    _check("tiny", (1, 2), await call("tiny", (1, 2)))
                    break
                except OSError:
                    if time.monotonic() > end:
                        raise
                    await asyncio.sleep(0.002)
            answer: dict[str, Any] = {"at": time.time()}
        else:
            answer = await _round(call, order)
        channel.write(json.dumps(answer) + "\n")


async def _round(
    call: Callable[[str, tuple[Any, ...]], Awaitable[Any]], order: dict[str, Any]
) -> dict[str, Any]:
    function, args = PAYLOADS[order["payload"]]
    _check(function, args, await call(function, args))
    clock = time.perf_counter
    stop = clock() + order["seconds"]
    latencies: list[float] = []

    async def caller() -> None:
        now = clock()
        while now < stop:
            await call(function, args)
            then, now = now, clock()
            latencies.append(now - then)

    cpu, begin = time.process_time(), clock()
    if order["flight"] == 1:
        await caller()
    else:
        await asyncio.gather(*(caller() for _ in range(order["flight"])))
    return _measured(latencies, clock() - begin, time.process_time() - cpu)


def _measured(latencies: list[float], wall: float, cpu: float) -> dict[str, Any]:
    return {"calls": len(latencies), "wall": wall, "cpu": cpu, "latencies": latencies}


def drive_threads(connect: Callable[[], Callable[[str, tuple[Any, ...]], Any]]) -> None:
    """Serve the channel with blocking calls: `connect` makes a thread's own `call(function, args)`."""
    channel = _channel()
    pool = ThreadPoolExecutor(64)
    calls: list[Callable[[str, tuple[Any, ...]], Any]] = []
    clock = time.perf_counter
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "connect":
            end = time.monotonic() + PATIENCE
            while not calls:
                try:
                    calls.append(connect())
                except OSError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.002)
            _check("tiny", (1, 2), calls[0]("tiny", (1, 2)))
            answer: dict[str, Any] = {"at": time.time()}
        else:
            while len(calls) < order["flight"]:
                calls.append(connect())
            function, args = PAYLOADS[order["payload"]]
            latencies: list[float] = []
            stop = clock() + order["seconds"]

            def caller(call: Callable[[str, tuple[Any, ...]], Any]) -> None:
                now = clock()
                while now < stop:  # noqa: B023
                    call(function, args)  # noqa: B023
                    then, now = now, clock()
                    latencies.append(now - then)  # noqa: B023

            _check(function, args, calls[0](function, args))
            cpu, begin = time.process_time(), clock()
            if order["flight"] == 1:
                caller(calls[0])
            else:
                list(pool.map(caller, calls[: order["flight"]]))
            answer = _measured(latencies, clock() - begin, time.process_time() - cpu)
        channel.write(json.dumps(answer) + "\n")
