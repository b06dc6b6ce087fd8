# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Nothing is left of calls, however they end: no memory, no socket, no warning, on either side, under either loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

# What a caller does: calls of each end, one and many at a time; then it counts what is alive and open.
CALLER = """
import asyncio, gc, json, logging, os, sys, tracemalloc
# Of asyncio's log all but what it says of a slow machine.
logging.getLogger("asyncio").setLevel("ERROR")
import served_leaks
from turbolift import DeadlineExceeded, EncodeError, PayloadTooLarge
from turbolift.client import aclose

function = getattr(served_leaks, sys.argv[1])
rounds = int(sys.argv[2])
waits = sys.argv[1] == "asynchronous"

async def some():
    assert await function("echo", "x") == "x"
    assert await asyncio.gather(*(function("echo", str(i)) for i in range(8))) == [str(i) for i in range(8)]
    assert await function.map(["echo"] * 20, map(str, range(20))) == [str(i) for i in range(20)]
    large = "y" * 90_000
    assert await function("echo", large) == large
    for arguments, kind in ((("fail", "x"), KeyError), (("wrong",), EncodeError), (("echo", 3), EncodeError)):
        try:
            await function(*arguments)
        except kind:
            pass
        else:
            raise AssertionError(arguments)
    try:
        await function("echo", "z" * 110_000)
    except PayloadTooLarge:
        pass
    if waits:
        task = asyncio.create_task(function("wait"))
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        try:
            await function.with_options(timeout=0.01)("wait")
        except DeadlineExceeded:
            pass
        assert len(await function.map(["echo", "fail"] * 4, return_exceptions=True)) == 8

def alive():
    for _ in range(3):
        gc.collect()
    return tracemalloc.get_traced_memory()[0], len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())

async def main():
    for _ in range(rounds):
        await some()
    before = alive()
    there = await function("memory")
    for _ in range(3 * rounds):
        await some()
    after = alive()
    return before, after, there, await function("memory")

tracemalloc.start()
descriptors = len(os.listdir("/proc/self/fd"))
if sys.argv[3] == "uvloop":
    import uvloop
    found = uvloop.run(main())
else:
    found = asyncio.run(main())
gc.collect()
print(json.dumps([*found, descriptors, len(os.listdir("/proc/self/fd"))]))
"""

ROUNDS = 15
"""Rounds before the first count. Three times as many come before the second; each makes some 40 calls."""


@pytest.mark.parametrize("name", ["inline", "threads", "processes", "asynchronous"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_nothing_is_left(deployment: Any, modules: Any, name: str, loop: str) -> None:
    warnings = {"PYTHONTRACEMALLOC": "1", "PYTHONWARNINGS": "error::ResourceWarning,error::RuntimeWarning"}
    shim = deployment.start(f"served_leaks:{name}", TURBOLIFT_LOOP=loop, **warnings)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", CALLER, name, str(ROUNDS), loop],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(modules), *filter(None, sys.path)])},
        check=False,
    )
    # Unclosed sockets, transports, sessions and loops, and coroutines never awaited, would be told here.
    assert done.stderr == ""
    assert done.returncode == 0
    before, after, there, there_after, opened, left = json.loads(done.stdout)
    # Less than a hundred bytes for each of some 1,800 calls: caches fill up.
    assert after[0] - before[0] < 150_000
    assert (
        after[1] <= before[1] + 32
    )  # idle connections: as many as calls were in flight at once; a leak would be of 45
    assert after[2] == before[2] == 1
    assert left <= opened + 2  # uvloop itself keeps two, once
    memory, descriptors = map(int, there.split())
    memory_after, descriptors_after = map(int, there_after.split())
    assert memory_after - memory < 200_000
    assert descriptors_after <= descriptors + 32
    assert shim.stop() == 0
    told = [line for line in shim.text().splitlines() if not line.startswith("{")]
    assert told == [], shim.text()
    assert shim.logged("internal error") == []


def test_a_leak_would_be_seen(deployment: Any, modules: Any) -> None:
    """The same with a caller that keeps what it gets: the test above can fail."""
    deployment.start("served_leaks:inline")
    keeping = CALLER.replace(
        "async def some():",
        "kept = []\nasync def some():\n    kept.append(bytearray(10_000))\n    sock = open('/dev/null')",
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", keeping, "inline", str(ROUNDS), "asyncio"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(modules), *filter(None, sys.path)])},
        check=False,
    )
    assert "unclosed file" in done.stderr
    before, after, *_ = json.loads(done.stdout)
    assert after[0] - before[0] > 150_000
