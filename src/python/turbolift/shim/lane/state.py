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
