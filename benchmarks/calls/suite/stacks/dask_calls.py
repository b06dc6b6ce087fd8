# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Dask distributed: a scheduler, and a worker process of two threads under its nanny; `client.submit` and `client.map`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from benchmarks.calls.suite.payloads import FUNCTIONS


async def serve(port: int) -> None:
    from distributed import Nanny, Scheduler

    async with (
        Scheduler(host="127.0.0.1", port=port, dashboard=False) as scheduler,
        Nanny(scheduler.address, nthreads=2, host="127.0.0.1", dashboard=False),
    ):
        await asyncio.Event().wait()


async def client(port: int) -> None:
    from benchmarks.calls.suite.driver import drive
    from distributed import Client

    clients: list[Any] = []

    async def call(name: str, args: tuple[Any, ...]) -> Any:
        if not clients:
            clients.append(await Client(f"tcp://127.0.0.1:{port}", asynchronous=True, timeout=2))
        return await clients[0].submit(FUNCTIONS[name], *args, pure=False)

    async def many(calls: int) -> list[Any]:
        futures = clients[0].map(FUNCTIONS["tiny"], range(calls), [1] * calls, pure=False)
        return await clients[0].gather(futures)  # type: ignore[no-any-return]

    await drive(call, many)


if __name__ == "__main__":
    asyncio.run({"serve": serve, "drive": client}[sys.argv[1]](int(sys.argv[2])))
