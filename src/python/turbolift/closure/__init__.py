# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Static analysis of user code: which functions are tagged, and what keeps them from being distributed.

Parses, never imports. Standard library only: it runs in a sandbox of its own on whatever CPython reads the user's syntax.
"""
