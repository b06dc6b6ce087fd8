# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What user code touches: ``on``, tagged functions, platform declarations, the switch.

Standard library only, and nothing dear: a program that never distributes a call pays next to nothing for the
tags.
"""

from __future__ import annotations

from turbolift.api.function import AsyncDistributedFunction, DistributedFunction, SyncDistributedFunction
from turbolift.api.lean import TYPE_CHECKING
from turbolift.api.options import Options
from turbolift.api.platforms import Docker, K8s, Local
from turbolift.api.switch import is_distributed
from turbolift.api.tagging import Tag, on

if TYPE_CHECKING:
    from turbolift.api.kinds import Platform, Workers

__all__ = [
    "AsyncDistributedFunction",
    "DistributedFunction",
    "Docker",
    "K8s",
    "Local",
    "Options",
    "Platform",
    "SyncDistributedFunction",
    "Tag",
    "Workers",
    "is_distributed",
    "on",
]


def __getattr__(name: str) -> object:
    if name in ("Platform", "Workers"):
        from turbolift.api import kinds  # for annotations, and dear

        return getattr(kinds, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
