# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with the test cluster, in one class: the message says what happened, where, and what to do."""

from __future__ import annotations


class ClusterError(Exception):
    """The cluster cannot be built, started or stopped; its text is for the person who asked for it."""
