# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""RPyC: a threaded server; values by pickle, which is how its users send data instead of references."""

import pickle
import sys

import rpyc
from benchmarks.calls.suite.driver import drive_threads
from benchmarks.calls.suite.payloads import FUNCTIONS
from rpyc.utils.server import ThreadedServer


class Service(rpyc.Service):
    def exposed_tiny(self, a, b):
        return FUNCTIONS["tiny"](a, b)

    def exposed_raw(self, data):
        return FUNCTIONS["raw"](data)

    def exposed_array(self, data):
        return pickle.dumps(FUNCTIONS["array"](pickle.loads(data)))

    def exposed_floats(self, values):
        return FUNCTIONS["floats"](pickle.loads(values))


def connect():
    root = rpyc.connect("127.0.0.1", int(sys.argv[2])).root

    def call(name, args):
        if name == "floats":
            return root.floats(pickle.dumps(args[0]))
        if name == "array":
            return pickle.loads(root.array(pickle.dumps(args[0])))
        return getattr(root, name)(*args)

    return call


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        ThreadedServer(Service, hostname="127.0.0.1", port=int(sys.argv[2])).start()
    else:
        drive_threads(connect)
