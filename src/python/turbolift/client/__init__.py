# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The calling side: route table, connections, deadlines, retries.

``default_caller().call`` makes one remote call from a running event loop, ``run_blocking`` runs such a coroutine from
code without one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from turbolift.client.caller import Caller
from turbolift.client.policy import Policy
from turbolift.client.routes import SOURCE, Route, RouteSource, RouteTable, parse_table
from turbolift.client.transport import Transport
from turbolift.errors import NotRoutedError
from turbolift.wire.choice import lane_is_on

__all__ = [
    "Caller",
    "Policy",
    "Route",
    "RouteSource",
    "RouteTable",
    "aclose",
    "default_caller",
    "default_transport",
    "existing_caller",
    "parse_table",
    "run_blocking",
    "where",
]

T = TypeVar("T")

_lock = threading.Lock()
_caller: Caller | None = None
_abandoned: list[Caller] = []


def default_caller() -> Caller:
    """Return this process's caller. A forked child makes its own: connections cannot be shared."""
    global _caller
    found = _caller
    if found is None:
        # Of two, the one that is forgotten would leave its connections open.
        with _lock:
            found = _caller
            if found is None:
                found = _caller = Caller(default_transport())
    return found


def existing_caller() -> Caller | None:
    """Return this process's caller if there is one yet."""
    return _caller


def default_transport() -> Transport:
    """Return a new transport of the kind that ``TURBOLIFT_HTTP`` names."""
    if lane_is_on():
        from turbolift.client.lane.transport import LaneTransport

        return LaneTransport()
    from turbolift.client.aiohttp_transport import AiohttpTransport

    return AiohttpTransport()


def _abandon() -> None:
    global _caller, _lock
    _lock = threading.Lock()  # another thread may have held it, which does not exist here
    if _caller is not None:
        _abandoned.append(_caller)
        abandon = getattr(_caller.transport, "abandon", None)
        _caller = None
        if abandon is not None:
            abandon()


os.register_at_fork(after_in_child=_abandon)


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on the background loop and wait for it."""
    from turbolift.client.background import run_blocking as run

    return run(coroutine)


async def aclose() -> None:
    """Close the connections of the running loop now, rather than at its end."""
    if _caller is not None:
        await _caller.transport.aclose()


def where(function: str) -> str:
    """Say where calls of `function` go now: ``runs at <endpoint>``, or that it has no route."""
    try:
        return f"runs at {SOURCE.table().route(function).endpoint}"
    except NotRoutedError as error:
        return f"has no route: {error}"
