# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The turbolift plugin for Pants: finds tagged functions, packages each as an image, and deploys them."""
