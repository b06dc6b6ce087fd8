# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the commands that change a deployment do: up, rollback, down, destroy, prune."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from turbolift.deploy import bundle as bundles
from turbolift.deploy import files, interrupt, registry, store
from turbolift.deploy.bundle import Bundle
from turbolift.deploy.files import private_dir
from turbolift.deploy.local import platform as local
from turbolift.deploy.names import resolve
from turbolift.deploy.plan import Action, Step, plan, summary
from turbolift.deploy.platform import App, Release, Removal
from turbolift.deploy.rollout import Rollout, every, publisher, stop_serving
from turbolift.deploy.session import Session
from turbolift.deploy.state import Generation, Serving, State
from turbolift.deploy.view import View
from turbolift.errors import ConfigurationError, DeployError, DocumentError


def up(session: Session, view: View) -> None:
    """Roll the bundle out."""
    given = _bundle(session, "up")

    def bring(releases: Sequence[Release]) -> None:
        copied = sum(
            store.keep(given.images, session.store, digest) for digest in sorted({x.image for x in releases})
        )
        if copied:
            view.say(f"copied {_size(copied)} of images")

    apps = {one.release.function: one for one in given.apps}
    if apps and session.app_platform() is None:
        view.say(f"not run here: {', '.join(apps)}; apps are rolled out with --platform k8s")
        apps = {}
    with session.alone("up"):
        run = _rollout(session, view).run(
            given.releases, bring=bring, apps=apps, run_apps=_run_apps(session, view, bring)
        )
        steps, generation = interrupt.run(run)
    view.close()
    _tell(session, steps, generation)


def _bundle(session: Session, command: str) -> Bundle:
    """Return the bundle that was given; a platform that is not there is said before anything is done."""
    if session.bundle is None:
        raise ConfigurationError(
            f"{command} needs --bundle DIR, a deployment's package; './pants run deploy' builds it and passes it"
        )
    registry.check((one.function, one.platform) for one in session.bundle.releases)
    return session.bundle


def diff(session: Session) -> None:
    """Print what `up` would do, and on a shared platform what it would change there; nothing is written."""
    given = _bundle(session, "diff")
    session.recall()
    current = session.state.current()
    platforms = session.platforms()

    async def healthy() -> set[str]:
        async def ready(one: Serving) -> bool:
            return (await platforms[one.instance.platform].health(one.instance)).ready

        found = await asyncio.gather(*(ready(one) for one in current.serving.values()))
        return {name for name, yes in zip(current.serving, found, strict=True) if yes}

    steps = plan(given.releases, current.serving, asyncio.run(healthy()))
    for step in steps:
        before = step.current.release.version[:10] if step.current else "-"
        after = step.wanted.version[:10] if step.wanted else "-"
        print(f"{step.function}  {step.action}  {before} -> {after}")
    shared = session.shared()
    if shared is not None:
        gone = [
            step.current.instance
            for step in steps
            if step.current and step.action in (Action.REPLACED, Action.RETIRED)
        ]
        for text in shared[1].changes(given.releases, gone):
            print(text, end="")
    programs = session.app_platform()
    if programs is not None:
        for text in programs.app_changes(given.apps):
            print(text, end="")
    print(summary(steps))


def render(
    bundle: Path | None, deployment: str, folder: Path, options: Mapping[str, str], drain: float | None
) -> None:
    """Write the objects of the bundle for a cluster to `folder`."""
    from turbolift.deploy.k8s import manifests, settings

    if bundle is None:
        raise ConfigurationError(
            "render needs --bundle DIR, a deployment's package; './pants run deploy' builds it and passes it"
        )
    content = bundles.read(bundle, platform="k8s")
    releases = content.releases
    place = {name: settings.declared(name, options.get(name), releases) for name in ("namespace", "registry")}
    for name, value in place.items():
        if not value:
            raise ConfigurationError(
                f"render asks no cluster: give --{name}, or K8s({name}=...) in the tags of the functions"
            )
    given = settings.Settings(
        deployment,
        settings.check_namespace(place["namespace"] or "", "--namespace"),
        settings.check_registry(place["registry"] or "", "--registry"),
        drain,
    )
    written = manifests.write(folder, given, releases, content.apps)
    print(f"{folder}: {len(written)} files for {len(releases)} function{'s' * (len(releases) != 1)}")
    print(f"kubectl apply -k {shlex.quote(str(folder))}   (push the images first: './pants run deploy' does)")


