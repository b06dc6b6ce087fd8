# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""An aiohttp client of an HTTP server: JSON for numbers, octets for bytes and arrays, connections kept alive."""

from __future__ import annotations

from typing import Any

import aiohttp
from benchmarks.calls.suite.driver import drive
from benchmarks.calls.suite.payloads import NAMES

OCTETS = {"Content-Type": "application/octet-stream"}


async def client(port: str, path: str = "/{name}", *, lacks: str = "", positional: bool = False) -> None:
    """Drive the functions at `path` on `port`; `lacks` says why bytes and arrays cannot be sent."""
    connector = aiohttp.TCPConnector(limit=64)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as session:

        async def call(name: str, args: tuple[Any, ...]) -> Any:
            where = path.format(name=name)
            if name in ("raw", "array"):
                if lacks:
                    raise NotImplementedError(lacks)
                data = args[0] if name == "raw" else args[0].tobytes()
                async with session.post(where, data=data, headers=OCTETS, raise_for_status=True) as response:
                    body = await response.read()
                if name == "raw":
                    return body
                import numpy

                return numpy.frombuffer(body)
            given: dict[str, Any] = dict(zip(NAMES[name], args, strict=True))
            if positional:
                given = {"args": list(args), "kwargs": {}}
            async with session.post(where, json=given, raise_for_status=True) as response:
                return await response.json()

        await drive(call)
