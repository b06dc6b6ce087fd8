# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What a user wrote, of the odd kind: modules with functions that fail in every way, or take odd values; name -> source."""

from __future__ import annotations

ERRORS = '''
import asyncio
import concurrent.futures
import dataclasses
import decimal
import json
import os
import pathlib
import queue
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import urllib.error
import zipfile
import zlib

import aiohttp
import msgspec

from turbolift import Local, on

class Keyword(Exception):
    def __init__(self, *, code, hint=None):
        super().__init__(f"code {code}")
        self.code = code
        self.hint = hint

class Wordy(Exception):
    def __init__(self, text):
        super().__init__("it is said: " + text)

class Silent(Exception):
    """Says nothing to its base."""
    def __init__(self, code):
        self.code = code

class Counted(Exception):
    made = 0
    def __new__(cls, number, *more):
        cls.made += 1
        return super().__new__(cls, number)
    def __init__(self, number, factor):
        super().__init__(number * factor)

class Slotted(Exception):
    __slots__ = ("left", "__right", "unset")
    def __init__(self, left, right):
        self.left = left
        self.__right = right
    def both(self):
        return self.left, self.__right

@dataclasses.dataclass
class Data(Exception):
    code: int
    text: str = "x"

@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int

class Disk(OSError):
    def __init__(self, path):
        super().__init__(28, "no room", path)
        self.path = path

class Bytes(UnicodeDecodeError):
    def __init__(self, data):
        super().__init__("utf-8", data, 0, 1, "of mine")

class Both(KeyError, AttributeError):
    pass

class Several(ExceptionGroup):
    def __new__(cls, errors):
        return super().__new__(cls, "several", errors)
    def derive(self, errors):
        return Several(errors)

class Outer:
    class Inner(ValueError):
        pass

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text")

class Exiting(Exception):
    """Looks harmless."""
    def __str__(self):
        sys.exit(9)

class Text(str):
    pass

class Subclassed(Exception):
    def __str__(self):
        return Text("of a subclass")

class Reaching(Exception):
    """Its text needs what cannot travel."""
    def __init__(self, answer):
        self.answer = answer
    def __str__(self):
        return f"status {self.answer.status}"

class Hiding(Exception):
    @property
    def args(self):
        raise RuntimeError("not yours")
    def __getattribute__(self, name):
        if name == "__dict__":
            raise RuntimeError("not yours")
        return super().__getattribute__(name)

class Picky(Exception):
    def __getattr__(self, name):
        raise KeyError(name)

class Meta(type):
    @property
    def __module__(cls):
        raise RuntimeError("no module")

class Placeless(Exception, metaclass=Meta):
    pass

class Answer:
    status = 404

class Ending(BaseException):
    pass

def connection_refused():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with socket.socket() as one:
            one.connect(bound.getsockname())

def rename():
    os.rename("/no/such/one", "/no/such/other")

def noted():
    error = ValueError("noted")
    error.add_note("one")
    error.add_note(Text("two"))
    raise error

def groups():
    inner = [KeyError("k"), Data(4), OSError(2, "no", "f")]
    inner[0].add_note("of a member")
    raise ExceptionGroup("outer", [ExceptionGroup("inner", inner), Several([Keyword(code=1)]), UnicodeError("u")])

def unwritten():
    error = BlockingIOError(11, "again")
    error.characters_written = 7
    raise error

def attributes():
    error = ValueError("attributes")
    error.kept = {1: (2.5, b"x"), "y": {3, None}}
    error.nan = float("nan")
    error.large = 10 ** 5000
    error.where = pathlib.PurePosixPath("/a")
    raise error

def changed():
    error = SyntaxError("bad", ("f.py", 1, 2, "text", 1, 3))
    error.lineno = 77
    error.filename = "other.py"
    raise error

def database():
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (a unique)")
    for _ in range(2):
        connection.execute("insert into t values (1)")

def raising(error):
    def run():
        raise error() if callable(error) else error
    return run

FAITHFUL = {
    "unicode decode": lambda: b"a\\xff".decode(),
    "unicode encode": lambda: "a\\udc00\\U0001f600".encode("utf-16"),
    "unicode translate": raising(lambda: UnicodeTranslateError("x\\udfff", 0, 1, "odd")),
    "file": lambda: open("/no/such/file"),
    "path": lambda: os.stat(pathlib.Path("/no/such/path")),
    "two files": rename,
    "descriptor": lambda: os.fstat(987654),
    "directory": lambda: open("/"),
    "refused": connection_refused,
    "name of a host": raising(lambda: socket.gaierror(-2, "Name or service not known")),
    "unwritten": unwritten,
    "errno alone": raising(lambda: OSError(28)),
    "key": lambda: {}["k"],
    "odd key": lambda: {}[(1, None, b"x", 2j, frozenset({3}))],
    "nan": raising(lambda: KeyError(float("nan"))),
    "long": raising(lambda: ValueError(10 ** 10_000)),
    "surrogates": raising(lambda: ValueError("\\ud83d\\ude00 \\udc00")),
    "deep": raising(lambda: ValueError([[[[[[[["x"]]]]]]]])),
    "index": lambda: [][0],
    "division": lambda: 1 // 0,
    "overflow": lambda: 2.0 ** 10_000,
    "attribute": lambda: "".nope,
    "unbound": lambda: nope,
    "import": lambda: __import__("no_such_module_here"),
    "import from": raising(lambda: ImportError("no", name="n", path="/p")),
    "syntax": lambda: compile("a b", "f.py", "exec"),
    "indentation": lambda: compile(" a\\nb", "f.py", "exec"),
    "changed": changed,
    "assertion": raising(lambda: AssertionError({"a": 1})),
    "not implemented": raising(NotImplementedError),
    "a warning": raising(lambda: UserWarning("w")),
    "stop async": raising(lambda: StopAsyncIteration(3)),
    "eof": raising(EOFError),
    "memory": lambda: bytearray(1 << 62),
    "recursion": raising(lambda: RecursionError("maximum recursion depth exceeded")),
    "timeout": raising(lambda: TimeoutError("mine")),
    "json": lambda: json.loads("[1,"),
    "struct": lambda: struct.unpack(">I", b""),
    "zlib": lambda: zlib.decompress(b"x"),
    "zip": raising(lambda: zipfile.BadZipFile("x")),
    "queue": lambda: queue.Queue().get_nowait(),
    "sqlite": database,
    "ssl": raising(lambda: ssl.SSLError(1, "bad record mac")),
    "subprocess": lambda: subprocess.run(["false"], check=True),
    "subprocess timeout": raising(lambda: subprocess.TimeoutExpired(["sleep", "9"], 0.5, output=b"x")),
    "incomplete": raising(lambda: asyncio.IncompleteReadError(b"ab", 4)),
    "pool": raising(lambda: concurrent.futures.BrokenExecutor("x")),
    "third party": lambda: msgspec.json.decode(b"1", type=str),
    "third party with facts": raising(lambda: aiohttp.TooManyRedirects(None, (), status=3, message="m")),
    "url": raising(lambda: urllib.error.URLError("x")),
    "noted": noted,
    "groups": groups,
    "attributes": attributes,
    "keyword": raising(lambda: Keyword(code=3, hint=("a", 1))),
    "wordy": raising(lambda: Wordy("x")),
    "silent": raising(lambda: Silent(4)),
    "counted": raising(lambda: Counted(4, 2)),
    "slotted": raising(lambda: Slotted(1, "r")),
    "data": raising(lambda: Data(code=4)),
    "frozen": raising(lambda: Frozen(5)),
    "disk": raising(lambda: Disk("/d")),
    "bytes": raising(lambda: Bytes(b"\\xff\\xfe")),
    "both": raising(lambda: Both("b")),
    "several": raising(lambda: Several([ValueError("a"), Keyword(code=2)])),
    "inner": raising(lambda: Outer.Inner("i")),
    "mute": raising(lambda: Mute(1)),
    "subclassed": raising(lambda: Subclassed(1)),
}
"""What arrives as it was: type, args, attributes, text, notes."""

def with_cycles():
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    first.__context__ = second.__context__ = first
    raise first

def long_chain():
    error = ValueError("the first")
    for number in range(5000):
        error, inner = ValueError(number), error
        error.__context__ = inner
    raise error

def wide():
    raise ExceptionGroup("wide", [ValueError(number) for number in range(12_000)])

def deep():
    error = ValueError("bottom")
    for _ in range(500):
        error = ExceptionGroup("level", [error])
    raise error

def with_lock():
    import threading
    error = ValueError("with a lock", threading.Lock())
    error.lock = threading.Lock()
    error.fine = 1
    raise error

HARD = {
    "exiting": raising(lambda: Exiting("x")),
    "reaching": raising(lambda: Reaching(Answer())),
    "hiding": raising(lambda: Hiding("x")),
    "picky": raising(lambda: Picky("x")),
    "placeless": raising(lambda: Placeless("x")),
    "cycles": with_cycles,
    "chain": long_chain,
    "wide": wide,
    "deep group": deep,
    "lock": with_lock,
    "class": raising(lambda: ValueError(Answer)),
    "decimal": lambda: decimal.Decimal(1) / decimal.Decimal("sNaN"),
    "huge": raising(lambda: ValueError("x" * 50_000_000)),
    "huge list": raising(lambda: ValueError([0] * 2_000_000)),
    "huge bytes": raising(lambda: ValueError(b"x" * 50_000_000)),
    "huge notes": raising(lambda: _with_notes()),
    "http": raising(lambda: urllib.error.HTTPError("http://x", 404, "not found", {}, None)),
}
"""What cannot arrive whole."""

def _with_notes():
    error = ValueError("notes")
    for _ in range(3000):
        error.add_note("n" * 10_000)
    return error

def crash(how):
    if how == "exit":
        os._exit(5)
    if how == "abort":
        os.abort()
    if how == "segfault":
        import ctypes
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), 9)
    if how == "terminate":
        os.kill(os.getpid(), 15)
        import time
        time.sleep(600)

def recurse(n):
    return recurse(n + 1) + 1

def act(what):
    if what == "pid":
        return str(os.getpid())
    if what == "recurse":
        return str(recurse(0))
    if what in ("exit", "abort", "segfault", "kill", "terminate"):
        return crash(what)
    if what == "sys.exit":
        sys.exit({"why": "done"})
    if what == "interrupt":
        raise KeyboardInterrupt
    if what == "cancelled":
        raise asyncio.CancelledError("mine")
    if what == "generator exit":
        raise GeneratorExit
    if what == "ending":
        raise Ending(1)
    if what == "stop":
        raise StopIteration(what)
    return str({**FAITHFUL, **HARD}[what]())

@on(Local(), workers="loop")
def inline(what: str) -> str:
    return act(what)

@on(Local(), concurrency=4)
def threads(what: str) -> str:
    return act(what)

@on(Local(), workers="processes", concurrency=2)
def processes(what: str) -> str:
    return act(what)

@on(Local(), workers="processes", concurrency=2, idempotent=True)
def stubborn(what: str) -> str:
    return act(what)

@on(Local())
async def asynchronous(what: str) -> str:
    if what.startswith("task: "):
        async def child():
            await asyncio.sleep(0)
            act(what.removeprefix("task: "))
        return await asyncio.create_task(child())
    await asyncio.sleep(0)
    return act(what)

@on(Local())
async def outer(what: str) -> str:
    return await threads(what)
'''

