# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""functions-framework: an async function on its production server (gunicorn with uvicorn's worker); an aiohttp client."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any


async def answer(request: Any) -> Any:
    from benchmarks.calls.suite.payloads import FUNCTIONS
    from starlette.responses import JSONResponse, Response

    name = request.url.path.strip("/")
    if name == "raw":
        return Response(FUNCTIONS["raw"](await request.body()), media_type="application/octet-stream")
    if name == "array":
        import numpy

        result = FUNCTIONS["array"](numpy.frombuffer(await request.body()))
        return Response(result.tobytes(), media_type="application/octet-stream")
    return JSONResponse(FUNCTIONS[name](**await request.json()))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        command = [sys.executable, "-m", "functions_framework", "--asgi", "--target", "answer"]
        command += ["--source", __file__, "--host", "127.0.0.1", "--port", sys.argv[2]]
        os.execv(sys.executable, command)
    from benchmarks.calls.suite.stacks.http_client import client

    asyncio.run(client(sys.argv[2]))
