# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes on one machine, made of Go modules and Debian packages. Standard library only."""
