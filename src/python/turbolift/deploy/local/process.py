# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Processes that this program did not fork, or no longer watches: told apart by start time, ended without a
race.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


@cache
def boot_id() -> str:
    """Return what tells this run of the kernel from any other."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def start_time(pid: int) -> int | None:
    """Return when `pid` was started (clock ticks since boot), None where it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def is_alive(identity: Mapping[str, Any] | None) -> bool:
    """Return whether the process `identity` (``pid``, ``start``, ``boot``) lives: that one, not a later one
    of its number.
    """
    if identity is None or identity["boot"] != boot_id():
        return False
    reap(identity["pid"])
    return bool(start_time(identity["pid"]) == identity["start"])


def reap(pid: int) -> None:
    """Collect `pid` if it is a child of this process and has ended."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def signal_process(identity: Mapping[str, Any], number: signal.Signals) -> bool:
    """Send a signal to the process `identity`; return whether it lives."""
    if identity["boot"] != boot_id():
        return False
    try:
        # The descriptor means one process, whatever becomes of its number: check after opening, then send.
        fd = os.pidfd_open(identity["pid"])
    except ProcessLookupError:
        return False
    try:
        if not is_alive(identity):
            return False
        signal.pidfd_send_signal(fd, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)


async def wait_gone(identity: Mapping[str, Any], timeout: float) -> bool:
    """Wait for the end of the process `identity`; return whether it has ended within `timeout` seconds."""
    if not is_alive(identity):
        return True
    try:
        fd = os.pidfd_open(identity["pid"])
    except ProcessLookupError:
        return True
    try:
        if not is_alive(identity):
            return True
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(fd, gone.set)
        try:
            async with asyncio.timeout(timeout):
                await gone.wait()
        except TimeoutError:
            return bool(select.select([fd], [], [], 0)[0])
        finally:
            loop.remove_reader(fd)
        reap(identity["pid"])
        return True
    finally:
        os.close(fd)


async def end(identity: Mapping[str, Any] | None, *, grace: float, group: bool = False) -> None:
    """End the process `identity`: SIGTERM, and SIGKILL after `grace` seconds; with `group` its process group
    is killed.
    """
    if identity is None or not signal_process(identity, signal.SIGTERM):
        return
    if await wait_gone(identity, grace):
        return
    if group and is_alive(identity):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(identity["pid"], signal.SIGKILL)
    signal_process(identity, signal.SIGKILL)
    await wait_gone(identity, 10.0)
