# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The rollout: start what is new beside the old, wait until it is ready, switch the table in one write,
retire the old.

Until the switch nothing that serves is touched; whatever fails or interrupts, what this run started is
stopped. After the switch the old instances are unreferenced: if this run is killed, the next one finds and
stops them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from turbolift.deploy import registry
from turbolift.deploy.plan import STARTS, Action, Step, plan
from turbolift.deploy.platform import Host, Instance, Platform, Release
from turbolift.deploy.state import Generation, Serving, State
from turbolift.deploy.view import View
from turbolift.errors import DeployError, DocumentError, TurboliftError

RETIRE_AFTER = 1.0
"""Seconds between the switch and the first SIGTERM: a caller that has just read the old table gets its
request out.
"""

_PATIENCE = 3.0
"""Seconds of silence while old instances finish their calls."""

_AT_ONCE = max(2, os.cpu_count() or 1)


class Platforms:
    """The platforms of one run, each made when it is first asked for."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._made: dict[str, Platform] = {}

    def __getitem__(self, kind: str) -> Platform:
        if kind not in self._made:
            self._made[kind] = registry.make(kind, self._host)
        return self._made[kind]


class Rollout:
    """Brings one deployment from its current generation to a wanted one; the deployment's lock is held."""

    def __init__(
        self,
        state: State,
        platforms: Platforms,
        view: View,
        *,
        ready_timeout: float,
        retire_after: float = RETIRE_AFTER,
    ) -> None:
        self._state = state
        self._platforms = platforms
        self._view = view
        self._ready_timeout = ready_timeout
        self._retire_after = retire_after

    def current(self) -> tuple[Generation, bool]:
        """Return the current generation, and whether the route table is sound; a broken one is made anew, and
        said so.
        """
        try:
            return self._state.current(), self._state.exists()
        except DocumentError as error:
            self._view.say(f"note: {error}: it is made anew")
            return Generation(), False

    async def run(
        self, wanted: Iterable[Release], *, bring: Callable[[Sequence[Release]], object] | None = None
    ) -> tuple[tuple[Step, ...], Generation]:
        """Make exactly `wanted` serve; return what was done, and the generation that is now current.

        `bring` is called with the releases that are to be started, before they are: it sees to their images.
        Raises DeployError naming every function that did not start.
        """
        wanted = list(wanted)
        former, sound = self.current()
        registry.check((one.function, one.platform) for one in wanted)
        leftovers = self._leftovers(former)
        if sound and leftovers:
            await self._clean(leftovers)
            leftovers = []
        steps = plan(wanted, former.serving, await self._healthy(former))
        self._view.open(step.function for step in steps)
        self._show(steps)
        started = await self._start([step for step in steps if step.action in STARTS], bring)
        serving = {
            step.function: started[step.function] if step.action in STARTS else step.current
            for step in steps
            if step.action is not Action.RETIRED
        }
        table = {name: one for name, one in serving.items() if one is not None}
        generation = former
        if started or any(step.action is Action.RETIRED for step in steps) or not sound:
            generation = self._state.switch(former, table)
        await self._retire(steps, leftovers)
        return steps, generation

    def _leftovers(self, former: Generation) -> list[Instance]:
        """Return what runs, or is recorded to, and is in no table: a killed run left it."""
        serving = {one.instance.id for one in former.serving.values()}
        return [
            instance
            for kind in self._state.platforms()
            for instance in self._platforms[kind].instances()
            if instance.id not in serving
        ]

    async def _clean(self, leftovers: Sequence[Instance]) -> None:
        self._view.say(
            f"stopping {len(leftovers)} instance{'s' * (len(leftovers) > 1)} that an interrupted run left: "
            + ", ".join(sorted({one.function for one in leftovers}))
        )
        await self._stop_all(leftovers)

    async def _healthy(self, former: Generation) -> set[str]:
        async def is_healthy(one: Serving) -> bool:
            return (await self._platforms[one.instance.platform].health(one.instance)).ready

        names = list(former.serving)
        found = await asyncio.gather(*(is_healthy(former.serving[name]) for name in names))
        return {name for name, healthy in zip(names, found, strict=True) if healthy}

    def _show(self, steps: Sequence[Step]) -> None:
        for step in steps:
            release = step.wanted or (step.current.release if step.current else None)
            assert release is not None
            if step.action is Action.UNCHANGED:
                continue
            note = {Action.REPLACED: "replaces", Action.RESTARTED: "was down"}.get(step.action, "")
            if step.action is Action.REPLACED and step.current is not None:
                note = f"replaces {step.current.release.version[:8]}"
            self._view.update(
                step.function, "waiting", version=release.version, platform=release.platform, note=note
            )

    async def _start(
        self, steps: Sequence[Step], bring: Callable[[Sequence[Release]], object] | None
    ) -> dict[str, Serving]:
        """Start the steps' releases and wait for all; on any failure, or when interrupted, stop them again."""
        releases = [step.wanted for step in steps if step.wanted is not None]
        if not releases:
            return {}
        if bring is not None:
            await asyncio.to_thread(bring, releases)
        for kind in sorted({one.platform for one in releases}):
            self._state.note_platform(kind)
            await self._platforms[kind].prepare([one for one in releases if one.platform == kind])
        started: dict[str, Serving] = {}
        slots = asyncio.Semaphore(_AT_ONCE)

        async def start(release: Release) -> DeployError | None:
            async with slots:
                try:
                    await self._bring_up(release, started)
                except DeployError as error:
                    self._view.update(release.function, "failed", note="")
                    return error
                except (TurboliftError, OSError) as error:
                    self._view.update(release.function, "failed", note="")
                    return DeployError(f"{release.function}: {error}", function=release.function)
                return None

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(start(one)) for one in releases]
            errors = [error for task in tasks if (error := task.result()) is not None]
            if errors:
                raise _failure(errors, len(releases))
        except BaseException as error:
            if started:
                self._view.say(f"stopping what this run started: {', '.join(sorted(started))}")
            await asyncio.shield(self._stop_all(one.instance for one in started.values()))
            if not isinstance(error, Exception):
                self._view.say("nothing was switched: what served before serves on")
            raise
        return started

    async def _bring_up(self, release: Release, started: dict[str, Serving]) -> None:
        platform = self._platforms[release.platform]
        begin = time.monotonic()
        self._view.update(release.function, "starting")
        # A task of its own: being interrupted in the middle of a start must not lose what was started.
        starting = asyncio.ensure_future(platform.start(release))
        try:
            instance = await asyncio.shield(starting)
        except asyncio.CancelledError:
            instance = await starting
            started[release.function] = Serving(release, instance)
            raise
        started[release.function] = Serving(release, instance)
        await platform.wait_ready(instance, self._ready_timeout)
        health = await platform.health(instance)
        self._view.update(
            release.function,
            "ready",
            pid=health.pid,
            endpoint=instance.endpoint,
            ms=round((time.monotonic() - begin) * 1000),
        )

    async def _retire(self, steps: Sequence[Step], leftovers: Sequence[Instance]) -> None:
        """Stop what the table no longer names, once callers of the old table have sent what they had in hand."""
        old: list[tuple[str, Instance, bool]] = []
        for step in steps:
            if step.current is None:
                continue
            if step.action is Action.UNCHANGED:
                health = await self._platforms[step.current.instance.platform].health(step.current.instance)
                self._view.update(
                    step.function,
                    "unchanged",
                    version=step.current.release.version,
                    platform=step.current.release.platform,
                    pid=health.pid,
                    endpoint=step.current.instance.endpoint,
                )
            else:
                old.append((step.function, step.current.instance, step.action is Action.RETIRED))
        if not old and not leftovers:
            return
        for function, _, gone in old:
            if gone:
                self._view.update(function, "draining")
        await asyncio.sleep(self._retire_after)

        async def stop(function: str, instance: Instance, gone: bool) -> None:
            await self._platforms[instance.platform].stop(instance)
            if gone:
                self._view.update(function, "retired")

        stopping = asyncio.ensure_future(every(*(stop(*one) for one in old), self._stop_all(leftovers)))
        try:
            await asyncio.wait({stopping}, timeout=_PATIENCE)
            if not stopping.done():
                self._view.say("all is switched; waiting for calls that still run on what is retired")
            await stopping
        except asyncio.CancelledError:
            self._view.say("all is switched; what is retired and still runs is stopped by the next deploy")
            raise

    async def _stop_all(self, instances: Iterable[Instance]) -> None:
        await every(*(self._platforms[one.platform].stop(one) for one in instances))


async def every(*work: Awaitable[object]) -> None:
    """Wait for all of `work`, also where some of it fails; then raise the first error."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def stop_serving(
    state: State,
    platforms: Platforms,
    former: Generation,
    functions: Iterable[str],
    *,
    retire_after: float = RETIRE_AFTER,
) -> Generation:
    """Take `functions` out of the route table, then stop them; return the new generation."""
    gone = set(functions)
    kept: Mapping[str, Serving] = {name: one for name, one in former.serving.items() if name not in gone}
    generation = state.switch(former, kept)
    stopping = [former.serving[name].instance for name in sorted(gone)]
    if stopping:
        await asyncio.sleep(retire_after)
        await every(*(platforms[one.platform].stop(one) for one in stopping))
    return generation


def _failure(errors: Sequence[DeployError], total: int) -> DeployError:
    many = f"{len(errors)} of {total} functions" if total > 1 else "the function"
    said = "\n".join(f"  {error}" for error in errors)
    return DeployError(
        f"{many} did not start; nothing was switched, what served before serves on:\n{said}",
        function=errors[0].function,
    )
