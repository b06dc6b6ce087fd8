# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The serving side: ``python -m turbolift.shim --function module:qualname`` serves one tagged function over
HTTP.
"""
