# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What client and shim agree on: headers, the framing of bodies, the error envelope, the context of a call.

No I/O here: bytes and mappings in, bytes and mappings out. A request is ``POST
/v1/functions/<module:qualname>`` with the body ``{"args": {...}}``; the answer is ``{"result": ...}`` with
status 200, or an RFC 9457 problem document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turbolift.wire.context import current_deadline, current_trace, deadline_at, trace_of
from turbolift.wire.frames import FRAMES, JSON, PROBLEM, decode_body, encode_body
from turbolift.wire.headers import (
    ATTEMPT,
    CONTRACT,
    DEADLINE,
    IDEMPOTENCY_KEY,
    TRACEPARENT,
    VERSION,
    function_path,
    new_traceparent,
    parse_deadline,
    write_deadline,
)
from turbolift.wire.problem import Problem, problem_to_exception

if TYPE_CHECKING:
    from turbolift.wire.failure import encode_exception
    from turbolift.wire.rebuild import rebuild_exception

__all__ = [
    "ATTEMPT",
    "CONTRACT",
    "DEADLINE",
    "FRAMES",
    "IDEMPOTENCY_KEY",
    "JSON",
    "PROBLEM",
    "TRACEPARENT",
    "VERSION",
    "Problem",
    "current_deadline",
    "current_trace",
    "deadline_at",
    "decode_body",
    "encode_body",
    "encode_exception",
    "function_path",
    "new_traceparent",
    "parse_deadline",
    "problem_to_exception",
    "rebuild_exception",
    "trace_of",
    "write_deadline",
]


def __getattr__(name: str) -> Any:
    # A process starts without them: they are for calls that fail.
    if name == "encode_exception":
        from turbolift.wire.failure import encode_exception

        return encode_exception
    if name == "rebuild_exception":
        from turbolift.wire.rebuild import rebuild_exception

        return rebuild_exception
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
