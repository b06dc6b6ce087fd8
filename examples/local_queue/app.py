# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A queue of jobs worked off by a few consumers; every job is a call of one tagged function."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from collections import Counter

from local_queue.jobs import frequent

CONSUMERS = 4


def _jobs() -> list[str]:
    with contextlib.redirect_stdout(io.StringIO()):  # importing it prints it
        import this

    decoded = "".join(this.d.get(letter, letter) for letter in this.s)
    return decoded.splitlines()


async def main() -> int:
    """Return the exit status: 0 if the counts of the parts add up to the whole's."""
    lines = _jobs()
    queue: asyncio.Queue[str] = asyncio.Queue()
    for line in lines:
        queue.put_nowait(line)
    total: Counter[str] = Counter()

    async def consume() -> None:
        while not queue.empty():
            line = queue.get_nowait()
            total.update(dict(await frequent(line, most=100)))

    await asyncio.gather(*(consume() for _ in range(CONSUMERS)))
    whole = Counter(dict(await frequent("\n".join(lines), most=1000)))
    print(f"{len(lines)} jobs, {sum(total.values())} words; most frequent: {whole.most_common(3)}")
    return 0 if total == whole else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
