# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Pyro5: its threaded server, its quickest serializer (marshal); an array goes as its bytes."""

from __future__ import annotations

import sys
from typing import Any

import Pyro5.api
from benchmarks.calls.suite.driver import BlockingCall, drive_threads
from benchmarks.calls.suite.payloads import FUNCTIONS

Pyro5.config.SERIALIZER = "marshal"
Pyro5.config.THREADPOOL_SIZE = 100


@Pyro5.api.expose
class Service:
    def tiny(self, a: int, b: int) -> Any:
        return FUNCTIONS["tiny"](a, b)

    def floats(self, values: list[float]) -> Any:
        return FUNCTIONS["floats"](values)

    def raw(self, data: bytes) -> Any:
        return FUNCTIONS["raw"](data)

    def array(self, data: bytes) -> Any:
        import numpy

        return FUNCTIONS["array"](numpy.frombuffer(data)).tobytes()


def connect() -> BlockingCall:
    proxy = Pyro5.api.Proxy(f"PYRO:calls@127.0.0.1:{sys.argv[2]}")

    def call(name: str, args: tuple[Any, ...]) -> Any:
        proxy._pyroClaimOwnership()  # a proxy belongs to the thread that uses it
        if name == "array":
            import numpy

            return numpy.frombuffer(proxy.array(args[0].tobytes()))
        return getattr(proxy, name)(*args)

    return call


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        daemon = Pyro5.api.Daemon("127.0.0.1", int(sys.argv[2]))
        daemon.register(Service(), "calls")
        daemon.requestLoop()
    else:
        drive_threads(connect)
