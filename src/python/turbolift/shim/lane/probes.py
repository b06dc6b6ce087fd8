# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Probes that kubelets and load balancers send, answered by the lane itself."""

from __future__ import annotations

from turbolift.shim.servant import Answer
from turbolift.wire.http1 import HEAD_LIMIT, CallHead, read_bodiless

_TEXT = {"Content-Type": "text/plain; charset=utf-8"}

_PROBES = {
    b"GET /healthz HTTP/1.1\r\n": ((200, b"ok\n"), (200, b"ok\n")),
    b"GET /readyz HTTP/1.1\r\n": ((200, b"ready\n"), (503, b"draining\n")),
}
"""How a probe starts -> the answer to it, and the one while draining."""


def probe(data: bytes, end: int, *, draining: bool) -> tuple[Answer, CallHead] | None:
    """Return the answer to the probe at the start of `data`, whose head ends at `end`, and what of that head matters
    for sending it; None where it is no probe.
    """
    path = next((path for path in _PROBES if data.startswith(path)), None)
    if path is None or not 0 <= end <= HEAD_LIMIT:
        return None
    last = read_bodiless(data[len(path) : end])
    if last is None:
        return None
    status, text = _PROBES[path][draining]
    return Answer(status, _TEXT, [text], "ok"), CallHead({}, 0, last)
