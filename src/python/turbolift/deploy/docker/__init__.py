# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Platform ``docker``: each function a container of a Docker engine on this machine, behind a port of the
loopback interface.
"""

from __future__ import annotations

from turbolift.deploy.docker.platform import DockerPlatform

__all__ = ["DockerPlatform"]
