# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Makers of releases and what serves them, for tests without processes."""

from __future__ import annotations

import hashlib

from turbolift.deploy.platform import Instance, Release
from turbolift.deploy.state import Serving


def release(function: str, version: int = 1, *, platform: str = "local") -> Release:
    """Return a release whose digests are made of its version's number."""
    digest = hashlib.sha256(f"{function} {version}".encode()).hexdigest()
    return Release(
        function,
        digest,
        f"sha256:{digest}",
        platform,
        {
            "contract": {"digest": f"sha256:{'c' * 64}", "parameters": {}, "result": {}},
            "options": {"timeout": 5.0, "idempotent": True},
            "platform": {"kind": platform},
        },
    )


def serving(function: str, version: int = 1, *, id: str = "i", platform: str = "local") -> Serving:
    """Return a release that an instance serves."""
    one = release(function, version, platform=platform)
    return Serving(one, Instance(id, function, one.version, platform, f"unix:///run/{id}.sock"))
