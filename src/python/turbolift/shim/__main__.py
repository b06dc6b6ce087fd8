# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The program. Signal handlers come first: PID 1 of a container ignores SIGTERM until it has one."""

import sys

from turbolift.shim import early

if __name__ == "__main__":
    early.install()
    early.collect_rarely()
    from turbolift.shim.cli import main

    sys.exit(main(sys.argv[1:]))
