# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the user of this test would have written: two functions, and the programs of the pods beside them."""

from __future__ import annotations

import inspect
from pathlib import Path

from e2e.rollout.suite.collector import PORT
from e2e.rollout.suite.load import STREAMS
from load import callers

COLLECTOR = "rollout-collector"
"""The name of the collector's Service."""

# Recorded, and acknowledged, before anything else: no answer, and no death, comes without its record. The sleep has
# calls in flight when something dies, and leaves the cpu to the cluster.
_FUNCTION = """
import asyncio, json, os, socket
from turbolift import K8s, on

_FREE = []

async def _record(call: str) -> None:
    reader, writer = _FREE.pop() if _FREE else await asyncio.open_connection(os.environ["COLLECTOR"], {port})
    fact = {{"ran": call, "stream": "{name}", "factor": {factor}, "pod": socket.gethostname()}}
    writer.write(json.dumps(fact).encode() + b"\\n")
    if await reader.readline() != b".\\n":
        raise ConnectionError("the collector has ended")
    _FREE.append((reader, writer))

@on(K8s({replicas}, min_scale_n={replicas}), timeout=20.0, cpu="50m"{tag}, env={{"COLLECTOR": "{collector}"}})
async def {name}(call: str, n: int) -> int:
    await _record(call)
    await asyncio.sleep({seconds})
    return {factor} * n
"""


def identity(stream: str) -> str:
    """Return the identity of the function of a stream."""
    return f"shop.{stream}:{stream}"


def functions(factor: int, *, replicas: int, seconds: float) -> dict[str, dict[str, str]]:
    """Return identity -> sources of both functions, which return ``factor * n`` after `seconds`."""
    return {
        identity(name): {
            "shop/__init__.py": "",
            f"shop/{name}.py": _FUNCTION.format(
                name=name,
                factor=factor,
                port=PORT,
                replicas=replicas,
                seconds=seconds,
                collector=COLLECTOR,
                tag=", idempotent=True" if name == "steady" else "",
            ),
        }
        for name in STREAMS
    }


def programs(found: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the sources of the load and of the collector, with those of the functions that are called."""
    here = Path(__file__).parent
    sources = {name: text for one in found.values() for name, text in one.items()}
    for name in ("load.py", "collector.py"):
        sources[f"shop/{name}"] = (here / name).read_text("utf-8")
    sources["load/__init__.py"] = ""
    sources["load/callers.py"] = inspect.getsource(callers)
    return sources
