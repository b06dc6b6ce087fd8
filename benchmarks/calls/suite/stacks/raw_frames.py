# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The limit: frames of a length and a body over TCP, uvloop on both sides, typed JSON by msgspec."""

import asyncio
import sys

import msgspec
import uvloop
from benchmarks.calls.suite.driver import drive
from benchmarks.calls.suite.payloads import FUNCTIONS

HINTS = {"tiny": tuple[int, int], "floats": tuple[list[float]], "raw": tuple[bytes], "array": tuple[bytes]}
NAMES = list(HINTS)
DECODERS = [msgspec.json.Decoder(hint) for hint in HINTS.values()]
RESULTS = {
    "tiny": msgspec.json.Decoder(int),
    "floats": msgspec.json.Decoder(float),
    "raw": msgspec.json.Decoder(bytes),
    "array": msgspec.json.Decoder(bytes),
}
ENCODER = msgspec.json.Encoder()


class Frames(asyncio.Protocol):
    """u32 of the length, and so many bytes."""

    def connection_made(self, transport):
        self.transport = transport
        self.pieces = []
        self.got = 0
        self.need = -1

    def data_received(self, data):
        while data:
            if self.need < 0:
                if self.got:
                    data = b"".join(self.pieces) + data
                    self.pieces, self.got = [], 0
                if len(data) < 4:
                    self.pieces, self.got = [data], len(data)
                    return
                self.need = int.from_bytes(data[:4], "big")
                data = data[4:]
            self.pieces.append(data)
            self.got += len(data)
            if self.got < self.need:
                return
            body = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
            data = body[self.need :]
            if data:
                body = body[: self.need]
            self.pieces, self.got, self.need = [], 0, -1
            self.frame(body)

    def send(self, body):
        self.transport.write(len(body).to_bytes(4, "big") + body)


class Server(Frames):
    def frame(self, body):
        kind = body[0]
        args = DECODERS[kind].decode(body[1:])
        if NAMES[kind] == "array":
            import numpy

            self.send(ENCODER.encode(FUNCTIONS["array"](numpy.frombuffer(args[0])).tobytes()))
            return
        self.send(ENCODER.encode(FUNCTIONS[NAMES[kind]](*args)))


class Client(Frames):
    def frame(self, body):
        self.answer.set_result(body)


async def serve(port):
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port)
    await server.serve_forever()


async def client(port):
    loop = asyncio.get_running_loop()
    idle = []

    async def call(name, args):
        if idle:
            connection = idle.pop()
        else:
            _, connection = await loop.create_connection(Client, "127.0.0.1", port)
        connection.answer = loop.create_future()
        sent = (args[0].tobytes(),) if name == "array" else args
        connection.send(bytes([NAMES.index(name)]) + ENCODER.encode(sent))
        body = await connection.answer
        idle.append(connection)
        result = RESULTS[name].decode(body)
        if name == "array":
            import numpy

            return numpy.frombuffer(result)
        return result

    await drive(call)


if __name__ == "__main__":
    uvloop.run({"serve": serve, "drive": client}[sys.argv[1]](int(sys.argv[2])))
