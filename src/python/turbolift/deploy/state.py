# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What a deployment remembers: its generations, and the route table that says which of them is current.

Files in the deployment's folder: ``routes.json`` (what callers read; its replacement is the moment of a
switch), ``generations/<n>.json`` (what the table of generation n stands for; written before it), ``blobs/``
(images), ``lock``, and what platforms keep there. A generation that no table ever named is what a killed run
left, and is overwritten by the next.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from turbolift import spec
from turbolift.deploy import files
from turbolift.deploy.platform import App, Instance, Release
from turbolift.errors import DeployError, DocumentError


@dataclass(frozen=True, slots=True)
class Serving:
    """A release and the instance that serves it."""

    release: Release
    instance: Instance


@dataclass(frozen=True, slots=True)
class Generation:
    """What one route table stands for.

    ``before`` holds each function's last other release (also that of a retired function), ``rollback`` the
    number of the last generation with other versions, ``created`` seconds since 1970. ``apps`` are those that run, by
    name, and ``apps_before`` the last other version of each.
    """

    number: int = 0
    serving: Mapping[str, Serving] = field(default_factory=dict)
    before: Mapping[str, Release] = field(default_factory=dict)
    rollback: int | None = None
    created: float = 0.0
    apps: Mapping[str, App] = field(default_factory=dict)
    apps_before: Mapping[str, App] = field(default_factory=dict)

    def releases(self) -> dict[str, Release]:
        """Return what is served, by function."""
        return {name: one.release for name, one in self.serving.items()}

    def versions(self) -> dict[str, tuple[str, str]]:
        """Return (version, platform) by function: equal ones are no rollout."""
        return {name: (one.release.version, one.release.platform) for name, one in self.serving.items()}


