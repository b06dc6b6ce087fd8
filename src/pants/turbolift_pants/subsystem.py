# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Options of the plugin: `[turbolift]` in pants.toml."""

from __future__ import annotations

from pants.option.option_types import SkipOption, StrListOption, StrOption
from pants.option.subsystem import Subsystem
from pants.util.strutil import help_text


class TurboliftSubsystem(Subsystem):
    options_scope = "turbolift"
    name = "turbolift"
    help = "Finds functions tagged with `@turbolift.on(...)`, packages them as images and deploys them."

    skip = SkipOption("lint")
    scan = StrListOption(
        default=["**/*.py", "!**/test_*.py", "!**/*_test.py", "!**/tests.py", "!**/conftest.py"],
        help="Globs of the files that are searched for tagged functions. Only those that mention turbolift are parsed.",
        advanced=True,
    )
    runtime = StrOption(
        default=None,
        help=help_text(
            """
            Address of the target that brings the shim into each image: the `python_requirement` of turbolift's runtime with
            its `shim` extra, from your own resolve. Default: the requirement of that name, searched in the resolve.
            """
        ),
    )
    rooms = StrOption(
        default=None,
        help="Source root of turbolift's own programs; only turbolift's own repository sets it. Default: those in the plugin.",
        advanced=True,
    )
    base = StrOption(
        default="debian",
        help=help_text(
            """
            The base of the images. `debian`: built from hash-locked Debian packages, by this machine's apt sources. Or an image
            in a registry by digest, as `host/python@sha256:...`: the way where there is no apt. A tag alone is refused.
            """
        ),
    )
    base_lock = StrOption(
        default=None,
        help="Path of the lock of the `debian` base, relative to the build root. Default: the one that turbolift ships.",
    )
    debian_mirrors = StrListOption(
        default=[],
        help="Archives to get the base's packages from, instead of this machine's apt sources.",
    )
    tool_interpreter_constraints = StrListOption(
        default=["CPython>=3.11,<3.15"],
        help="What turbolift's own programs run on. The digests of images do not depend on it.",
        advanced=True,
    )
    image_tool_lockfile = StrOption(
        default="resource://turbolift_pants.locks/image-tool.txt",
        help="Lockfile (with hashes) of the distributions that the image builder needs.",
        advanced=True,
    )
    deploy_tool_lockfile = StrOption(
        default="resource://turbolift_pants.locks/deploy-tool.txt",
        help="Lockfile (with hashes) of the distributions that the deployer needs.",
        advanced=True,
    )
