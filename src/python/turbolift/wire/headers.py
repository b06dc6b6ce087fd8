# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Names of the headers, and how their values are written and read."""

from __future__ import annotations

import random
import re

CONTRACT = "Turbolift-Contract"
DEADLINE = "Turbolift-Deadline"
VERSION = "Turbolift-Version"
IDEMPOTENCY_KEY = "Idempotency-Key"
TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

ATTEMPT = "Turbolift-Attempt"
"""In a request: which try of the call this is, where it was sent before: 2 and so on. A server that remembers the call by its
key answers as it did, or will.
"""

PIPELINE = "Turbolift-Pipeline"
"""In an answer: many calls may be sent ahead on one connection, for none waits longer for it. ``1``: they are answered one after the
other, without waiting for anything. Else seconds: they are quick, but one for which an answer has been waited for so long may not be,
and nothing should be sent behind it. An option of the connection, not of the message.
"""

CALLS = "/v1/calls/"
"""With an idempotency key behind it: a call that runs, to be cancelled by DELETE where its connection cannot be closed, since others
wait on it as well.
"""

PREFIX = "/v1/functions/"

_SAFE = dict.fromkeys(map(ord, ":._"))

_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z")
_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?\Z")


def function_path(identity: str) -> str:
    """Return the request path of the function `identity` (``module:qualname``), percent-encoded."""
    if identity.isascii() and identity.translate(_SAFE).isalnum():
        return PREFIX + identity
    from urllib.parse import quote  # dear, and few identities need it

    return PREFIX + quote(identity, safe=":.")


def write_deadline(remaining: float | None) -> str:
    """Return the header value for `remaining` seconds: a decimal, never negative; ``none`` for no deadline."""
    if remaining is None:
        return "none"
    return f"{remaining:.6f}" if remaining > 0 else "0.000000"


def parse_deadline(value: str) -> float | None:
    """Return the seconds that a deadline header has, None for ``none``. Raises ValueError for all else."""
    if value == "none":
        return None
    if not _DECIMAL.match(value):
        raise ValueError(f"{DEADLINE} must be seconds as a plain decimal, as 4.250, or none; got {value!r}")
    return float(value)


def new_traceparent(parent: str | None = None) -> str:
    """Return a W3C ``traceparent``: a new span in the trace of `parent`, or in a new trace.

    A `parent` that is not well formed is ignored, as the recommendation asks.
    """
    span = random.getrandbits(64) or 1
    found = _TRACE.match(parent) if parent else None
    if found is None or not found[1].strip("0") or not found[2].strip("0"):
        return f"00-{random.getrandbits(128) or 1:032x}-{span:016x}-01"
    return f"00-{found[1]}-{span:016x}-{found[3]}"
