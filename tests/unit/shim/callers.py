# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Callers of single functions, over a way of HTTP that the test chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turbolift.client.aiohttp_transport import AiohttpTransport
from turbolift.client.caller import Caller
from turbolift.client.lane.transport import LaneTransport
from turbolift.client.policy import Policy
from turbolift.client.routes import Route, RouteTable
from turbolift.client.transport import Transport

WAYS = ("lane", "aiohttp")
TRANSPORTS: dict[str, Callable[[], Transport]] = {"lane": LaneTransport, "aiohttp": AiohttpTransport}


class Calls:
    """A caller of one function at one endpoint. For ``async with``."""

    def __init__(self, function: Any, endpoint: str, way: str, *, policy: Policy | None = None) -> None:
        self._function = function
        contract = function.contract.digest
        route = Route(endpoint=endpoint, version="0" * 64, contract=contract, timeout=None, idempotent=False)
        table = RouteTable("t", "local", 1, {function.identity: route}, "a test")
        self._caller = Caller(TRANSPORTS[way](), lambda: table, policy)

    async def __aenter__(self) -> Calls:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._caller.transport.aclose()

    async def __call__(self, *args: Any, **options: Any) -> Any:
        return await self._caller.call(self._function.identity, self._function.contract, args, {}, **options)
