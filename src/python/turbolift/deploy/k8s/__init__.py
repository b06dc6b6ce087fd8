# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Platform ``k8s``: functions as Deployments of a Kubernetes cluster, applied server-side, by digest."""
