# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""grpc.aio: code made by protoc before either side starts; repeated doubles for numbers, a bytes field for bytes and arrays."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# 64 MiB instead of 4; a client that comes before the server asks again at once.
OPTIONS = [
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.initial_reconnect_backoff_ms", 10),
    ("grpc.min_reconnect_backoff_ms", 10),
    ("grpc.max_reconnect_backoff_ms", 50),
]


def prepare() -> None:
    """Write calls_pb2.py and calls_pb2_grpc.py beside this file."""
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--grpc_python_out=."]
    subprocess.run([*command, "calls.proto"], cwd=HERE, check=True)


async def serve(port: str) -> None:
    import calls_pb2 as pb
    import calls_pb2_grpc as rpc
    import grpc
    from benchmarks.calls.suite.payloads import FUNCTIONS

    class Calls(rpc.CallsServicer):
        async def Tiny(self, request: Any, context: Any) -> Any:
            return pb.Number(value=FUNCTIONS["tiny"](request.a, request.b))

        async def Floats(self, request: Any, context: Any) -> Any:
            return pb.Float(value=FUNCTIONS["floats"](request.values))

        async def Raw(self, request: Any, context: Any) -> Any:
            return pb.Data(data=FUNCTIONS["raw"](request.data))

        async def Array(self, request: Any, context: Any) -> Any:
            import numpy

            return pb.Data(data=FUNCTIONS["array"](numpy.frombuffer(request.data)).tobytes())

    server = grpc.aio.server(options=OPTIONS)
    rpc.add_CallsServicer_to_server(Calls(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


async def client(port: str) -> None:
    import calls_pb2 as pb
    import calls_pb2_grpc as rpc
    import grpc
    from benchmarks.calls.suite.driver import drive

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", OPTIONS) as channel:
        stub = rpc.CallsStub(channel)

        async def call(name: str, args: tuple[Any, ...]) -> Any:
            if name == "tiny":
                return (await stub.Tiny(pb.Pair(a=args[0], b=args[1]))).value
            if name == "floats":
                return (await stub.Floats(pb.Values(values=args[0]))).value
            if name == "raw":
                return (await stub.Raw(pb.Data(data=args[0]))).data
            import numpy

            return numpy.frombuffer((await stub.Array(pb.Data(data=args[0].tobytes()))).data)

        await drive(call)


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare()
    else:
        sys.path.insert(0, str(HERE))
        asyncio.run({"serve": serve, "drive": client}[sys.argv[1]](sys.argv[2]))
