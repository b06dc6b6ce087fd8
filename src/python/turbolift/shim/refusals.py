# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Answers to calls that do not run here, or not in time."""

from __future__ import annotations

import time
from collections.abc import Mapping

from turbolift.shim.load import Served
from turbolift.shim.servant import Answer, problem_answer
from turbolift.wire import CONTRACT, Problem


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
