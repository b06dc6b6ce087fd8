# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""How a worker process ended, in words."""

from __future__ import annotations

import os
import signal

from turbolift.shim.servant import POD
from turbolift.wire import Problem

_CRASHES = frozenset({"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGSYS", "SIGTRAP"})


def died(pid: int, status: int) -> Problem:
    """Return what is said of a worker that ended in the midst of a call; `status`: as ``os.waitpid`` has it."""
    name = _signal(status)
    facts: dict[str, object] = {"pod": POD, "pid": pid}
    if not name:
        facts["exit"] = os.waitstatus_to_exitcode(status)
        advice = "it called os._exit, or a library did: the function must raise or return instead"
    else:
        facts["signal"] = name
        advice = (
            "native code crashed; the server's log has the stack of Python" if name in _CRASHES
            else "the kernel does that where memory runs out: see the option memory" if name == "SIGKILL"
            else "somebody sent it that signal"
        )  # fmt: skip
    return Problem(
        "worker-died", f"the worker process {pid} on {POD} {how(status)} during the call ({advice})", facts
    )


def how(status: int) -> str:
    """Say how a process ended."""
    name = _signal(status)
    if name:
        return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"exited with status {os.waitstatus_to_exitcode(status)}"


def _signal(status: int) -> str:
    """Return the name of the signal that ended a process; empty where it ended by itself."""
    if not os.WIFSIGNALED(status):
        return ""
    number = os.WTERMSIG(status)
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
