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

# The tags are on a module of their own: what is tagged in this repository would be packaged with it.
TAGGED = """
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
"""
NAMES = ("tiny", "floats", "raw")


def folder(port):
    path = Path(tempfile.gettempdir()) / f"turbolift-benchmark-{os.getuid()}-{port}"
    path.mkdir(mode=0o700, exist_ok=True)
    # Both sides come here at once, and must never import half a module.
    beside = path / f"{os.getpid()}.new"
    beside.write_text(TAGGED)
    beside.replace(path / "benchmark_functions.py")
    return path


def environment(path):
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(path), *filter(None, sys.path)])}


def serve(port, kind):
    """Run a server for each function. The first is started at once: its start is what counts as the cold start, and
    the others of this benchmark's own do not compete with it.
    """
    path = folder(port)
    children = []
    for i, name in enumerate(NAMES):
        children.append(
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "turbolift.shim",
                    "--function",
                    f"benchmark_functions:{name}",
                    *where(port, kind, i),
                ],
                env=environment(path),
                stderr=subprocess.DEVNULL,
            )
        )
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
        time.sleep(0.002)
    raise SystemExit(f"the server of {NAMES[i]} does not get ready")


async def client(port, kind):
    path = folder(port)
    sys.path.insert(0, str(path))
    module = importlib.import_module("benchmark_functions")
    functions = {name: getattr(module, name) for name in NAMES}
    routes = {
        f"benchmark_functions:{name}": {
            "version": "0" * 64,
            "endpoint": f"unix://{path / str(i)}" if kind == "unix" else f"http://127.0.0.1:{port + i}",
            "contract": functions[name].contract.digest,
            "timeout": 60.0,
        }
        for i, name in enumerate(NAMES)
    }
    table = {"version": 1, "deployment": "d", "platform": "local", "generation": 1, "routes": routes}
    (path / "routes.json").write_text(json.dumps(table))
    os.environ.update(TURBOLIFT="on", TURBOLIFT_ROUTES=str(path / "routes.json"))
    waited = set()

    async def call(name, args):
        if name not in waited:
            ready(port, kind, NAMES.index(name))
            waited.add(name)
        return await functions[name](*args)

    # The server side needs none of this to start.
    from benchmarks.calls.suite.driver import drive

    await drive(call)


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
