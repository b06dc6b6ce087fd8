# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The calling side of a stack: takes orders from stdin, a JSON object a line, and answers each with one line.

It begins by saying ``{"ready": true}``: its imports are done. Then ``{"do": "connect"}`` calls until an answer comes:
``{"at": time.time(), "began"?}``. ``{"do": "round", "payload", "flight", "seconds"}``: ``{"calls", "wall", "cpu", "latencies"
(seconds), "errors", "error" (the first)}``. ``{"do": "map", "calls"}``: ``{"calls", "wall", "cpu"}``. What a stack
cannot do it refuses with `NotImplementedError`: ``{"lacks": why}``. Standard library alone.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.calls.suite.payloads import FUNCTIONS, payload

PATIENCE = 120.0
FLIGHT = 64
ERRORS = 20
"""So many failed calls end a round."""

Call = Callable[[str, tuple[Any, ...]], Awaitable[Any]]
BlockingCall = Callable[[str, tuple[Any, ...]], Any]


def _channel() -> Any:
    """Keep prints of libraries off the channel."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    channel.write('{"ready": true}\n')
    return channel


def _check(function: str, args: tuple[Any, ...], result: Any) -> None:
    wanted = FUNCTIONS[function](*args)
    equal = wanted.tobytes() == result.tobytes() if function == "array" else wanted == result
    if not equal:
        raise SystemExit(f"{function}: a wrong result: {result!r:.80}")


def _check_map(results: list[Any], calls: int) -> None:
    if list(results) != list(range(1, calls + 1)):
        raise SystemExit(f"map: wrong results: {results!r:.80}")


class Round:
    """What a round has measured so far."""

    def __init__(self, seconds: float) -> None:
        self.latencies: list[float] = []
        self.errors = 0
        self.error = ""
        self._cpu, self._begin = time.process_time(), time.perf_counter()
        self.stop = self._begin + seconds

    def failed(self, error: Exception) -> None:
        """Count a failed call; end the round after many of them."""
        self.errors += 1
        self.error = self.error or f"{type(error).__name__}: {error}"
        if self.errors >= ERRORS:
            self.stop = 0.0

    def answer(self) -> dict[str, Any]:
        """End the round."""
        return {
            "calls": len(self.latencies),
            "wall": time.perf_counter() - self._begin,
            "cpu": time.process_time() - self._cpu,
            "latencies": self.latencies,
            "errors": self.errors,
            "error": self.error,
        }


async def drive(
    call: Call,
    many: Callable[[int], Awaitable[list[Any]]] | None = None,
    began: Callable[[], float] | None = None,
) -> None:
    """Serve the channel with `await call(function, args)`.

    `many(n)` makes the calls ``tiny(i, 1)`` for i in range(n), the way that the stack has for many calls, and returns
    the results in order; without it there are 64 callers. `began()`: when the server was started, where that is not when its
    launcher was.
    """
    channel = _channel()
    loop = asyncio.get_running_loop()

    async def gathered(calls: int) -> list[Any]:
        results: list[Any] = [None] * calls
        numbers = iter(range(calls))

        async def caller() -> None:
            for i in numbers:
                results[i] = await call("tiny", (i, 1))

        await asyncio.gather(*(caller() for _ in range(FLIGHT)))
        return results

    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        try:
            if order["do"] == "connect":
                await _connect(call)
                answer: dict[str, Any] = {"at": time.time(), **({"began": began()} if began else {})}
            elif order["do"] == "map":
                cpu, begin = time.process_time(), time.perf_counter()
                results = await (many or gathered)(order["calls"])
                answer = {
                    "calls": order["calls"],
                    "wall": time.perf_counter() - begin,
                    "cpu": time.process_time() - cpu,
                }
                _check_map(results, order["calls"])
            else:
                answer = await _round(call, order)
        except NotImplementedError as error:
            answer = {"lacks": str(error)}
        channel.write(json.dumps(answer) + "\n")


async def _connect(call: Call) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return _check("tiny", (1, 2), await call("tiny", (1, 2)))
        except Exception:
            if time.monotonic() > end:
                raise
        await asyncio.sleep(0.004)


async def _first(call: Call, function: str, args: tuple[Any, ...]) -> None:
    """Make a call outside the measure. Connections that idled since the last round may be found closed here."""
    for attempt in itertools.count():
        try:
            _check(function, args, await call(function, args))
            return
        except NotImplementedError:
            raise
        except Exception:
            if attempt == 2:
                raise


async def _round(call: Call, order: dict[str, Any]) -> dict[str, Any]:
    function, args = payload(order["payload"])
    try:
        await asyncio.gather(*(_first(call, function, args) for _ in range(order["flight"])))
    except NotImplementedError:
        raise
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}
    clock = time.perf_counter
    measured = Round(order["seconds"])
    latencies = measured.latencies

    async def caller() -> None:
        now = clock()
        while now < measured.stop:
            try:
                await call(function, args)
            except Exception as error:
                measured.failed(error)
                now = clock()
                continue
            then, now = now, clock()
            latencies.append(now - then)

    if order["flight"] == 1:
        await caller()
    else:
        await asyncio.gather(*(caller() for _ in range(order["flight"])))
    return measured.answer()


def drive_threads(
    connect: Callable[[], BlockingCall], many: Callable[[int], list[Any]] | None = None
) -> None:
    """Serve the channel with blocking calls: `connect` makes a thread's own `call(function, args)`; `many` as above."""
    channel = _channel()
    pool = ThreadPoolExecutor(FLIGHT)
    calls: list[BlockingCall] = []

    def connected(count: int) -> None:
        while len(calls) < count:
            calls.append(connect())

    def threaded(count: int) -> list[Any]:
        connected(FLIGHT)
        results: list[Any] = [None] * count
        numbers = iter(range(count))  # next() of it is one step of the interpreter: threads can share it

        def caller(call: BlockingCall) -> None:
            for i in numbers:
                results[i] = call("tiny", (i, 1))

        list(pool.map(caller, calls))
        return results

    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["do"] == "connect":
                end = time.monotonic() + PATIENCE
                while True:
                    try:
                        connected(1)
                        _check("tiny", (1, 2), calls[0]("tiny", (1, 2)))
                        break
                    except Exception:
                        calls.clear()
                        if time.monotonic() > end:
                            raise
                        time.sleep(0.004)
                answer: dict[str, Any] = {"at": time.time()}
            elif order["do"] == "map":
                cpu, begin = time.process_time(), time.perf_counter()
                results = (many or threaded)(order["calls"])
                answer = {
                    "calls": order["calls"],
                    "wall": time.perf_counter() - begin,
                    "cpu": time.process_time() - cpu,
                }
                _check_map(results, order["calls"])
            else:
                connected(order["flight"])
                answer = _round_of_threads(pool, calls[: order["flight"]], order)
        except NotImplementedError as error:
            answer = {"lacks": str(error)}
        channel.write(json.dumps(answer) + "\n")


def _round_of_threads(
    pool: ThreadPoolExecutor, calls: list[BlockingCall], order: dict[str, Any]
) -> dict[str, Any]:
    function, args = payload(order["payload"])
    clock = time.perf_counter

    def first(call: BlockingCall) -> None:
        _check(function, args, call(function, args))

    try:
        list(pool.map(first, calls)) if len(calls) > 1 else first(calls[0])
    except NotImplementedError:
        raise
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}
    measured = Round(order["seconds"])
    latencies = measured.latencies

    def caller(call: BlockingCall) -> None:
        now = clock()
        while now < measured.stop:
            try:
                call(function, args)
            except Exception as error:
                measured.failed(error)
                now = clock()
                continue
            then, now = now, clock()
            latencies.append(now - then)

    if len(calls) == 1:
        caller(calls[0])
    else:
        list(pool.map(caller, calls))
    return measured.answer()
