# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What Pants loads. Pants to 2.29 knows `Get`; later engines get a rule package of their own beside `get`."""

from __future__ import annotations

from typing import Any

from turbolift_pants.get import rules as get_rules
from turbolift_pants.target_types import (
    TurboliftAppTarget,
    TurboliftDeploymentTarget,
    TurboliftFunctionsTarget,
    TurboliftFunctionTarget,
)


def rules() -> list[Any]:
    return get_rules()


def target_types() -> list[Any]:
    return [TurboliftFunctionTarget, TurboliftFunctionsTarget, TurboliftAppTarget, TurboliftDeploymentTarget]
