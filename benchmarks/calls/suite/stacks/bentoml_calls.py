# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""BentoML: one worker, async endpoints, no access log, no metrics; an aiohttp client."""

import asyncio
import os
import sys

NO_OCTETS = "BentoML takes bytes and arrays as files or as JSON, not as a body"

if __name__ != "__main__":
    import bentoml
    from benchmarks.calls.suite.payloads import FUNCTIONS

    @bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
    class Calls:
        @bentoml.api
        async def tiny(self, a: int, b: int) -> int:
            return FUNCTIONS["tiny"](a, b)  # type: ignore[no-any-return]

        @bentoml.api
        async def floats(self, values: list[float]) -> float:
            return FUNCTIONS["floats"](values)  # type: ignore[no-any-return]


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        os.environ.update(BENTOML_DO_NOT_TRACK="True", BENTOML_HOME=sys.argv[3])
        command = [
            sys.executable,
            "-m",
            "bentoml",
            "serve",
            "benchmarks.calls.suite.stacks.bentoml_calls:Calls",
        ]
        os.execv(sys.executable, [*command, "--host", "127.0.0.1", "--port", sys.argv[2]])
    from benchmarks.calls.suite.stacks.http_client import client

    asyncio.run(client(sys.argv[2], lacks=NO_OCTETS))
