# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""From a bundle to running functions: plan, rollout, routes, status, rollback, teardown.

``python -m turbolift.deploy`` is the program. What runs where is behind ``platform.Platform``; ``local`` runs
functions as processes of this machine. A deployment's state is one folder, and its route table, written in
one step, says what is current.
"""
