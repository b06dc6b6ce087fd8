# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Requests to cancel a call of another connection, by its key: whoever knows that has made the call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from turbolift.shim.servant import Answer
from turbolift.wire.headers import CALLS
from turbolift.wire.http1 import HEAD_LIMIT, CallHead, read_bodiless

if TYPE_CHECKING:
    from turbolift.shim.lane.lane import Lane

_LINE = re.compile(rb"DELETE %b([0-9a-f]{32}) HTTP/1\.1\r\n" % CALLS.encode())
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def cancel(lane: Lane, data: bytes, end: int) -> tuple[Answer, CallHead] | None:
    """Cancel what the request at the start of `data`, whose head ends at `end`, asks to be cancelled; return its answer, and what of that
    head matters for sending it; None where it is no such request.
    """
    found = _LINE.match(data) if 0 <= end <= HEAD_LIMIT else None
    if found is None:
        return None
    last = read_bodiless(data[found.end() : end])
    if last is None:
        return None
    done = any(connection.row.cancel(found[1]) for connection in lane.connections)
    status, text = (200, b"cancelled\n") if done else (404, b"no such call waits here\n")
    return Answer(status, _TEXT, [text], "ok"), CallHead({}, 0, last)