def certificates(session: Session) -> None:
    """Make and renew what callers and functions show to one another, of the bundle if there is one, and of what serves."""
    shared = session.shared()
    if shared is None:
        raise ConfigurationError("certificates are of functions in a cluster: add --platform k8s")
    with session.alone("certificates"):
        wanted = {(one.function, one.version): one for one in session.state.current().releases().values()}
        if session.bundle is not None:
            wanted |= {(one.function, one.version): one for one in session.bundle.releases}
        lines = asyncio.run(shared[1].tend(list(wanted.values())))
    print("\n".join(lines) or f"no function of {session.settings.deployment!r} needs any")


def serve(
    session: Session, given: str | None, listen: Sequence[str]
) -> tuple[list[str], dict[str, str], Path]:
    """Return (argv, environment, working folder) that serve one function of the bundle in the foreground."""
    if session.settings.bundle is None:
        raise ConfigurationError(
            "serve needs --bundle DIR: './pants run path/to:functions#file.name' passes it"
        )
    bundle = bundles.read(session.settings.bundle, platform=local.KIND)
    releases = {release.function: release for release in bundle.releases}
    if given is None and len(releases) != 1:
        raise ConfigurationError(f"serve which one? The bundle has {', '.join(releases)}")
    release = releases[resolve(given, releases) if given is not None else next(iter(releases))]
    private_dir(session.folder)
    store.keep(bundle.images, session.store, release.image)
    platform = local.LocalPlatform(session.host())
    interrupt.run(platform.prepare([release]))
    return platform.foreground(release, listen)


def rollback(session: Session, view: View, given: str | None) -> None:
    """Go back: one function or app to its last other version, or all to the last generation with other versions."""
    with session.alone("rollback"):
        current = session.state.current()
        wanted, apps = _before(session.state, current, given)
        programs = session.app_platform()
        # A job that is there is left there; none is run again.
        there = {(one.app, one.version) for one in programs.apps()} if programs is not None else ()
        apps = {
            name: one for name, one in apps.items() if not one.is_job or (name, one.release.version) in there
        }
        pins = [pin for app in apps.values() for pin in app.pins]
        for one in [*wanted, *pins, *(app.release for app in apps.values())]:
            shared = session.platforms().shared(one.platform)
            if not store.has(session.store, one.image) and not (shared and shared.holds(one)):
                raise DeployError(
                    f"{one.function}: the image of {one.version[:10]} was pruned: deploy it again"
                )
        run_apps = _run_apps(session, view, lambda releases: None)
        run = _rollout(session, view).run(wanted, apps=apps, run_apps=run_apps)
        steps, generation = interrupt.run(run)
    view.close()
    _tell(session, steps, generation)


def down(session: Session, view: View, given: Sequence[str]) -> None:
    """Stop functions (all if none is given): out of the table first. State is kept."""
    if not session.folder.is_dir() and session.shared() is None:
        print(f"nothing is deployed as {session.settings.deployment!r}")
        return
    with session.alone("down"):
        interrupt.run(_down(session, view, given))


async def _down(session: Session, view: View, given: Sequence[str]) -> None:
    platforms = session.platforms()
    try:
        current = session.state.current()
    except DocumentError as error:
        if given:
            raise
        view.say(f"note: {error}")
        current = Generation()
    names = [resolve(one, current.serving) for one in given] or sorted(current.serving)
    left = current
    if names:
        view.say(f"stopping {', '.join(names)}")
        left = await stop_serving(
            session.state, platforms, current, names, retire_after=session.settings.retire_after
        )
    programs = None if given else session.app_platform()
    if programs is not None:
        for line in await programs.stop_apps():
            view.say(line)
        session.state.note_apps(current, left, {}, publisher(session.state, platforms))
    if not given:
        # And what no table names: a killed run may have left it.
        for kind in {*session.state.platforms(), *session.placed()}:
            await every(*(platforms[kind].stop(one) for one in platforms[kind].instances()))
    for name in names:
        print(f"{name}  stopped")
    rest = len(current.serving) - len(names)
    print(f"{rest} function{'' if rest == 1 else 's'} left in {session.state.routes}")


def destroy(session: Session, view: View) -> None:
    """Stop everything and remove all that the deployment keeps."""
    if not session.folder.is_dir() and session.shared() is None:
        print(f"nothing is deployed as {session.settings.deployment!r}")
        return
    with session.alone("destroy"):
        interrupt.run(_down(session, view, ()))
        platforms = session.platforms()
        size = files.size_of(session.folder)
        for kind in {*session.state.platforms(), *session.placed()}:
            platforms[kind].destroy()
        files.remove(session.folder)
        with contextlib.suppress(OSError):
            session.folder.parent.rmdir()
    print(f"removed {session.folder} ({_size(size)})")


