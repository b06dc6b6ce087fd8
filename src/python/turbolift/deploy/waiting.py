# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Wait until something that was started on this machine answers, or has ended, or took too long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from turbolift.deploy.http import is_ready
from turbolift.deploy.platform import Instance, StartError

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.25


async def until_ready(
    instance: Instance, timeout: float, *, ended: Callable[[], str | None], tail: Callable[[], list[str]]
) -> None:
    """Poll ``/readyz`` of `instance` for `timeout` seconds at most.

    `ended` says how it ended, or None while it runs; `tail` returns the last lines that it wrote. Both may
    block: they run in a thread. Raises StartError.
    """
    until = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        how = await asyncio.to_thread(ended)
        if how is not None:
            raise StartError(
                instance.function,
                f"did not start: {how}",
                log=await asyncio.to_thread(tail),
                advice="what runs is untouched; mend it and deploy again",
            )
        if await asyncio.to_thread(is_ready, instance.endpoint):
            return
        if time.monotonic() > until:
            raise StartError(
                instance.function,
                f"was not ready within {timeout:g} s",
                log=await asyncio.to_thread(tail),
                advice="give it more time with --ready-timeout SECONDS; what runs is untouched",
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
