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
from turbolift.deploy.platform import App, Host, Instance, Platform, Release, SharedPlatform, TabledPlatform
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

    def shared(self, kind: str) -> SharedPlatform | None:
        """Return the platform `kind` if it is one that other machines see too."""
        found = self[kind]
        return found if isinstance(found, SharedPlatform) else None


class Rollout:
    """Brings one deployment from its current generation to a wanted one; the deployment's lock is held."""

    def __init__(
        self,
        state: State,
        platforms: Platforms,
        view: View,
        *,
        ready_timeout: float,
        retire_after: float | None = None,
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
        self,
        wanted: Iterable[Release],
        *,
        bring: Callable[[Sequence[Release]], object] | None = None,
        apps: Mapping[str, App] | None = None,
        run_apps: Callable[[Sequence[App]], Awaitable[object]] | None = None,
    ) -> tuple[tuple[Step, ...], Generation]:
        """Make exactly `wanted` serve; return what was done, and the generation that is now current.

        `bring` is called with the releases that are to be started, before they are: it sees to their images. `run_apps`
        is awaited with `apps` between the switch and the first stop, when all that they call is there: what it raises
        leaves the old versions there. Raises DeployError naming every function that did not start.
        """
        wanted = list(wanted)
        programs = list((apps or {}).values())
        routed = {(one.function, one.version) for one in wanted}
        pinned = {(pin.function, pin.version): pin for app in programs for pin in app.pins}
        beside = [pin for key, pin in pinned.items() if key not in routed]
        former, sound = self.current()
        registry.check((one.function, one.platform) for one in wanted)
        if sound:
            # A run that was killed has switched, perhaps, and told nobody.
            tell(self._state, self._platforms, former)
        leftovers = self._leftovers(former, [*wanted, *beside])
        used: list[Instance] = []
        if sound and leftovers:
            used = await self._clean(leftovers)
            leftovers = []
        await self._tend(former)
        steps = plan(wanted, former.serving, await self._healthy(former, wanted))
        self._view.open(step.function for step in steps)
        self._show(steps)
        new_releases = [step.wanted for step in steps if step.action in STARTS and step.wanted is not None]
        running = await self._start(new_releases, beside, former, bring)
        started = {one.release.function: one for one in running if one.release not in beside}
        serving = {
            step.function: started[step.function] if step.action in STARTS else step.current
            for step in steps
            if step.action is not Action.RETIRED
        }
        table = {name: one for name, one in serving.items() if one is not None}
        generation = former
        if started or any(step.action is Action.RETIRED for step in steps) or not sound:
            generation = switch(self._state, self._platforms, former, table)
        if run_apps is not None and apps is not None:
            await run_apps(programs)
            publish = publisher(self._state, self._platforms)
            generation = self._state.note_apps(former, generation, apps, publish)
        # What was in use before may be free now: an app that was pinned to it has been replaced.
        await every(*(self._put_away(one) for one in used))
        new = {one.instance.id for one in running}
        await self._retire(steps, [one for one in leftovers if one.id not in new], new)
        return steps, generation

    def _leftovers(self, former: Generation, wanted: Sequence[Release]) -> list[Instance]:
        """Return what runs, or is recorded to, and is in no table: a killed run left it.

        On a shared platform what is `wanted` is left alone: starting it is to find it.
        """
        serving = {one.instance.id for one in former.serving.values()}
        versions = {(one.function, one.version) for one in wanted}
        return [
            instance
            for kind in sorted(
                {*self._state.platforms(), *(one.platform for one in wanted if self._is_shared(one))}
            )
            for instance in self._platforms[kind].instances()
            if instance.id not in serving
            and not (self._platforms.shared(kind) and (instance.function, instance.version) in versions)
        ]

    async def _tend(self, former: Generation) -> None:
        serving = [one.release for one in former.serving.values()]
        for kind in sorted({one.platform for one in serving}):
            shared = self._platforms.shared(kind)
            if shared is not None:
                await shared.tend([one for one in serving if one.platform == kind])

    def _is_shared(self, release: Release) -> bool:
        return self._platforms.shared(release.platform) is not None

    async def _clean(self, leftovers: Sequence[Instance]) -> list[Instance]:
        """Stop `leftovers`; return those that are still in use."""
        self._view.say(
            "stopping what no table names, unless it is in use, as an interrupted run left it: "
            + ", ".join(sorted({one.function for one in leftovers}))
        )
        used: list[Instance] = []

        async def clean(one: Instance) -> None:
            if not await self._put_away(one, quiet=True):
                used.append(one)

        await every(*(clean(one) for one in leftovers))
        return used

    async def _healthy(self, former: Generation, wanted: Sequence[Release]) -> set[str]:
        releases = {one.function: one for one in wanted}

        async def is_healthy(one: Serving) -> bool:
            shared = self._platforms.shared(one.instance.platform)
            release = releases.get(one.release.function)
            same = release is not None and release.version == one.release.version
            # The same version under other settings, or taken away in part: it is applied again.
            if shared and release and same and await asyncio.to_thread(shared.stale, release):
                return False
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
            note = {Action.REPLACED: "replaces", Action.RESTARTED: "was down or changed"}.get(step.action, "")
            if step.action is Action.REPLACED and step.current is not None:
                note = f"replaces {step.current.release.version[:8]}"
            self._view.update(
                step.function, "waiting", version=release.version, platform=release.platform, note=note
            )

    async def _start(
        self,
        routed: Sequence[Release],
        beside: Sequence[Release],
        former: Generation,
        bring: Callable[[Sequence[Release]], object] | None,
    ) -> list[Serving]:
        """Start what will be `routed` and what apps alone call, and wait for all; on any failure, or when interrupted,
        stop them again.
        """
        releases = [*routed, *beside]
        if not releases:
            return []
        there = {one.instance.id for one in former.serving.values()}
        for kind in {one.platform for one in beside}:
            there |= {one.id for one in self._platforms[kind].instances()}
        if bring is not None:
            await asyncio.to_thread(bring, releases)
        for kind in sorted({one.platform for one in releases}):
            self._state.note_platform(kind)
            await self._platforms[kind].prepare([one for one in releases if one.platform == kind])
        started: list[Serving] = []
        slots = {kind: asyncio.Semaphore(self._at_once(kind)) for kind in {one.platform for one in releases}}

        async def start(release: Release, row: str) -> DeployError | None:
            async with slots[release.platform]:
                try:
                    await self._bring_up(release, row, started)
                except DeployError as error:
                    self._view.update(row, "failed", note="")
                    return error
                except (TurboliftError, OSError) as error:
                    self._view.update(row, "failed", note="")
                    return DeployError(f"{release.function}: {error}", function=release.function)
                return None

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(start(one, one.function)) for one in routed]
                tasks += [group.create_task(start(one, _pinned_row(one))) for one in beside]
            errors = [error for task in tasks if (error := task.result()) is not None]
            if errors:
                raise _failure(errors, len(releases))
        except BaseException as error:
            new = [one.instance for one in started if one.instance.id not in there]
            if new:
                names = sorted({one.function for one in new})
                self._view.say(f"stopping what this run started: {', '.join(names)}")
            await asyncio.shield(self._stop_all(new))
            if not isinstance(error, Exception):
                self._view.say("nothing was switched: what served before serves on")
            raise
        return started

    def _at_once(self, kind: str) -> int:
        shared = self._platforms.shared(kind)
        return _AT_ONCE if shared is None else shared.at_once

    async def _bring_up(self, release: Release, row: str, started: list[Serving]) -> None:
        platform = self._platforms[release.platform]
        begin = time.monotonic()
        self._view.update(row, "starting", version=release.version, platform=release.platform)
        # A task of its own: being interrupted in the middle of a start must not lose what was started.
        starting = asyncio.ensure_future(platform.start(release))
        try:
            instance = await asyncio.shield(starting)
        except asyncio.CancelledError:
            started.append(Serving(release, await starting))
            raise
        started.append(Serving(release, instance))
        await platform.wait_ready(instance, self._ready_timeout)
        health = await platform.health(instance)
        self._view.update(
            row,
            "ready",
            pid=health.pid,
            endpoint=instance.endpoint,
            ms=round((time.monotonic() - begin) * 1000),
        )

    async def _retire(self, steps: Sequence[Step], leftovers: Sequence[Instance], new: set[str]) -> None:
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
            elif step.current.instance.id not in new:
                old.append((step.function, step.current.instance, step.action is Action.RETIRED))
        if not old and not leftovers:
            return
        for function, _, gone in old:
            if gone:
                self._view.update(function, "draining")
        pause = self._pause([*(instance for _, instance, _ in old), *leftovers])
        if pause > _PATIENCE:
            self._view.say(
                f"all is switched; what is retired is stopped in {pause:g} s, when every caller knows (Ctrl-C: the next "
                "deploy does it)"
            )
        await asyncio.sleep(pause)

        async def stop(function: str, instance: Instance, gone: bool) -> None:
            if await self._put_away(instance) and gone:
                self._view.update(function, "retired")

        stopping = asyncio.ensure_future(
            every(*(stop(*one) for one in old), *(self._put_away(one) for one in leftovers))
        )
        try:
            await asyncio.wait({stopping}, timeout=_PATIENCE)
            if not stopping.done():
                self._view.say("all is switched; waiting for calls that still run on what is retired")
            await stopping
        except asyncio.CancelledError:
            self._view.say("all is switched; what is retired and still runs is stopped by the next deploy")
            raise

    def _pause(self, instances: Sequence[Instance]) -> float:
        """Return the seconds from the switch to the first stop."""
        if self._retire_after is not None:
            return self._retire_after
        kinds = {one.platform for one in instances}
        return max((self._retire_after_of(kind) for kind in kinds), default=RETIRE_AFTER)

    def _retire_after_of(self, kind: str) -> float:
        shared = self._platforms.shared(kind)
        return RETIRE_AFTER if shared is None else shared.retire_after

    async def _put_away(self, instance: Instance, *, quiet: bool = False) -> bool:
        """Stop what no table names, and return True; on a shared platform, unless callers that we do not know still use it."""
        shared = self._platforms.shared(instance.platform)
        if shared is None:
            await self._platforms[instance.platform].stop(instance)
        elif not await shared.retire(instance):
            if not quiet:
                self._view.say(
                    f"{instance.function} {instance.version[:10]} is still called, or an app is pinned to it: it stays "
                    "until a later deploy, or 'prune', finds it idle"
                )
            return False
        return True

    async def _stop_all(self, instances: Iterable[Instance]) -> None:
        await every(*(self._platforms[one.platform].stop(one) for one in instances))


