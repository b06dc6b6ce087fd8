# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
