# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Work for a queue on this machine: one job is one text, its answer its most frequent words."""

from __future__ import annotations

import re
from collections import Counter

from turbolift import Local, on


@on(Local(), idempotent=True, concurrency=2)
def frequent(text: str, most: int) -> list[tuple[str, int]]:
    """Return the `most` frequent words of `text` with their counts, most frequent first, ties in alphabetical order."""
    counts = Counter(re.findall(r"[a-z]+", text.lower()))
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
