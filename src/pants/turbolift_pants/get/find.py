# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Find the tagged functions of the whole repository: one batched parse, of the files that mention turbolift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pants.backend.python.subsystems.setup import PythonSetup
from pants.backend.python.util_rules.interpreter_constraints import InterpreterConstraints
from pants.backend.python.util_rules.pex_cli import PexCliProcess
from pants.backend.python.util_rules.pex_environment import PythonExecutable
from pants.engine.fs import (
    CreateDigest,
    Digest,
    DigestContents,
    FileContent,
    MergeDigests,
    PathGlobs,
)
from pants.engine.process import FallibleProcessResult, Process, ProcessCacheScope, ProcessResult
from pants.engine.rules import Get, MultiGet, collect_rules, rule
from pants.util.logging import LogLevel

from turbolift_pants.get.tools import ROOMS, Rooms, RoomsRequest
from turbolift_pants.steps import FileReport, mentions, parse_report
from turbolift_pants.subsystem import TurboliftSubsystem


@dataclass(frozen=True)
class TaggedFiles:
    """The reports on all files of the repository that mention turbolift and hold a tag or a finding."""

    files: tuple[FileReport, ...]

    def at(self, path: str) -> FileReport | None:
        return next((file for file in self.files if file.path == path), None)


@dataclass(frozen=True)
class NewestInterpreter:
    """The newest interpreter that the repository's constraints allow: it parses what any of them runs."""

    path: str


@rule(desc="Find an interpreter that reads the repository's syntax", level=LogLevel.DEBUG)
async def newest_interpreter(turbolift: TurboliftSubsystem, python_setup: PythonSetup) -> NewestInterpreter:
    allowed = InterpreterConstraints(
        python_setup.interpreter_constraints or turbolift.tool_interpreter_constraints
    )
    # Pants' own search takes the oldest that fits.
    result = await Get(
        FallibleProcessResult,
        PexCliProcess(
            description="Find the newest interpreter for " + " or ".join(map(str, allowed)),
            subcommand=(),
            extra_args=(
                *allowed.generate_pex_arg_list(),
                "--interpreter-selection-strategy=newest",
                "--",
                "-c",
                "import os, sys; assert sys.version_info >= (3, 11); print(os.path.realpath(sys.executable))",
            ),
            level=LogLevel.DEBUG,
            cache_scope=ProcessCacheScope.PER_RESTART_SUCCESSFUL,
        ),
    )
    if result.exit_code == 0:
        return NewestInterpreter(result.stdout.decode().strip())
    # The repository's own code is for older interpreters alone: the program still needs a current one.
    python = await Get(PythonExecutable, InterpreterConstraints(turbolift.tool_interpreter_constraints))
    return NewestInterpreter(python.path)


@rule(desc="Find functions tagged with @turbolift.on", level=LogLevel.DEBUG)
async def find_tagged_files(turbolift: TurboliftSubsystem) -> TaggedFiles:
    contents = await Get(DigestContents, PathGlobs(turbolift.scan))
    own = f"{turbolift.rooms}/turbolift/" if turbolift.rooms else None
    files = [file for file in contents if mentions(file.content) and not (own and file.path.startswith(own))]
    if not files:
        return TaggedFiles(())
    rooms, interpreter, sources = await MultiGet(
        Get(Rooms, RoomsRequest(("closure",))),
        Get(NewestInterpreter),
        Get(
            Digest,
            CreateDigest(
                [
                    FileContent("files.txt", "\n".join(f"in/{file.path}" for file in files).encode()),
                    *(FileContent(f"in/{file.path}", file.content) for file in files),
                ]
            ),
        ),
    )
    result = await Get(
        ProcessResult,
        Process(
            argv=(
                interpreter.path,
                "-m",
                "turbolift.closure",
                "find",
                "--files-from=files.txt",
                "--strip=in/",
                "--out=report.json",
            ),
            env={"PYTHONPATH": ROOMS, "PYTHONDONTWRITEBYTECODE": "1"},
            input_digest=await Get(Digest, MergeDigests([rooms.digest, sources])),
            output_files=("report.json",),
            description=f"Find tagged functions in {len(files)} files that mention turbolift",
            level=LogLevel.DEBUG,
        ),
    )
    report = await Get(DigestContents, Digest, result.output_digest)
    reports = parse_report(report[0].content)
    return TaggedFiles(tuple(r for r in reports if r.functions or r.findings))


def rules() -> list[Any]:
    return [*collect_rules()]
