# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""`map` over many tiny calls: ``python -m benchmarks.calls.suite.many [--rounds N] [--calls N] [--json FILE]``.

A server of its own on TCP; ``map/10000`` is calls a second, by how many rows may be in flight, and beside it the same
rows by `await f(x)`, so many at a time: what they cost without batches.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.calls.suite.main import free_port
from benchmarks.calls.suite.stacks import turbolift_calls

stack: Any = turbolift_calls

FLIGHTS = (32, 1000)


def table(function: Any, port: int) -> dict[str, Any]:
    """Return a route table with one route."""
    route = {
        "version": "0" * 64,
        "endpoint": f"http://127.0.0.1:{port}",
        "contract": function.contract.digest,
        "timeout": 60.0,
    }
    routes = {function.identity: route}
    return {"version": 1, "deployment": "d", "platform": "local", "generation": 1, "routes": routes}


async def gathered(function: Any, calls: int, flight: int) -> list[int]:
    """Call one by one, `flight` at a time."""
    numbers = iter(range(calls))
    results = [0] * calls

    async def caller() -> None:
        for number in numbers:
            results[number] = await function(number, number)

    await asyncio.gather(*(caller() for _ in range(flight)))
    return results


async def measure(work: Callable[[], Awaitable[list[int]]], calls: int, rounds: int) -> dict[str, float]:
    """Return ``throughput`` (calls a second, the median of the rounds), ``best``, ``client_cpu`` (seconds a call)."""
    rates, cpu = [], 0.0
    for number in range(rounds + 1):
        began, used = time.perf_counter(), time.process_time()
        results = await work()
        spent = time.perf_counter() - began
        if results != [2 * i for i in range(calls)]:
            raise SystemExit("wrong results")
        if number:  # the first one warms
            rates.append(calls / spent)
            cpu += time.process_time() - used
    return {
        "throughput": statistics.median(rates),
        "best": max(rates),
        "client_cpu": cpu / rounds / calls,
    }


async def run(function: Any, calls: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return scenario -> figures."""
    found = {}
    for flight in FLIGHTS:
        found[f"map/{calls}, {flight} in flight"] = await measure(
            lambda flight=flight: function.map(range(calls), range(calls), concurrency=flight),  # type: ignore[misc]
            calls,
            rounds,
        )
    found[f"await/{calls}, 64 in flight"] = await measure(
        lambda: gathered(function, calls, 64), calls, rounds
    )
    return found


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    port = free_port()
    folder = stack.folder(port)
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "turbolift.shim",
            "--function",
            "benchmark_functions:tiny",
            *stack.where(port, "tcp", 0),
        ],
        env=stack.environment(folder),
        stderr=subprocess.DEVNULL,
    )
    try:
        stack.ready(port, "tcp", 0)
        sys.path.insert(0, str(folder))
        function = importlib.import_module("benchmark_functions").tiny
        routes = folder / "routes.json"
        routes.write_text(json.dumps(table(function, port)))
        os.environ.update(TURBOLIFT="on", TURBOLIFT_ROUTES=str(routes))
        found: dict[str, dict[str, float]] = {}

        async def measured() -> None:
            found.update(await run(function, options.calls, options.rounds))

        stack.run(measured())
    finally:
        server.terminate()
        server.wait()
    for name, figures in found.items():
        print(
            f"{name:28} {figures['throughput']:9.0f} calls a second (best {figures['best']:.0f}), "
            f"client CPU {figures['client_cpu'] * 1e6:.1f} us a call"
        )
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
