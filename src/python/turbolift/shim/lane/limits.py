# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""How long a connection of the lane waits for what, and how much it reads ahead."""

from __future__ import annotations

from turbolift.wire.http1 import CallHead

TLS = b"\x16"
"""How TLS begins: no head will follow, and whoever speaks it here is told so at once."""

HEAD_TIME = 10.0
"""Seconds from the first byte of a head to its last."""

BODY_TIME = 20.0
"""Seconds that a body may take, and a further one for each BODY_RATE bytes of it that have come."""

BODY_RATE = 4096

STUCK_TIME = 60.0
"""Seconds that an answer may wait for a peer that takes not one byte of it."""

AHEAD = 64 * 1024
"""Bytes that are read ahead of the request that is served: pipelined requests, of which nobody needs many."""

IN_A_ROW = 32
"""Pipelined requests of one connection that are answered before others have their turn."""

GOES_ON = CallHead({}, 0)
"""Of the head of a call that was answered already: the connection goes on."""

ENDS = CallHead({}, 0, close=True)
"""The same, but that it ends."""
