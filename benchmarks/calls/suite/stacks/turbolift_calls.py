# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""turbolift by its public API: `await function(x)`, each function served by ``python -m turbolift.shim``."""

import asyncio
import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# The tags are on modules of their own: what is tagged in this repository would be packaged with it.
MODULES = {
    "benchmark_functions": """
from turbolift import Local, on

loop = dict(workers="loop", timeout=60.0, concurrency=256)

@on(Local(), **loop)
def tiny(a: int, b: int) -> int:
    return a + b

@on(Local(), **loop)
def floats(values: list[float]) -> float:
    return values[0] + values[-1]

@on(Local(), **loop)
def raw(data: bytes) -> bytes:
    return data
""",
    "benchmark_arrays": """
import numpy
from turbolift import Local, on

@on(Local(), workers="loop", timeout=60.0, concurrency=256)
def array(data: numpy.ndarray) -> numpy.ndarray:
    return data * 2.0
""",
    "benchmark_workers": """
import time
from turbolift import Local, on

@on(Local(), workers="processes", timeout=60.0)
def tiny(a: int, b: int) -> int:
    return a + b

@on(Local(), workers="processes", timeout=60.0)
def burn(seconds: float) -> float:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return seconds
""",
}
INLINE = [
    "benchmark_functions:tiny",
    "benchmark_functions:floats",
    "benchmark_functions:raw",
    "benchmark_arrays:array",
]
SERVED = {"tcp": INLINE, "unix": INLINE, "processes": ["benchmark_workers:tiny", "benchmark_workers:burn"]}
"""Kind of the stack -> its functions, a server and a port each, in this order."""


def folder(port):
    path = Path(tempfile.gettempdir()) / f"turbolift-benchmark-{os.getuid()}-{port}"
    path.mkdir(mode=0o700, exist_ok=True)
    # Both sides come here at once, and must never import half a module.
    for name, text in MODULES.items():
        beside = path / f"{os.getpid()}.new"
        beside.write_text(text)
        beside.replace(path / f"{name}.py")
    return path


def environment(path):
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(path), *filter(None, sys.path)])}


def serve(port, kind):
    """Run a server for each function. The start of the first is what counts as the cold start, by the command that an image has;
    this launcher, and the others of the benchmark's own, are none of it, and do not compete with it.
    """
    path = folder(port)
    children = []
    for i, identity in enumerate(SERVED[kind]):
        if not children:
            (path / "began.new").write_text(repr(time.time()))
            (path / "began.new").replace(path / "began")
        children.append(
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "turbolift.shim",
                    "--function",
                    identity,
                    *where(port, kind, i),
                ],
                env=environment(path),
                stderr=subprocess.DEVNULL,
            )
        )
        time.sleep(0.5 if i == 0 else 0.0)
        ready(port, kind, i)
        time.sleep(0.2)
    for child in children:
        child.wait()


def where(port, kind, i):
    return (
        ["--uds", str(folder(port) / f"{i}")]
        if kind == "unix"
        else ["--host", "127.0.0.1", "--port", str(port + i)]
    )


def connected(port, kind, i):
    if kind == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(folder(port) / f"{i}"))
        return sock
    return socket.create_connection(("127.0.0.1", port + i))


def ready(port, kind, i):
    """Wait until the server of the `i`-th function is ready."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with connected(port, kind, i) as sock:
                sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if sock.recv(65536).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            pass
        time.sleep(0.004)  # as the other drivers
    raise SystemExit(f"the server of {SERVED[kind][i]} does not get ready")


async def client(port, kind):
    path = folder(port)
    sys.path.insert(0, str(path))
    identities = SERVED[kind]
    functions, numbers, routes = {}, {}, {}
    for i, identity in enumerate(identities):
        module, _, name = identity.partition(":")
        functions[name] = getattr(importlib.import_module(module), name)
        numbers[name] = i
        routes[identity] = {
            "version": "0" * 64,
            "endpoint": f"unix://{path / str(i)}" if kind == "unix" else f"http://127.0.0.1:{port + i}",
            "contract": functions[name].contract.digest,
            "timeout": 60.0,
        }
    table = {"version": 1, "deployment": "d", "platform": "local", "generation": 1, "routes": routes}
    (path / "routes.json").write_text(json.dumps(table))
    os.environ.update(TURBOLIFT="on", TURBOLIFT_ROUTES=str(path / "routes.json"))
    from turbolift.client import default_caller

    waited = set()

    async def call(name, args):
        if name not in waited:
            if name not in functions:
                raise NotImplementedError("measured inline alone")
            ready(port, kind, numbers[name])
            waited.add(name)
        return await functions[name](*args)

    # What the first call imports: the other drivers have their client too, before their server starts.
    default_caller()
    # The server side needs none of this to start.
    from benchmarks.calls.suite.driver import drive

    async def many(calls):
        return await functions["tiny"].map(range(calls), [1] * calls, concurrency=64)

    await drive(call, many, lambda: float((path / "began").read_text()))


def run(main):
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


if __name__ == "__main__":
    what, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if what == "serve":
        serve(port, kind)
    else:
        run(client(port, kind))