class State:
    """The state of one deployment on disk."""

    def __init__(self, folder: Path, deployment: str) -> None:
        self.folder = folder
        self.deployment = deployment
        self.routes = folder / "routes.json"

    def exists(self) -> bool:
        """Return whether anything was ever deployed."""
        return self.routes.is_file()

    def current(self) -> Generation:
        """Return the generation that the route table names; an empty one where there is none.

        Raises DocumentError where the table or its generation is broken.
        """
        if not self.exists():
            return Generation()
        number = self.table()["generation"]
        try:
            return self._read(int(number))
        except DocumentError as error:
            raise DocumentError(
                f"{error}. The route table {self.routes} is of this generation: './pants run deploy' makes "
                "both anew",
                source=error.source,
                path=error.path,
            ) from None

    def table(self) -> dict[str, Any]:
        """Return the route table. Raises DocumentError."""
        return spec.load("route-table", self.routes)

    def generation(self, number: int) -> Generation | None:
        """Return a kept generation, or None."""
        return self._read(number) if self._path(number).is_file() else None

    def last_number(self) -> int:
        """Return the highest number that was ever used, also by a run that was killed."""
        return max((int(path.stem) for path in self._path(0).parent.glob("[0-9]*.json")), default=0)

    def platforms(self) -> list[str]:
        """Return the kinds of platform that this deployment ever started something on."""
        return sorted(path.name for path in (self.folder / "platforms").glob("*"))

    def note_platform(self, kind: str) -> None:
        """Remember durably that something is about to be started on a platform."""
        path = self.folder / "platforms" / kind
        if not path.exists():
            files.private_dir(path.parent)
            path.touch(mode=0o600)
            files.sync_dir(path.parent)

    def kept(self) -> list[Release]:
        """Return every release that the current generation, or a rollback from it, needs."""
        current = self.current()
        former = None if current.rollback is None else self.generation(current.rollback)
        releases = [*current.before.values(), *_releases_of(current.apps_before)]
        for one in (current, former):
            if one is not None:
                releases += [*one.releases().values(), *_releases_of(one.apps)]
        return releases

    def switch(
        self,
        former: Generation,
        serving: Mapping[str, Serving],
        publish: Callable[[Mapping[str, bytes]], None] | None = None,
    ) -> Generation:
        """Make `serving` current instead of `former`: one new generation, then one new table. Returns the
        generation.

        `publish` is given all files of the new state, by name, before the table is replaced here: where it fails,
        nothing is switched.
        """
        changed = {
            name: (one.release.version, one.release.platform) for name, one in serving.items()
        } != former.versions()
        before = dict(former.before)
        for name, old in former.serving.items():
            new = serving.get(name)
            if new is None or new.release.version != old.release.version:
                before[name] = old.release
        for name, one in serving.items():
            if name in before and before[name].version == one.release.version:
                del before[name]
        number = max(former.number, self.last_number() if former.number == 0 else 0) + 1
        generation = Generation(
            number,
            dict(serving),
            before,
            (former.number or None) if changed else former.rollback,
            time.time(),
            former.apps,
            former.apps_before,
        )
        return self._make_current(generation, publish)

    def note_apps(
        self,
        former: Generation,
        current: Generation,
        apps: Mapping[str, App],
        publish: Callable[[Mapping[str, bytes]], None] | None = None,
    ) -> Generation:
        """Remember that `apps` run now. Where the run that began at `former` has switched no function, this makes a
        generation, to come back from; else it belongs to that of the switch.
        """
        if {name: one.release.version for name, one in apps.items()} == {
            name: one.release.version for name, one in current.apps.items()
        }:
            return current
        before = dict(current.apps_before)
        for name, old in current.apps.items():
            if name not in apps or apps[name].release.version != old.release.version:
                before[name] = old
        for name, one in apps.items():
            if name in before and before[name].release.version == one.release.version:
                del before[name]
        changed = replace(current, apps=dict(apps), apps_before=before)
        if current.number == former.number:
            changed = replace(
                changed, number=former.number + 1, rollback=former.number or None, created=time.time()
            )
        return self._make_current(changed, publish)

    def _make_current(
        self, generation: Generation, publish: Callable[[Mapping[str, bytes]], None] | None
    ) -> Generation:
        self._write(generation)
        table = _pretty(self._table(generation))
        if publish is not None:
            kept = [self._path(one) for one in (generation.number, generation.rollback) if one is not None]
            state = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in kept if path.is_file()}
            publish({self.routes.name: table, **state})
        files.write(self.routes, table)
        for path in self._path(0).parent.glob("[0-9]*.json"):
            if int(path.stem) not in (generation.number, generation.rollback):
                path.unlink()
        return generation

    def restore(self, state: Mapping[str, bytes] | None) -> None:
        """Make the state what `publish` was given once, perhaps on another machine; None: nothing is deployed."""
        here = {path.name: path for path in self._path(0).parent.glob("[0-9]*.json")}
        wanted = {name.partition("/")[2]: data for name, data in (state or {}).items() if "/" in name}
        if any(not re.fullmatch(r"[0-9]+\.json", name) for name in wanted):
            raise DeployError(f"the state of {self.deployment!r} was written by another turbolift")
        for name, data in wanted.items():
            path = self._path(0).with_name(name)
            if name not in here or path.read_bytes() != data:
                files.private_dir(path.parent)
                files.write(path, data)
        table = (state or {}).get(self.routes.name)
        if table is None:
            self.routes.unlink(missing_ok=True)
        elif not self.exists() or self.routes.read_bytes() != table:
            files.write(self.routes, table)
        for name, path in here.items():
            if name not in wanted:
                path.unlink(missing_ok=True)

    def _table(self, generation: Generation) -> dict[str, Any]:
        kinds = sorted({one.release.platform for one in generation.serving.values()})
        routes = {
            name: {
                "version": one.release.version,
                **one.instance.way(),
                "contract": one.release.contract,
                "timeout": one.release.options.get("timeout"),
                "idempotent": bool(one.release.options.get("idempotent", False)),
            }
            for name, one in sorted(generation.serving.items())
        }
        document = {
            "version": 1,
            "deployment": self.deployment,
            "platform": "+".join(kinds) or "none",
            "generation": generation.number,
            "routes": routes,
        }
        return spec.validate("route-table", document, source=f"{self.routes} (not written)")

    def _path(self, number: int) -> Path:
        return self.folder / "generations" / f"{number:06}.json"

    def _write(self, generation: Generation) -> None:
        document = {
            "version": 1,
            "generation": generation.number,
            "rollback": generation.rollback,
            "created": generation.created,
            "serving": {
                name: {"release": _release_json(one.release), "instance": _instance_json(one.instance)}
                for name, one in generation.serving.items()
            },
            "before": {name: _release_json(one) for name, one in generation.before.items()},
            "apps": _apps_json(generation.apps, generation),
            "apps_before": _apps_json(generation.apps_before, generation),
        }
        path = self._path(generation.number)
        files.private_dir(path.parent)
        files.write(path, _pretty(document))

    def _read(self, number: int) -> Generation:
        path = self._path(number)
        try:
            document = json.loads(path.read_text("utf-8"))
            if document["version"] != 1:
                raise DeployError(f"{path}: written by another turbolift (version {document['version']!r})")
            number = document["generation"]
            serving = {
                name: Serving(Release(**one["release"]), Instance(**one["instance"]))
                for name, one in document["serving"].items()
            }
            return Generation(
                number,
                serving,
                {name: Release(**one) for name, one in document["before"].items()},
                document["rollback"],
                document["created"],
                _apps(document.get("apps", {}), serving),
                _apps(document.get("apps_before", {}), serving),
            )
        except OSError as error:
            raise DocumentError(
                f"{path}: cannot read this generation: {error.strerror}", source=str(path)
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DocumentError(
                f"{path}: not a generation of a deployment: {error!r}", source=str(path)
            ) from None


def _release_json(one: Release) -> dict[str, Any]:
    return {
        "function": one.function,
        "version": one.version,
        "image": one.image,
        "platform": one.platform,
        "spec": one.spec,
    }


def _releases_of(apps: Mapping[str, App]) -> list[Release]:
    return [release for one in apps.values() for release in (one.release, *one.pins)]


def _apps_json(apps: Mapping[str, App], generation: Generation) -> dict[str, Any]:
    """Return apps as they are kept: of a pin that serves too its name is enough."""
    serving = generation.releases()
    return {
        name: {
            "release": _release_json(one.release),
            "pins": [
                pin.function if serving.get(pin.function) == pin else _release_json(pin) for pin in one.pins
            ],
        }
        for name, one in apps.items()
    }


def _apps(document: Mapping[str, Any], serving: Mapping[str, Serving]) -> dict[str, App]:
    return {
        name: App(
            Release(**one["release"]),
            tuple(serving[pin].release if isinstance(pin, str) else Release(**pin) for pin in one["pins"]),
        )
        for name, one in document.items()
    }


def _instance_json(one: Instance) -> dict[str, Any]:
    return {
        "id": one.id,
        "function": one.function,
        "version": one.version,
        "platform": one.platform,
        "endpoint": one.endpoint,
        **({"each": one.each} if one.each else {}),
    }


def _pretty(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"
