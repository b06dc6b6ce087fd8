# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Large arguments and results: peak memory of caller and server, and how long each side's event loop stood still.

`./pants run benchmarks/large -- [--mb 100] [--cases bytes,array,floats] [--compress] [--json FILE]`: for each case one
server (a process of its own) and one caller (another), one call of so many megabytes each way, after a small one. The
caller's loop ticks each 2 ms, and the server's is asked for its health each 5 ms by a third process. What is written is
what was measured on this machine, next to whatever else it does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

USERLAND = """
from turbolift import Local, on
BIG = "2Gi"
try:
    import numpy
    from numpy.typing import NDArray
    @on(Local(), max_payload=BIG)
    async def array(data: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
        return data
except ImportError:
    pass
@on(Local(), max_payload=BIG)
async def bytes_(data: bytes) -> bytes:
    return data
@on(Local(), max_payload=BIG)
async def floats(data: list[float]) -> list[float]:
    return data
"""

FUNCTIONS = {"bytes": "bytes_", "array": "array", "floats": "floats"}


def value_of(case: str, size: int) -> Any:
    if case == "bytes":
        return b"0123456789abcdef" * (size // 16)
    if case == "array":
        import numpy

        return numpy.arange(size // 8, dtype=numpy.float64)
    import random

    rnd = random.Random(1)
    some = [rnd.random() for _ in range(10_000)]
    return [some[i % 10_000] + i for i in range(size // 19)]


def status_of(pid: int | str, field: str) -> float:
    """Return a field of a process's status, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def ticking(stalls: list[float]) -> None:
    before = time.perf_counter()
    while True:
        await asyncio.sleep(0.002)
        now = time.perf_counter()
        stalls.append(now - before - 0.002)
        before = now


async def call_once(case: str, size: int, compress: bool) -> dict[str, float]:
    import userland

    function = getattr(userland, FUNCTIONS[case])
    if compress:
        function = function.with_options(compress=True)
    await function(value_of(case, 64))
    value = value_of(case, size)
    stalls: list[float] = []
    task = asyncio.create_task(ticking(stalls))
    await asyncio.sleep(0.1)
    stalls.clear()
    at_rest = status_of("self", "VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    started, cpu = time.perf_counter(), time.process_time()
    result = await function(value)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    task.cancel()
    peak = status_of("self", "VmHWM")
    assert len(result) == len(value)
    return {
        "seconds": seconds,
        "caller_cpu": cpu,
        "caller_more_mb": peak - at_rest,
        "caller_stall_ms": max(stalls, default=0.0) * 1000,
    }


def probe(path: str) -> None:
    """Ask for health until stdin ends; write the longest answer time in ms."""
    import select

    slowest = 0.0
    while not select.select([sys.stdin], [], [], 0.005)[0]:
        started = time.perf_counter()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while connection.recv(4096):
                pass
        slowest = max(slowest, time.perf_counter() - started)
    print(slowest * 1000)


def measure(case: str, options: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="tl-") as folder:
        (Path(folder) / "userland.py").write_text(USERLAND)
        path = f"{folder}/s"
        routes = Path(folder) / "routes.json"
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([folder, *filter(None, sys.path)]),
            "TURBOLIFT": "on",
            "TURBOLIFT_ROUTES": str(routes),
        }
        identity = f"userland:{FUNCTIONS[case]}"
        server = subprocess.Popen(
            [sys.executable, "-m", "turbolift.shim", "--function", identity, "--uds", path], env=env,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            describe = f"import userland; print(userland.{FUNCTIONS[case]}.contract.digest)"
            digest = subprocess.run(
                [sys.executable, "-c", describe], env=env, check=True, capture_output=True, text=True
            ).stdout.strip()
            route = {
                "version": "0" * 64, "endpoint": f"unix://{path}", "contract": digest, "timeout": None, "idempotent": False,
            }  # fmt: skip
            table = {
                "version": 1,
                "deployment": "b",
                "platform": "local",
                "generation": 1,
                "routes": {identity: route},
            }
            routes.write_text(json.dumps(table))
            while not os.path.exists(path):
                time.sleep(0.05)
            time.sleep(1.0)
            Path(f"/proc/{server.pid}/clear_refs").write_text("5")
            at_rest = status_of(server.pid, "VmRSS")
            me = [sys.executable, __file__]
            prober = subprocess.Popen(
                [*me, "--probe", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            more = ["--compress"] if options.compress else []
            caller = subprocess.run(
                [*me, "--caller", case, "--mb", str(options.mb), *more],
                env=env,
                check=True,
                capture_output=True,
                text=True,
            )
            slowest, _ = prober.communicate("")
            found: dict[str, float] = json.loads(caller.stdout)
            found["server_more_mb"] = status_of(server.pid, "VmHWM") - at_rest
            found["slowest_probe_ms"] = float(slowest)
            return {name: round(value, 2) for name, value in found.items()}
        finally:
            server.kill()
            server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--cases", default="bytes,array,floats")
    parser.add_argument("--compress", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--caller", help=argparse.SUPPRESS)
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        probe(options.probe)
        return
    if options.caller:
        print(json.dumps(asyncio.run(call_once(options.caller, options.mb * 1_000_000, options.compress))))
        return
    results = {}
    for case in options.cases.split(","):
        results[case] = found = measure(case, options)
        print(case, "  ".join(f"{name}={value}" for name, value in found.items()), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
