# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the calling side logs, to the logger ``turbolift.client``: each call at DEBUG, each that is sent again at INFO.

The facts (the function, the call's key, its trace, its outcome) are in the text, and as a dict in the record's
``facts``, for formatters that write structured lines. The server logs the same key.
"""

from __future__ import annotations

import logging
from typing import Any

LOGGER = logging.getLogger("turbolift.client")


def note(level: int, event: str, **facts: Any) -> None:
    """Write one line: `event` in a few words, and its facts."""
    if LOGGER.isEnabledFor(level):
        text = " ".join(f"{name}={value}" for name, value in facts.items())
        LOGGER.log(level, "%s: %s", event, text, extra={"event": event, "facts": facts})


def note_end(function: str, outcome: str, seconds: float, key: str, trace: str) -> None:
    """Log a call that ended."""
    ms = round(seconds * 1000, 3)
    note(logging.DEBUG, "call", function=function, outcome=outcome, ms=ms, key=key, traceparent=trace)


def note_again(function: str, tries: int, key: str, error: Exception) -> None:
    """Log a call that is sent again, after so many tries, because of `error`."""
    note(logging.INFO, "call is sent again", function=function, tries=tries, key=key, error=str(error))
