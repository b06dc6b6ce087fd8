# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Learn which wheels a base image can run: its "complete platform", as pex calls its tags and markers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from turbolift.errors import PackagingError
from turbolift.image.interpreter import base_command
from turbolift.image.pextool import pex_command

# What the machine adds that is not the image's: the kernel. No wheel and no sane marker asks for it.
_HOST_MARKERS = ("platform_release", "platform_version")


def complete_platform(rootfs: Path, *, python: str | None = None) -> dict[str, Any]:
    """Return the platform of the base in `rootfs`: ``marker_environment`` and ``compatible_tags``.

    pex itself runs on the base's Python and inspects it; what depends on this machine's kernel is blanked.
    """
    _, env = pex_command()
    argv, base_env = base_command(
        rootfs,
        ["-S", "-m", "pex.cli", "interpreter", "inspect", "--markers", "--tags"],
        python=python,
        env=env,
    )
    done = subprocess.run(argv, env=base_env, capture_output=True, text=True, check=False)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
        markers, tags = answer["marker_environment"], answer["compatible_tags"]
    except (ValueError, KeyError):
        raise PackagingError(f"{rootfs}: cannot inspect the base's Python: {done.stderr.strip()}") from None
    for name in _HOST_MARKERS:
        markers[name] = ""
    return {"marker_environment": markers, "compatible_tags": tags}
