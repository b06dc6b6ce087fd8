# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Which platforms there are: those in this package, and those that other distributions announce."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points

from turbolift.deploy.platform import Host, Platform
from turbolift.errors import ConfigurationError, DeployError

GROUP = "turbolift.platforms"

Factory = Callable[[Host], Platform]


def _local() -> Factory:
    from turbolift.deploy.local import LocalPlatform

    return LocalPlatform


def _docker() -> Factory:
    from turbolift.deploy.docker import DockerPlatform

    return DockerPlatform


def _k8s() -> Factory:
    try:
        from turbolift.deploy.k8s.platform import K8sPlatform
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"platform k8s needs the distribution {error.name!r}: pip install turbolift-runtime[deploy]"
        ) from None

    return K8sPlatform


# Each is imported when it is used: a platform may bring a heavy client library.
_OWN: dict[str, Callable[[], Factory]] = {"docker": _docker, "local": _local, "k8s": _k8s}


def known() -> list[str]:
    """Return the kinds that can be chosen now."""
    return sorted({*_OWN, *(one.name for one in _announced())})


def check(kinds: Iterable[tuple[str, str]]) -> None:
    """Check pairs of (function, kind). Raises ConfigurationError for a kind that no program is there for."""
    available = known()
    missing: dict[str, list[str]] = {}
    for function, kind in kinds:
        if kind not in available:
            missing.setdefault(kind, []).append(function)
    for kind, functions in missing.items():
        some = ", ".join(functions[:3]) + (f" and {len(functions) - 3} more" if len(functions) > 3 else "")
        why = (
            f"there is no platform {kind!r} here (a distribution may announce it by the entry point "
            f"group {GROUP!r})"
        )
        raise ConfigurationError(
            f"{some}: {why}. Pass --platform local to run on this machine, or set platform= of the "
            f"deployment; there is: {', '.join(available)}"
        )


def make(kind: str, host: Host) -> Platform:
    """Return the platform `kind` for the deployment `host`."""
    if kind in _OWN:
        return _OWN[kind]()(host)
    for one in _announced():
        if one.name == kind:
            return _load(one, host)
    check([(f"deployment {host.deployment!r}", kind)])
    raise AssertionError(kind)


def _announced() -> list[EntryPoint]:
    return list(entry_points(group=GROUP))


def _load(one: EntryPoint, host: Host) -> Platform:
    origin = (
        f"platform {one.name!r} ({one.value}, of {one.dist.name if one.dist else 'an unknown distribution'})"
    )
    try:
        factory = one.load()
    except Exception as error:
        raise DeployError(f"{origin} cannot be loaded: {type(error).__name__}: {error}") from error
    missing = [
        name
        for name in (
            "prepare",
            "start",
            "wait_ready",
            "health",
            "stop",
            "instances",
            "logs",
            "prune",
            "destroy",
        )
        if not callable(getattr(factory, name, None))
    ]
    if missing:
        raise DeployError(
            f"{origin} has no {', '.join(missing)}: see turbolift.deploy.platform.Platform for what it "
            "must have"
        )
    platform: Platform = factory(host)
    return platform
