# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Inspect photographs; the same program in process and distributed."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from typing import get_args

from vision.photo import Photo, inspect, thumbnail


async def main() -> int:
    """Return the exit status: 0 if every photograph was inspected."""
    photos = get_args(Photo)
    reports = await inspect.map(photos, concurrency=2)
    for report in reports:
        small = await thumbnail(report.photo, width=48)
        digest = hashlib.sha256(small).hexdigest()[:12]
        print(
            f"{report.photo}: {report.width}x{report.height}, colour {report.colour}, edges {report.edges}, "
            f"{report.regions} regions, thumbnail {len(small)} bytes {digest}"
        )
    return 0 if len(reports) == len(photos) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
