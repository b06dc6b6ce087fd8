# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a connection of the server's lane stands."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What a connection waits for."""

    HEAD = "head"
    BODY = "body"
    CALL = "call"
    WRITE = "write"
    TURN = "turn"
    LEAVING = "leaving"
    OVER = "over"


TEXT = {"Content-Type": "text/plain; charset=utf-8"}

PROBES = {
    b"GET /healthz HTTP/1.1\r\n": ((200, b"ok\n"), (200, b"ok\n")),
    b"GET /readyz HTTP/1.1\r\n": ((200, b"ready\n"), (503, b"draining\n")),
}
"""How a probe starts -> the answer to it, and the one while draining."""
