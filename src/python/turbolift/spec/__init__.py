# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The documents that pass between rooms: their JSON Schemas, validation, and where state is kept.

``load``/``validate`` check a document against its schema and name the broken path; ``canonical`` gives the one
byte string that digests are taken of.
"""

from turbolift.spec.document import Kind, canonical, digest, load, schema, validate
from turbolift.spec.state import deployment_dir, routes_path, state_home, workspace_id, workspace_root

__all__ = [
    "Kind",
    "canonical",
    "deployment_dir",
    "digest",
    "load",
    "routes_path",
    "schema",
    "state_home",
    "validate",
    "workspace_id",
    "workspace_root",
]
