# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""``python -m turbolift.deploy``."""

from turbolift.deploy.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
