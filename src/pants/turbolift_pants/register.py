# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What Pants loads. Pants to 2.29 knows `Get`; later engines get a rule package of their own beside `get`."""

from __future__ import annotations

from turbolift_pants.get import rules as get_rules
from turbolift_pants.target_types import (
    TurboliftDeploymentTarget,
    TurboliftFunctionsTarget,
    TurboliftFunctionTarget,
)


def rules():  # type: ignore[no-untyped-def]
    return get_rules()


def target_types():  # type: ignore[no-untyped-def]
    return [TurboliftFunctionTarget, TurboliftFunctionsTarget, TurboliftDeploymentTarget]
