# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""`pants lint`: what cannot be distributed, with file:line, before anything is built."""

from __future__ import annotations

from typing import Any

from pants.core.goals.lint import LintFilesRequest, LintResult
from pants.core.util_rules.partitions import Partitions
from pants.engine.rules import collect_rules, rule
from pants.util.logging import LogLevel

from turbolift_pants.get.find import TaggedFiles
from turbolift_pants.subsystem import TurboliftSubsystem


class TurboliftLintRequest(LintFilesRequest):
    tool_subsystem = TurboliftSubsystem


@rule(desc="Choose files with tagged functions", level=LogLevel.DEBUG)
async def partition(
    request: TurboliftLintRequest.PartitionRequest,  # type: ignore[name-defined]
    turbolift: TurboliftSubsystem,
    tagged: TaggedFiles,
) -> Partitions[str, Any]:
    if turbolift.skip:
        return Partitions()
    chosen = set(request.files)
    files = tuple(file.path for file in tagged.files if file.path in chosen)
    return Partitions.single_partition(files) if files else Partitions()


@rule(desc="Lint tagged functions", level=LogLevel.DEBUG)
async def lint_tagged_functions(
    request: TurboliftLintRequest.Batch[str, Any],  # type: ignore[name-defined]
    tagged: TaggedFiles,
) -> LintResult:
    chosen = set(request.elements)
    findings = [finding for file in tagged.files if file.path in chosen for finding in file.findings]
    functions = sum(len(file.functions) for file in tagged.files if file.path in chosen)
    summary = f"{functions} tagged functions in {len(chosen)} files, {len(findings)} findings.\n"
    return LintResult(
        exit_code=1 if findings else 0,
        stdout="".join(f"{finding}\n" for finding in findings) + summary,
        stderr="",
        linter_name=request.tool_name,
    )


def rules() -> list[Any]:
    return [*collect_rules(), *TurboliftLintRequest.rules()]
