# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Hashed locks of the tools that the plugin runs; refreshed by `./pants run build-support:lock`."""
