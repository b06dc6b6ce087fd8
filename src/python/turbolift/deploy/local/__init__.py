# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The platform ``local``: a function is a process of this machine, run from its image's own layers behind a
unix socket.

No Docker and no root. The code is the image's, byte for byte: its interpreter, loader, libraries, byte code.
What Local does not do: limits of ``cpu`` and ``memory`` are not applied, ``max_scale_n`` is one, and the file
system is this machine's.
"""

from turbolift.deploy.local.platform import LocalPlatform

__all__ = ["LocalPlatform"]