def prune(session: Session, *, dry_run: bool) -> None:
    """Remove what neither the current generation nor a rollback from it needs."""
    if not session.folder.is_dir() and session.shared() is None:
        print(f"nothing is deployed as {session.settings.deployment!r}")
        return
    with session.alone("prune"):
        keep = session.state.kept()
        platforms = session.platforms()
        removed: list[Removal] = store.prune(session.store, [one.image for one in keep], dry_run=dry_run)
        for kind in {*session.state.platforms(), *session.placed()}:
            removed += platforms[kind].prune(keep, dry_run=dry_run)
    for one in removed:
        print(f"{one.what:14}  {_size(one.size):>9}  {one.path}")
    verb = "would free" if dry_run else "freed"
    print(
        f"{verb} {_size(sum(one.size for one in removed))} in {len(removed)} file{'s' * (len(removed) != 1)}"
    )


def export(session: Session, given: str, out: Path, tag: str | None) -> None:
    """Write a function's image as a tar that Docker and podman load."""
    # Importing it costs the compressor that only builds need.
    from turbolift.deploy.names import slug
    from turbolift.image.export import export as write

    _, serving = session.serving(given)
    release = serving.release
    tag = tag or f"{slug(release.function)}:{release.version[:12]}"
    write(session.store, release.image, tag, out)
    print(f"{out}: {release.function} {release.version[:10]} as {tag}")
    print(f"docker load -i {shlex.quote(str(out))}")


def _run_apps(
    session: Session, view: View, bring: Callable[[Sequence[Release]], object]
) -> Callable[[Sequence[App]], Awaitable[object]] | None:
    """Return what rolls apps out after a switch, where the platform runs any."""
    platform = session.app_platform()
    if platform is None:
        return None

    async def run(apps: Sequence[App]) -> None:
        for line in await platform.roll_out_apps(apps, bring, session.settings.ready_timeout):
            view.say(line)

    return run


def _rollout(session: Session, view: View) -> Rollout:
    settings = session.settings
    return Rollout(
        session.state,
        session.platforms(),
        view,
        ready_timeout=settings.ready_timeout,
        retire_after=settings.retire_after,
    )


def _before(state: State, current: Generation, given: str | None) -> tuple[list[Release], dict[str, App]]:
    """Return the releases that a rollback wants to serve, and the apps that it wants to run. Raises DeployError where
    there is nothing to go back to.

    A job is never gone back to: what it did is done.
    """
    releases, apps = current.releases(), dict(current.apps)
    if given is not None:
        name = resolve(given, {*releases, *current.before, *apps, *current.apps_before})
        if name in apps and apps[name].is_job:
            raise DeployError(
                f"app {name} is a job: it ran once at its version. Deploy another one", function=name
            )
        if name in current.before:
            releases[name] = current.before[name]
        elif name in current.apps_before:
            apps[name] = current.apps_before[name]
        else:
            raise DeployError(f"{name}: no earlier version of it is kept", function=name)
        return list(releases.values()), apps
    former = None if current.rollback is None else state.generation(current.rollback)
    if former is None:
        raise DeployError("there is no earlier generation to go back to: nothing was rolled out twice yet")
    jobs = {name: app for name, app in apps.items() if app.is_job}
    programs = {name: app for name, app in former.apps.items() if not app.is_job}
    return list(former.releases().values()), {**programs, **jobs}


def _tell(session: Session, steps: Sequence[Step], generation: Generation) -> None:
    """Say what was done, and how to use it."""
    shared = session.shared()
    where = f": {session.state.routes}" if shared is None else ""
    print(f"{summary(steps)}; route table {generation.number}{where}")
    retired = [step.function for step in steps if step.action is Action.RETIRED]
    if retired:
        print(f"retired (renamed, deleted or left out): {', '.join(retired)}")
    if not generation.serving:
        return
    if shared is not None:
        print("\n".join(shared[1].advice()))
        return
    siblings = len(list(session.folder.parent.glob("*/routes.json")))
    name = f"TURBOLIFT_DEPLOYMENT={session.settings.deployment} " if siblings > 1 else ""
    print(f"call it from here:   {name}TURBOLIFT=on ./pants run PATH/TO:APP")
    print(
        f"call it elsewhere:   TURBOLIFT=on TURBOLIFT_ROUTES={shlex.quote(str(session.state.routes))} COMMAND"
    )


def _size(size: int) -> str:
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size} B"
