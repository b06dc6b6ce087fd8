# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""`pants tailor`: one `turbolift_functions()` in each folder that has tagged functions and no generator yet."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from pants.core.goals.tailor import (
    PutativeTarget,
    PutativeTargets,
    PutativeTargetsRequest,
)
from pants.engine.rules import Get, collect_rules, rule
from pants.engine.target import AllUnexpandedTargets
from pants.engine.unions import UnionRule
from pants.util.logging import LogLevel

from turbolift_pants.get.find import TaggedFiles
from turbolift_pants.target_types import TurboliftFunctionsTarget

NAME = "functions"


@dataclass(frozen=True)
class PutativeFunctionsRequest(PutativeTargetsRequest):
    pass


@rule(desc="Find folders with tagged functions", level=LogLevel.DEBUG)
async def propose_function_targets(request: PutativeFunctionsRequest, tagged: TaggedFiles) -> PutativeTargets:
    targets = await Get(AllUnexpandedTargets)
    covered = {target.address.spec_path for target in targets if isinstance(target, TurboliftFunctionsTarget)}
    folders = {os.path.dirname(file.path) for file in tagged.files if file.functions}
    # The generator owns no file, so there are no triggering sources to name.
    return PutativeTargets(
        PutativeTarget.for_target_type(
            TurboliftFunctionsTarget, path=folder, name=NAME, triggering_sources=()
        )
        for folder in sorted(folders.intersection(request.dirs) - covered)
    )


def rules() -> list[Any]:
    return [*collect_rules(), UnionRule(PutativeTargetsRequest, PutativeFunctionsRequest)]
