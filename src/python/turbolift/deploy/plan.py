# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The plan of a rollout: a pure function of what is wanted, what is current, and what of it still runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from turbolift.deploy.platform import Release
from turbolift.deploy.state import Serving


class Action(StrEnum):
    """What a rollout does with a function."""

    NEW = "new"
    UNCHANGED = "unchanged"
    REPLACED = "replaced"
    RESTARTED = "restarted"
    RETIRED = "retired"


STARTS = frozenset({Action.NEW, Action.REPLACED, Action.RESTARTED})
"""Actions that start an instance."""


@dataclass(frozen=True, slots=True)
class Step:
    """One function's part of a plan: the release that is wanted (None: retired) and what serves it now (None:
    new).
    """

    action: Action
    function: str
    wanted: Release | None
    current: Serving | None


def plan(
    wanted: Iterable[Release], current: Mapping[str, Serving], healthy: Collection[str]
) -> tuple[Step, ...]:
    """Return a step for every function of `wanted` or `current`, by name.

    `healthy` holds the functions of `current` whose instance is alive and ready. One that is not is
    restarted: a new instance of the same version is started beside it. A release on another platform is a
    replacement.
    """
    steps = []
    releases = {one.function: one for one in wanted}
    for function in sorted({*releases, *current}):
        release, serving = releases.get(function), current.get(function)
        if release is None:
            action = Action.RETIRED
        elif serving is None:
            action = Action.NEW
        elif (release.version, release.platform) != (serving.release.version, serving.release.platform):
            action = Action.REPLACED
        else:
            action = Action.UNCHANGED if function in healthy else Action.RESTARTED
        steps.append(Step(action, function, release, serving))
    return tuple(steps)


def summary(steps: Iterable[Step]) -> str:
    """Return the plan in a line, as ``3 functions: 1 new, 2 unchanged``."""
    counts: dict[Action, int] = {}
    for step in steps:
        counts[step.action] = counts.get(step.action, 0) + 1
    total = sum(counts.values())
    parts = ", ".join(f"{counts[action]} {action}" for action in Action if action in counts)
    return f"{total} function{'' if total == 1 else 's'}" + (f": {parts}" if parts else "")
