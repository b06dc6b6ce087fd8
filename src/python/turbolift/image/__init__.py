# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Deterministic OCI images without Docker, root or a chroot: a program with files in and files out.

``python -m turbolift.image COMMAND`` builds a base from locked Debian packages, layers from folders, and
images from both. Other rooms use `layout` (read and verify an OCI layout), `tar` (write), `unpack` (read
safely) and `interpreter` (run a base's own Python from its unpacked root file system).
"""
