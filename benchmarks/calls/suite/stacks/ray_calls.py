# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Ray: one local cluster of two CPUs' worth of workers; tasks, an actor, a Serve handle, Serve over HTTP (aiohttp client)."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.calls.suite.payloads import FUNCTIONS, NAMES

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
ADDRESS = "127.0.0.2"  # Ray takes 127.0.0.1 for the machine's outward address, which need not be reachable


class Functions:
    """The functions as methods: of an actor, and of a deployment of Serve."""

    def tiny(self, a: int, b: int) -> Any:
        return FUNCTIONS["tiny"](a, b)

    def floats(self, values: list[float]) -> Any:
        return FUNCTIONS["floats"](values)

    def raw(self, data: bytes) -> Any:
        return FUNCTIONS["raw"](data)

    def array(self, data: Any) -> Any:
        return FUNCTIONS["array"](data)


class Deployed:
    """For the handle the methods, for HTTP the request."""

    async def call(self, name: str, *args: Any) -> Any:
        return FUNCTIONS[name](*args)

    async def __call__(self, request: Any) -> Any:
        from starlette.responses import JSONResponse, Response

        name = request.url.path.strip("/")
        if name == "raw":
            return Response(FUNCTIONS["raw"](await request.body()), media_type="application/octet-stream")
        if name == "array":
            import numpy

            result = FUNCTIONS["array"](numpy.frombuffer(await request.body()))
            return Response(result.tobytes(), media_type="application/octet-stream")
        return JSONResponse(FUNCTIONS[name](**await request.json()))


def serve(port: int, folder: str) -> None:
    import ray
    from ray import serve

    context = ray.init(
        address="local", num_cpus=4, include_dashboard=False, object_store_memory=1 << 30, namespace="calls",
        log_to_driver=False, _temp_dir=f"{folder}/ray", _node_ip_address=ADDRESS,
    )  # fmt: skip
    ray.remote(num_cpus=0.5)(Functions).options(name="functions", lifetime="detached").remote()
    Path(folder, "new").write_text(context.address_info["gcs_address"])
    Path(folder, "new").replace(Path(folder, "address"))
    deployment = serve.deployment(ray_actor_options={"num_cpus": 0.5}, max_ongoing_requests=100)(Deployed)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(deployment.bind(), name="calls", route_prefix="/")
    time.sleep(1e6)


async def client(port: int, folder: str, way: str) -> None:
    import ray
    from ray import serve

    found: dict[str, Any] = {}

    def connect() -> None:
        if not ray.is_initialized():
            address = Path(folder, "address").read_text()
            ray.init(address=address, namespace="calls", log_to_driver=False, _node_ip_address=ADDRESS)
        if way == "task":
            found.update({name: ray.remote(num_cpus=0.5)(function) for name, function in FUNCTIONS.items()})
        elif way == "actor":
            actor = ray.get_actor("functions")
            found.update({name: getattr(actor, name) for name in NAMES})
        else:
            found["handle"] = serve.get_app_handle("calls").call

    async def call(name: str, args: tuple[Any, ...]) -> Any:
        if not found:
            connect()
        if way == "handle":
            return await found["handle"].remote(name, *args)
        return await found[name].remote(*args)

    async def many(calls: int) -> list[Any]:
        return ray.get([found["tiny"].remote(i, 1) for i in range(calls)])  # type: ignore[no-any-return]

    await drive(call, None if way == "handle" else many)


if __name__ == "__main__":
    what, port, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if what == "serve":
        serve(port, folder)
    elif sys.argv[4] == "http":
        from benchmarks.calls.suite.stacks.http_client import client as http_client

        asyncio.run(http_client(sys.argv[2]))
    else:
        from benchmarks.calls.suite.driver import drive

        asyncio.run(client(port, folder, sys.argv[4]))
