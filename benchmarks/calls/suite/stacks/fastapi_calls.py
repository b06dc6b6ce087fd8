# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""FastAPI under uvicorn (uvloop, httptools), models by pydantic; an httpx client. Bytes and arrays as plain bodies."""

import asyncio
import sys
from typing import Any

PORT = sys.argv[2]


def serve() -> None:
    import uvicorn
    from benchmarks.calls.suite.payloads import FUNCTIONS
    from fastapi import Body, FastAPI, Request, Response

    app = FastAPI()

    async def tiny(a: int = Body(), b: int = Body()) -> int:
        return FUNCTIONS["tiny"](a, b)  # type: ignore[no-any-return]

    async def floats(values: list[float] = Body(embed=True)) -> float:  # noqa: B008
        return FUNCTIONS["floats"](values)  # type: ignore[no-any-return]

    async def raw(request: Request) -> Response:
        return Response(FUNCTIONS["raw"](await request.body()), media_type="application/octet-stream")

    async def array(request: Request) -> Response:
        import numpy

        result = FUNCTIONS["array"](numpy.frombuffer(await request.body()))
        return Response(result.tobytes(), media_type="application/octet-stream")

    for endpoint in (tiny, floats, raw, array):
        app.post(f"/{endpoint.__name__}")(endpoint)
    uvicorn.run(
        app, host="127.0.0.1", port=int(PORT), loop="uvloop", http="httptools", access_log=False,
        log_level="warning", timeout_keep_alive=600,
    )  # fmt: skip


async def client() -> None:
    import httpx
    from benchmarks.calls.suite.driver import drive
    from benchmarks.calls.suite.payloads import NAMES

    octets = {"Content-Type": "application/octet-stream"}
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", limits=limits, timeout=60) as session:

        async def call(name: str, args: tuple[Any, ...]) -> Any:
            if name in ("raw", "array"):
                data = args[0] if name == "raw" else args[0].tobytes()
                body = (
                    (await session.post(f"/{name}", content=data, headers=octets)).raise_for_status().content
                )
                if name == "raw":
                    return body
                import numpy

                return numpy.frombuffer(body)
            given = dict(zip(NAMES[name], args, strict=True))
            return (await session.post(f"/{name}", json=given)).raise_for_status().json()

        await drive(call)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        asyncio.run(client())