def _pinned_row(release: Release) -> str:
    """Return what the row of a version is called that an app alone calls."""
    return f"{release.function} of an app"


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
    retire_after: float | None = None,
) -> Generation:
    """Take `functions` out of the route table, then stop them; return the new generation."""
    gone = set(functions)
    kept: Mapping[str, Serving] = {name: one for name, one in former.serving.items() if name not in gone}
    generation = switch(state, platforms, former, kept)
    stopping = [former.serving[name].instance for name in sorted(gone)]
    if stopping:
        await asyncio.sleep(RETIRE_AFTER if retire_after is None else retire_after)
        await every(*(platforms[one.platform].stop(one) for one in stopping))
    return generation


def switch(
    state: State, platforms: Platforms, former: Generation, serving: Mapping[str, Serving]
) -> Generation:
    """Make `serving` current instead of `former`, for every caller; return the new generation."""
    generation = state.switch(former, serving, publisher(state, platforms))
    tell(state, platforms, generation)
    return generation


def tell(state: State, platforms: Platforms, generation: Generation) -> None:
    """Give the current table to the platforms whose instances have one of their own."""
    for kind in state.platforms():
        platform = platforms[kind]
        if isinstance(platform, TabledPlatform):
            platform.follow(state.table(), {name: one.instance for name, one in generation.serving.items()})


def publisher(state: State, platforms: Platforms) -> Callable[[Mapping[str, bytes]], None] | None:
    """Return what `State.switch` tells shared platforms of this deployment by, or None where there is none."""
    told = [shared for kind in state.platforms() if (shared := platforms.shared(kind)) is not None]
    if not told:
        return None

    def publish(files: Mapping[str, bytes]) -> None:
        for one in told:
            one.publish(files)

    return publish


def _failure(errors: Sequence[DeployError], total: int) -> DeployError:
    many = f"{len(errors)} of {total} functions" if total > 1 else "the function"
    said = "\n".join(f"  {error}" for error in errors)
    return DeployError(
        f"{many} did not start; nothing was switched, what served before serves on:\n{said}",
        function=errors[0].function,
    )
