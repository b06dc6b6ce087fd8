# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What user code touches: ``on``, tagged functions, platform declarations, the switch.

Standard library only, and nothing dear: a program that never distributes a call pays next to nothing for the
tags.
"""

from turbolift.api.function import AsyncDistributedFunction, DistributedFunction, SyncDistributedFunction
from turbolift.api.options import Options, Workers
from turbolift.api.platforms import Docker, K8s, Local, Platform
from turbolift.api.switch import is_distributed
from turbolift.api.tagging import Tag, on

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
