# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What a user wrote: modules with tagged functions that the tests serve, module name -> source."""

from __future__ import annotations

FUNCTIONS = '''
import asyncio
import os
import pathlib
import threading
import time

from turbolift import Docker, K8s, Local, on

class OutOfStock(Exception):
    """Carries facts as attributes, one of which cannot travel."""

    def __init__(self, sku, left):
        super().__init__(sku, left)
        self.left = left
        self.source = object()

class Demanding(Exception):
    """Cannot be built from its args."""

    def __init__(self, *, code):
        super().__init__(f"code {code}")

def fail(what, text):
    if what == "value":
        raise ValueError(text)
    if what == "key":
        raise KeyError((1, text))
    if what == "file":
        open("/no/such/" + text)
    if what == "unicode":
        text.encode().decode("ascii")
    if what == "stock":
        raise OutOfStock(text, 3)
    if what == "demanding":
        raise Demanding(code=7)
    if what == "hidden":
        import hidden_module
        raise hidden_module.Hidden(text)
    if what == "notes":
        error = ValueError(text)
        error.add_note("the first note")
        raise error
    if what == "group":
        raise ExceptionGroup(text, [ValueError("a"), OutOfStock("b", 1), ExceptionGroup("c", [KeyError("d")])])
    if what == "chain":
        try:
            int("x")
        except ValueError as error:
            raise RuntimeError(text) from error
    if what == "exit":
        raise SystemExit(3)
    if what == "interrupt":
        raise KeyboardInterrupt
    if what == "recursion":
        fail(what, text)
    if what == "memory":
        raise MemoryError
    if what == "cancelled":
        raise asyncio.CancelledError
    if what == "timeout":
        raise TimeoutError(text)
    if what == "stop":
        raise StopIteration(text)
    raise AssertionError(what)

def act_here(what, text, seconds):
    if what == "echo":
        return text
    if what == "sleep":
        pathlib.Path(text).touch()
        time.sleep(seconds)
        return "slept"
    if what == "hold":
        pathlib.Path(text).touch()
        while not os.path.exists(text + ".go"):
            time.sleep(0.01)
        return "held"
    if what == "thread":
        return threading.current_thread().name
    if what == "pid":
        return str(os.getpid())
    if what == "die":
        os.kill(os.getpid(), 9)
    if what == "leave":
        os._exit(5)
    if what == "wrong":
        return 7
    if what == "env":
        return os.environ.get(text, "")
    return fail(what, text)

@on(Local(), concurrency=2, queue=2, max_payload="1Mi")
def act(what: str, text: str = "", seconds: float = 0.0) -> str:
    """Do what it is told."""
    return act_here(what, text, seconds)

@on(Local(), concurrency=64)
def quick(what: str, text: str = "", seconds: float = 0.0) -> str:
    return act_here(what, text, seconds)

@on(Local(), timeout=1.0)
async def brief(what: str, text: str = "", seconds: float = 0.0) -> str:
    return await aact.local(what, text, seconds)

@on(Local())
async def aact(what: str, text: str = "", seconds: float = 0.0) -> str:
    if what == "wait":
        marker = pathlib.Path(text)
        marker.write_text("started")
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            marker.write_text("cancelled")
            raise
        return "waited"
    if what == "nested":
        return await quick("echo", text)
    if what == "nested-sleep":
        return await quick("sleep", text, seconds)
    return act_here(what, text, seconds)

@on(Local(), workers="processes", concurrency=2)
def pact(what: str, text: str = "", seconds: float = 0.0) -> str:
    return act_here(what, text, seconds)

@on(Local(), workers="loop")
def inline(what: str, text: str = "", seconds: float = 0.0) -> str:
    return act_here(what, text, seconds)

@on(Local())
def nest(text: str) -> str:
    return quick.call("echo", text)

@on(Local())
def flip(data: bytes) -> bytes:
    return data[::-1]

@on(Local(), idempotent=True)
def once(path: str) -> str:
    """Dies at its first run, and works at the second."""
    marker = pathlib.Path(path)
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), 9)
    return "ran again"

@on(Local(), pure=True)
def pure(what: str, text: str) -> str:
    if what == "write":
        open(text, "w")
    if what == "hide":
        try:
            open(text, "w")
        except OSError:
            pass
    if what == "socket":
        import socket
        socket.socket()
    if what == "process":
        import subprocess
        subprocess.run([text])
    if what == "import":
        import wave
    return open(__file__).readline()

class Cart:
    @staticmethod
    @on(Local())
    def total(prices: list[float]) -> float:
        return sum(prices)

    @on(Local())
    @staticmethod
    async def count(prices: list[float]) -> int:
        return len(prices)

warmed = []

def warm():
    warmed.append(1)

@on(K8s(4, namespace="shop"), cpu="250m", memory="64Mi", timeout=60, warm=warm, env={"MODE": "x"})
def is_warm() -> int:
    """How often it was warmed."""
    return len(warmed)

def cold():
    raise RuntimeError("no model file")

@on(Docker(), warm=cold)
def never_warm() -> int:
    return 0
'''

