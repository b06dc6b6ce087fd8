# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""turbolift's own programs, ready to run in a sandbox: their sources, their distributions, an interpreter."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.resources
import os
from dataclasses import dataclass
from typing import Any, Iterable, Mapping

from pants.backend.python.util_rules.interpreter_constraints import InterpreterConstraints
from pants.backend.python.util_rules.pex import PexRequest, VenvPex, VenvPexProcess
from pants.backend.python.util_rules.pex import rules as pex_rules
from pants.backend.python.util_rules.pex_requirements import EntireLockfile, Lockfile
from pants.engine.fs import (
    CreateDigest,
    Digest,
    DigestContents,
    FileContent,
    GlobMatchErrorBehavior,
    MergeDigests,
    PathGlobs,
    RemovePrefix,
)
from pants.engine.process import FallibleProcessResult, Process
from pants.engine.rules import Get, MultiGet, collect_rules, rule
from pants.util.frozendict import FrozenDict
from pants.util.logging import LogLevel

from turbolift_pants.subsystem import TurboliftSubsystem

ROOMS = "__turbolift"


@dataclass(frozen=True)
class RoomsRequest:
    """The sources of some rooms of turbolift, below `ROOMS`, to be run as programs."""

    rooms: tuple[str, ...]


@dataclass(frozen=True)
class Rooms:
    digest: Digest


def _packaged(rooms: Iterable[str]) -> Iterable[FileContent]:
    """The rooms that the plugin's wheel ships."""
    root = importlib.resources.files("turbolift_pants").joinpath("_rooms", "turbolift")
    for room in rooms:
        found = root.joinpath(room)
        pending = [(found, room)]
        while pending:
            entry, path = pending.pop()
            if entry.is_dir():
                pending.extend((child, f"{path}/{child.name}") for child in entry.iterdir())
            elif path.endswith((".py", ".json")):
                yield FileContent(f"turbolift/{path}", entry.read_bytes())


def plugin_version() -> str | None:
    """Return the version of the plugin's distribution; None where its sources are on `pythonpath`."""
    try:
        return importlib.metadata.version("turbolift-pants")
    except importlib.metadata.PackageNotFoundError:
        return None


@rule(desc="Collect turbolift's programs", level=LogLevel.DEBUG)
async def collect_rooms(request: RoomsRequest, turbolift: TurboliftSubsystem) -> Rooms:
    if turbolift.rooms:
        root = os.path.join(turbolift.rooms, "turbolift")
        globs = [
            glob
            for room in request.rooms
            for glob in (
                [f"{root}/{room}"]
                if room.endswith(".py")
                else [f"{root}/{room}/**/*.py", f"{root}/{room}/**/*.json"]
            )
        ]
        found = await Get(
            Digest,
            PathGlobs(
                globs,
                glob_match_error_behavior=GlobMatchErrorBehavior.ignore,
            ),
        )
        sources = await Get(Digest, RemovePrefix(found, turbolift.rooms))
    else:
        sources = await Get(Digest, CreateDigest(_packaged(request.rooms)))
    # The package's own __init__ offers the public API, which these programs have no use for.
    contents = await Get(DigestContents, Digest, sources)
    digest = await Get(
        Digest,
        CreateDigest(
            [
                FileContent(f"{ROOMS}/turbolift/__init__.py", b""),
                *(FileContent(f"{ROOMS}/{file.path}", file.content) for file in contents),
            ]
        ),
    )
    return Rooms(digest)


@dataclass(frozen=True)
class ToolRequest:
    """One of turbolift's programs, by name."""

    name: str


IMAGE_TOOL = ToolRequest("image")
DEPLOY_TOOL = ToolRequest("deploy")
TOOL_ROOMS = {
    "image": ("errors.py", "spec", "image"),
    "deploy": ("errors.py", "spec", "contract", "wire", "client", "image", "deploy"),
}


@dataclass(frozen=True)
class Tool:
    """A program's distributions as a venv, and its sources."""

    venv: VenvPex
    rooms: Digest


def tool_pex_request(name: str, turbolift: TurboliftSubsystem, *, internal: bool = True) -> PexRequest:
    """Return the request for a program's distributions."""
    url = {"image": turbolift.image_tool_lockfile, "deploy": turbolift.deploy_tool_lockfile}[name]
    return PexRequest(
        output_filename=f"turbolift-{name}.pex",
        internal_only=internal,
        requirements=EntireLockfile(
            Lockfile(
                url=url,
                url_description_of_origin=f"the option `[turbolift].{name}_tool_lockfile`",
                resolve_name=f"turbolift-{name}",
            )
        ),
        interpreter_constraints=InterpreterConstraints(turbolift.tool_interpreter_constraints),
        description=f"Preparing turbolift's {name} program",
    )


@rule(desc="Prepare a program of turbolift", level=LogLevel.DEBUG)
async def prepare_tool(request: ToolRequest, turbolift: TurboliftSubsystem) -> Tool:
    venv, rooms = await MultiGet(
        Get(VenvPex, PexRequest, tool_pex_request(request.name, turbolift)),
        Get(Rooms, RoomsRequest(TOOL_ROOMS[request.name])),
    )
    return Tool(venv, rooms.digest)


@dataclass(frozen=True)
class ImageStep:
    """One run of `python -m turbolift.image`."""

    argv: tuple[str, ...]
    description: str = dataclasses.field(compare=False)
    digest: Digest
    output_files: tuple[str, ...] = ()
    output_directories: tuple[str, ...] = ()
    # Large trees are linked into the sandbox, not copied: path -> digest.
    immutable: FrozenDict[str, Digest] = FrozenDict()
    caches: FrozenDict[str, str] = FrozenDict()
    env: FrozenDict[str, str] = FrozenDict()


@rule(desc="Set up a step of an image's build", level=LogLevel.DEBUG)
async def image_step_process(step: ImageStep) -> Process:
    tool = await Get(Tool, ToolRequest, IMAGE_TOOL)
    digest = await Get(Digest, MergeDigests([tool.rooms, step.digest]))
    process = await Get(
        Process,
        VenvPexProcess(
            tool.venv,
            argv=("-m", "turbolift.image", *step.argv),
            input_digest=digest,
            description=step.description,
            output_files=step.output_files,
            output_directories=step.output_directories,
            extra_env={"PEX_EXTRA_SYS_PATH": ROOMS, "PYTHONDONTWRITEBYTECODE": "1", **step.env},
            append_only_caches=step.caches,
            level=LogLevel.DEBUG,
        ),
    )
    immutable: Mapping[str, Digest] = {**process.immutable_input_digests, **step.immutable}
    return dataclasses.replace(process, immutable_input_digests=FrozenDict(immutable))


class CannotPackage(Exception):
    """Something cannot be packaged; the message says why, where, and what to do."""


@dataclass(frozen=True)
class ImageStepResult:
    """What a step wrote."""

    output_digest: Digest


@rule(desc="Run a step of an image's build", level=LogLevel.DEBUG)
async def run_image_step(step: ImageStep) -> ImageStepResult:
    result = await Get(FallibleProcessResult, ImageStep, step)
    if result.exit_code != 0:
        # The program's own words are for people: nothing of the sandbox around them.
        said = result.stderr.decode(errors="replace").strip()
        raise CannotPackage(f"{step.description} failed.\n{said}")
    return ImageStepResult(result.output_digest)


def rules() -> list[Any]:
    return [*collect_rules(), *pex_rules()]
