# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Which HTTP carries calls: turbolift's own lane, or aiohttp alone (``TURBOLIFT_HTTP=aiohttp``)."""

from __future__ import annotations

import os
from collections.abc import Mapping

from turbolift.errors import ConfigurationError

HTTP = "TURBOLIFT_HTTP"


def lane_is_on(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether calls take the lane. Raises ConfigurationError for a value that is neither."""
    value = (os.environ if environ is None else environ).get(HTTP, "")
    if value not in ("", "lane", "aiohttp"):
        raise ConfigurationError(f"{HTTP}={value!r}: it must be lane (the default) or aiohttp")
    return value != "aiohttp"
