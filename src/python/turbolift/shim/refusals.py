# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Answers to calls that do not run here, or not in time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from turbolift.shim.load import Served
from turbolift.shim.servant import Answer, problem_answer
from turbolift.wire import CONTRACT, Problem

if TYPE_CHECKING:
    from turbolift.shim.gate import Gate
    from turbolift.shim.pressure import Pressure


def not_ours(served: Served, identity: str, headers: Mapping[str, str]) -> Answer | None:
    """Return why a call of `identity` is none of what is `served`, or None where it is one."""
    if identity != served.identity:
        return problem_answer(
            Problem(
                "not-found", f"{served.identity} is served here, not {identity}", {"serves": served.identity}
            )
        )
    theirs, ours = headers.get(CONTRACT), served.contract.digest
    if theirs is not None and theirs != ours:
        return problem_answer(
            Problem(
                "contract-mismatch",
                f"the caller was built for the contract {theirs}, this server has {ours}: deploy again",
                {"caller": theirs, "server": ours},
            )
        )
    return None


def late(started: float) -> Answer:
    """Return the answer to a call that came at `started` (``time.monotonic`` seconds), and has no time left."""
    spent = time.monotonic() - started
    return problem_answer(Problem("deadline", f"no result after {spent:.3f} s, when the deadline passed"))


def overloaded(why: str, after: float) -> Answer:
    """Return the answer to a call for which there is no place; `after` so many seconds there may be one."""
    problem = Problem("overloaded", why, {"retry_after": after})
    return problem_answer(problem, {"Retry-After": str(max(1, round(after)))})


def too_late(gate: Gate, pressure: Pressure, left: float | None) -> Answer:
    """Return the answer to a call that has `left` seconds, and would be late."""
    said = (
        f"{gate.running} calls run and {gate.queued} wait, which takes about {pressure.expected():.3f} s: too long for a call "
        f"with {left or 0.0:.3f} s left"
    )
    return overloaded(said, pressure.retry_after())


def too_large(size: int | None, limit: int) -> Answer:
    """Return the answer to a body of `size` bytes (None: it is not known), which is over the limit."""
    said = f"{size} bytes" if size is not None else "the request"
    problem = Problem(
        "payload-too-large",
        f"{said} is more than this function takes, {limit} bytes (option max_payload)",
        {"size": size, "limit": limit},
    )
    return problem_answer(problem, {"Connection": "close"})
