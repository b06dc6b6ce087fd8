# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the user of this test would have written: functions of each kind of worker, one idempotent and one not."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

TIMEOUT = 5.0
"""Seconds that each call has."""


class Stream(NamedTuple):
    """Calls of one function. ``kind``: where it runs (``inline``, ``async``, ``processes``)."""

    kind: str
    idempotent: bool

    @property
    def name(self) -> str:
        """The name of the function, and of the stream."""
        return f"{'steady' if self.idempotent else 'once'}_{self.kind}"

    @property
    def identity(self) -> str:
        """The function's identity."""
        return f"chaos_{self.name}:{self.name}"


STREAMS = tuple(
    Stream(kind, idempotent) for kind in ("inline", "async", "processes") for idempotent in (True, False)
)

_DEF = {"inline": "def", "async": "async def", "processes": "def"}
_TAG = {"inline": 'workers="loop"', "async": "", "processes": 'workers="processes", concurrency=2'}
_WAIT = {"inline": "_wait(0.002)", "async": "await asyncio.sleep(0.02)", "processes": "_wait(0.01)"}

# Recorded before anything else: no answer, and no death, comes without its record. What write() has taken survives the
# process. The wait has calls in flight when something dies.
_FUNCTION = """
import asyncio, os, select
from turbolift import Local, on

def _record(call: str) -> None:
    path = os.path.join(os.environ["CHAOS_RECORD"], f"{{os.getpid()}}.ran")
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(file, f"{{call}} {{os.environ['CHAOS_SERVER']}}\\n".encode())
    finally:
        os.close(file)

def _wait(seconds: float) -> None:
    # Not time.sleep: where the clock is moved by a library, that refuses it (EINVAL).
    select.select([], [], [], seconds)

@on(Local(), timeout={timeout}, idempotent={idempotent}, queue=512, {tag})
{define} {name}(call: str, n: int) -> int:
    _record(call)
    {wait}
    return 3 * n
"""


def write(folder: Path) -> None:
    """Write a module for each stream."""
    for stream in STREAMS:
        text = _FUNCTION.format(
            name=stream.name,
            timeout=TIMEOUT,
            idempotent=stream.idempotent,
            tag=_TAG[stream.kind],
            define=_DEF[stream.kind],
            wait=_WAIT[stream.kind],
        )
        (folder / f"chaos_{stream.name}.py").write_text(text, "utf-8")