AGAIN = """
import asyncio
import os
import pathlib
import time

from turbolift import Local, on

def _note(path, text):
    with open(path, "a") as file:
        file.write(text)

def _work(path, seconds, fails):
    _note(path, "b")
    time.sleep(seconds)
    _note(path, "e")
    if fails:
        raise ValueError(path)
    return path

@on(Local(), idempotent=True, workers="loop")
def inline(path: str, seconds: float = 0.0, fails: bool = False) -> str:
    return _work(path, seconds, fails)

@on(Local(), idempotent=True)
def threads(path: str, seconds: float = 0.0, fails: bool = False) -> str:
    return _work(path, seconds, fails)

@on(Local(), idempotent=True, workers="processes")
def processes(path: str, seconds: float = 0.0, fails: bool = False) -> str:
    return _work(path, seconds, fails)

@on(Local(), idempotent=True)
async def asynchronous(path: str, seconds: float = 0.0, fails: bool = False) -> str:
    _note(path, "b")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        _note(path, "c")
        raise
    _note(path, "e")
    if fails:
        raise ValueError(path)
    return path
"""

AHEAD = """
import os
import time

from turbolift import Local, on

@on(Local(), workers="processes", concurrency=2, timeout=60.0)
def act(what: str, path: str = "", at: int = 0) -> str:
    if what == "warm":
        return ""
    # One write: lines of several workers do not mix.
    line = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(line, f"{at}\\n".encode())
    os.close(line)
    if what == "exit":
        os._exit(3)
    while what == "hold" and not os.path.exists(path + ".go"):
        time.sleep(0.005)
    if what == "fail":
        raise KeyError(at)
    return "x" * int(what) if what.isdigit() else str(at)
"""

LARGE = """
import os

import numpy
from numpy.typing import NDArray

from turbolift import Local, on

BIG = "256Mi"
runs = []

@on(Local(), max_payload=BIG)
def threads(parts: list[bytes]) -> list[bytes]:
    return parts[::-1]

@on(Local(), max_payload=BIG, workers="loop")
def inline(parts: list[bytes]) -> list[bytes]:
    return parts[::-1]

@on(Local(), max_payload=BIG)
async def asynchronous(parts: list[bytes]) -> list[bytes]:
    return parts[::-1]

@on(Local(), max_payload=BIG, workers="processes", concurrency=1)
def processes(parts: list[bytes]) -> list[bytes]:
    return parts[::-1]

@on(Local(), max_payload=BIG)
async def array(values: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    values += 1.0  # an array of its own, that can be written to
    return values

@on(Local(), max_payload=BIG)
async def floats(values: list[float], names: list[str] = []) -> list[float]:
    return values[::-1]

@on(Local(), max_payload=BIG)
def rows(rows: list[dict[str, list[int]]]) -> list[dict[str, list[int]]]:
    return rows[::-1]

@on(Local(), max_payload=BIG)
async def run(data: bytes) -> int:
    runs.append(len(data))
    return len(runs)

@on(Local(), max_payload="1Mi")
async def small(data: bytes, size: int = 0) -> bytes:
    return bytes(size)
"""

MODULES = {
    "served": FUNCTIONS,
    "served_large": LARGE,
    "served_again": AGAIN,
    "served_ahead": AHEAD,
    "hidden_module": "class Hidden(Exception):\n    pass\n",
    "served_broken": "import turbolift\n\nprint('before')\n1 / 0\n",
    "served_leaving": "raise SystemExit('no licence')\n",
    "served_hintless": "from turbolift import Local, on\n\n@on(Local())\ndef f(a, b: int) -> int:\n    return b\n",
    "served_untagged": "def f() -> int:\n    return 1\n",
    "served_slow": (
        "import os, time\nfrom turbolift import Local, on\n"
        "open(os.environ['GO'] + '.seen', 'w').close()\n"
        "while not os.path.exists(os.environ['GO']):\n    time.sleep(0.01)\n\n"
        "@on(Local())\ndef f(x: int) -> int:\n    return x + 1\n"
    ),
    "served_platform": (
        "from turbolift import on\n\nclass Edge:\n    kind = 'edge'\n    def describe(self):\n"
        "        return {'kind': 'edge', 'region': 'north'}\n\n"
        "class Odd(Edge):\n    def describe(self):\n        return {'kind': 'edge', 'at': object()}\n\n"
        "@on(Edge())\ndef f() -> int:\n    return 1\n\n@on(Odd())\ndef g() -> int:\n    return 1\n"
    ),
    "served_changed": (
        "from turbolift import Local, on\n\n@on(Local())\ndef f(x: int, y: int = 0) -> int:\n    return x + y\n"
    ),
}
