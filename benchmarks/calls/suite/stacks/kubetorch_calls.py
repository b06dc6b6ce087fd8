# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Kubetorch's pod server, started with no cluster behind it; JSON, as its own client sends; an aiohttp client."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.calls.suite.payloads import FUNCTIONS


class Calls:
    def tiny(self, a: int, b: int) -> Any:
        return FUNCTIONS["tiny"](a, b)

    def floats(self, values: list[float]) -> Any:
        return FUNCTIONS["floats"](values)


def serve(port: str) -> None:
    root = str(Path(__file__).parents[4])
    os.environ.update(
        POD_NAME="calls", POD_NAMESPACE="calls", POD_IP="127.0.0.1", KT_LAUNCH_ID="calls", KT_LOG_LEVEL="WARNING",
        KT_LOG_STREAMING_ENABLED="false", KT_METRICS_ENABLED="false", KT_INIT_ARGS="null",
        KT_MODULE_NAME="benchmarks.calls.suite.stacks.kubetorch_calls", KT_CLS_OR_FN_NAME="Calls",
        KT_CALLABLE_TYPE="cls", KT_FILE_PATH=root, KT_PROJECT_ROOT=root, KT_SERVER_PORT=port,
        KT_CONTROLLER_WS_URL="ws://127.0.0.1:9/none", KT_ALLOWED_SERIALIZATION="json",
    )  # fmt: skip
    import uvicorn

    uvicorn.run(
        "kubetorch.serving.http_server:app", host="127.0.0.1", port=int(port), log_level="warning",
        access_log=False, timeout_keep_alive=600,
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        from benchmarks.calls.suite.stacks.http_client import client

        lacks = "the pod server's JSON carries no bytes and no arrays"
        asyncio.run(client(sys.argv[2], "/Calls/{name}", lacks=lacks, positional=True))
