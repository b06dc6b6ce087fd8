# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Quote a basket and forecast its demand; the same program in process and distributed."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal

from pricing.demand import forecast
from pricing.quote import quote
from pricing.tariffs import UnknownArticle

BASKET = [("A-1", 3), ("B-7", 12), ("C-2", 150), ("A-1", 100)]
HISTORY = [12.0, 15.5, 17.0, 21.5, 24.0, 26.5]


async def main() -> int:
    """Return the exit status: 0 if all went well."""
    quotes, demand = await asyncio.gather(quote.starmap(BASKET), forecast(HISTORY, periods=2))
    for line in quotes:
        print(line.text)
    print("total", sum((line.total for line in quotes), Decimal(0)), "EUR")
    print("demand", demand.periods, "fit", demand.fit)
    try:
        await quote("Z-9", 1)
    except UnknownArticle as error:
        print("no such article:", error)
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
