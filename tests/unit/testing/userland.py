# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Tagged functions of a user, for the tests of turbolift.testing."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from turbolift import Local, on

HERE = Local()
RAN: list[str] = []
REQUEST: ContextVar[str] = ContextVar("REQUEST", default="none")


class Unknown(LookupError):
    """An error of the user's own."""


@on(HERE)
def add(a: int, b: int = 1) -> int:
    RAN.append(f"add {a} {b}")
    return a + b


@on(HERE, idempotent=True)
def again(a: int) -> int:
    RAN.append(f"again {a}")
    return a


@on(HERE)
async def nap(seconds: float) -> str:
    RAN.append("nap")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        RAN.append("cancelled")
        raise
    return "slept"


@on(HERE, timeout=0.2)
async def hurried(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


@on(HERE)
def append(items: list[int]) -> list[int]:
    items.append(0)
    return items


@on(HERE)
def fail(key: str) -> None:
    raise Unknown(key)


@on(HERE)
def wrong() -> int:
    return "text"  # type: ignore[return-value]


@on(HERE)
async def outer(a: int) -> int:
    return await add(a, 10) + await add(a, 20)


@on(HERE)
def outer_in_a_thread(a: int) -> int:
    return add.call(a, 30)


@on(HERE)
def opaque(value: Any) -> int:
    return 1


@on(HERE)
def untravelled(lock: threading.Lock) -> int:
    return 1


@on(HERE, workers="loop")
def where() -> str:
    return threading.current_thread().name


@on(HERE)
def request_here() -> str:
    return REQUEST.get()


@on(HERE, pure=True)
def writes(path: str) -> None:
    Path(path).write_text("x")


@on(HERE, concurrency=1, queue=1)
async def narrow(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return 1


@on(HERE, max_payload="1Ki")
def small(text: str) -> int:
    return len(text)


WARMED: list[str] = []


def warm_up() -> None:
    WARMED.append("warm")


@on(HERE, warm=warm_up)
def warm() -> int:
    return len(WARMED)


@on(HERE, workers="processes", concurrency=1)
def working(a: int) -> int:
    return a + 1


class Cart:
    @staticmethod
    @on(HERE)
    def total(prices: list[float]) -> float:
        return sum(prices)


def plain(a: int) -> int:
    return a
