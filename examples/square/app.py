# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Square many numbers at once and check every answer; the same program in process and distributed."""

from __future__ import annotations

import asyncio
import sys

from square.square import square

NUMBERS = range(200)


async def main() -> int:
    """Return the exit status: 0 if every square is right."""
    squares = await asyncio.gather(*(square(n) for n in NUMBERS))
    mapped = [value async for value in square.map(NUMBERS, concurrency=16)]
    wrong = [n for n, a, b in zip(NUMBERS, squares, mapped, strict=True) if not a == b == n * n]
    print(
        f"{len(squares)} squares gathered, {len(mapped)} mapped, {len(wrong)} wrong; the last is {squares[-1]}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
