# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The measure: aiohttp's server and client as their documentation shows them, and the standard library's json."""

import asyncio
import base64
import sys

import aiohttp
from aiohttp import web
from benchmarks.calls.suite.driver import drive
from benchmarks.calls.suite.payloads import FUNCTIONS, NAMES


async def answer(request):
    given = await request.json()
    name = request.match_info["name"]
    if name == "raw":
        given["data"] = base64.b64decode(given["data"])
    if name == "array":
        import numpy

        given["data"] = numpy.frombuffer(base64.b64decode(given["data"]))
    result = FUNCTIONS[name](**given)
    if name == "array":
        result = result.tobytes()
    if name in ("raw", "array"):
        result = base64.b64encode(result).decode()
    return web.json_response({"result": result})


async def client(port):
    async with aiohttp.ClientSession() as session:

        async def call(name, args):
            given = dict(zip(NAMES[name], args, strict=True))
            if name == "array":
                given["data"] = given["data"].tobytes()
            if name in ("raw", "array"):
                given["data"] = base64.b64encode(given["data"]).decode()
            async with session.post(f"http://127.0.0.1:{port}/{name}", json=given) as response:
                result = (await response.json())["result"]
            if name == "array":
                import numpy

                return numpy.frombuffer(base64.b64decode(result))
            return base64.b64decode(result) if name == "raw" else result

        await drive(call)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/{name}", answer)
        web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=None, print=None)
    else:
        asyncio.run(client(sys.argv[2]))