VALUES = '''
from typing import Any

from turbolift import Local, on

@on(Local(), workers="loop")
def anything(value: Any) -> Any:
    return value

@on(Local())
def text(value: str) -> str:
    return value

@on(Local())
def number(value: int) -> int:
    return value

@on(Local())
def real(value: float) -> float:
    return value

@on(Local(), max_payload=4096)
def small(value: str) -> str:
    return value

@on(Local())
def keyed(value: dict[str, list[str]]) -> dict[str, list[str]]:
    return value

@on(Local())
def makes(what: str, size: int) -> Any:
    """Returns what cannot travel, or is large."""
    if what == "deep":
        tree: Any = 0
        for _ in range(size):
            tree = [tree]
        return tree
    if what == "text":
        return "x" * size
    if what == "tuple":
        return {"a": [1, (2, 3)]}
    if what == "surrogates":
        return ["\\ud83d\\ude00"]
    if what == "own":
        own: list[Any] = []
        own.append(own)
        return own
    return None
'''

API = '''
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import pathlib
import uuid
import zoneinfo
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

from turbolift import Local, on

class Color(enum.Enum):
    RED = 1
    BLUE = "blue"

class Mode(enum.Flag):
    READ = 1
    WRITE = 2

@dataclasses.dataclass
class Card:
    number: str
    month: int = 1

@dataclasses.dataclass
class Transfer:
    account: str
    amount: decimal.Decimal

@dataclasses.dataclass
class Tree:
    value: int
    children: list["Tree"] = dataclasses.field(default_factory=list)

class Pair(NamedTuple):
    left: int
    right: str = "r"

class Movie(TypedDict):
    title: str
    year: NotRequired[int]

@on(Local())
def plain(a: int, b: float = 1.0, *, c: str | None = None, d: bool = False) -> dict[str, int | float | str | bool | None]:
    """Gives back what it is given."""
    return {"a": a, "b": b, "c": c, "d": d}

@on(Local(), workers="loop")
def shapes(a: tuple[int, str], b: tuple[int, *tuple[str, ...], bool], c: tuple[float, ...], d: dict[int, str],
           e: complex, f: range, g: slice, h: collections.deque[int]) -> list[Any]:
    return [list(a), len(b), len(c), len(d)]

@on(Local(), workers="loop")
def same_shapes(a: tuple[int, str], b: tuple[tuple[int, bool], ...]) -> tuple[tuple[int, str], tuple[tuple[int, bool], ...]]:
    return a, b

@on(Local())
async def records(card: Card | Transfer, tree: Tree, pair: Pair, movie: Movie, color: Color, mode: Mode,
                  word: Literal["a", 1, True, None]) -> Card | Transfer:
    return card

@on(Local())
def scalars(when: datetime.datetime, day: datetime.date, at: datetime.time, lasts: datetime.timedelta, price: decimal.Decimal,
            part: fractions.Fraction, key: uuid.UUID, path: pathlib.PurePosixPath, data: bytes, more: bytearray,
            unique: set[int], fixed: frozenset[str]) -> list[str]:
    return [str(when), str(day), str(at), str(lasts), str(price)]

@on(Local())
def addresses(a: ipaddress.IPv4Address, b: ipaddress.IPv6Address, c: ipaddress.IPv4Network = ipaddress.IPv4Network("10.0.0.0/8"),
              d: ipaddress.IPv6Interface = ipaddress.IPv6Interface("::1")) -> str:
    return str(a)

@on(Local())
def anything(value: Any, zone: zoneinfo.ZoneInfo | None = None) -> Any:
    return value

@on(Local())
def variadic(first: int, /, second: str = "", *rest: int, flag: bool = False, **others: float) -> int:
    return len(rest) + len(others)

@on(Local(), workers="processes", concurrency=1)
def nothing() -> None:
    return None
'''

LEAKS = """
import asyncio
import gc
import os
import tracemalloc

from turbolift import Local, on

def _work(what, text):
    if what == "echo":
        return text
    if what == "fail":
        raise KeyError(text, [text] * 100)
    if what == "wrong":
        return 7
    if what == "memory":
        # What is alive, and what is open, in this process.
        for _ in range(3):
            gc.collect()
        return f"{tracemalloc.get_traced_memory()[0]} {len(os.listdir('/proc/self/fd'))}"
    raise AssertionError(what)

@on(Local(), workers="loop", max_payload="100Ki")
def inline(what: str, text: str = "") -> str:
    return _work(what, text)

@on(Local(), concurrency=8, max_payload="100Ki")
def threads(what: str, text: str = "") -> str:
    return _work(what, text)

@on(Local(), workers="processes", concurrency=1, max_payload="100Ki")
def processes(what: str, text: str = "") -> str:
    return _work(what, text)

@on(Local(), max_payload="100Ki")
async def asynchronous(what: str, text: str = "") -> str:
    if what == "wait":
        await asyncio.sleep(600)
    return _work(what, text)
"""

ODD_MODULES = {"served_errors": ERRORS, "served_values": VALUES, "served_api": API, "served_leaks": LEAKS}
