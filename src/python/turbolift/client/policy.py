# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""How long, and how often, a call is tried again."""

from __future__ import annotations

from typing import NamedTuple

INSECURE = 2.0
"""Seconds for which a call is sent again at most where caller and endpoint refuse one another's certificates."""


class Policy(NamedTuple):
    """How a call is retried, always within its deadline. Seconds and counts.

    A call that certainly did not run is sent again for `refused` seconds (the endpoint cannot be reached: as long as a
    cluster may take to start the only replica again) or `busy` seconds (it answers that it is full, starting or shutting
    down). A call that may have run is sent
    again `resends` times, and only if the function is declared idempotent. Waits grow from `first` by
    doubling up to `longest`, with jitter.

    Of what has reached a server, at most `share` of a function's calls, `floor`, and `per_second` for each second are sent
    again (``budget``): beyond that a call waits within those times, and then fails.
    """

    refused: float = 10.0
    busy: float = 10.0
    resends: int = 3
    first: float = 0.02
    longest: float = 1.0
    share: float = 0.2
    floor: float = 100.0
    per_second: float = 10.0
    max_answer: int = 256 * 1024 * 1024
