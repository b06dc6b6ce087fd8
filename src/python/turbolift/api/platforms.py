# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Platforms: declarations of where a tagged function runs. Plain data; the programs that act on them are
elsewhere.

A platform of your own is any object with a ``kind`` and a ``describe()``::

    class Lambda:
        kind = "lambda"

        def __init__(self, region: str) -> None:
            self.region = region

        def describe(self) -> dict[str, object]:
            return {"kind": self.kind, "region": self.region}
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Protocol, final, runtime_checkable

from turbolift.errors import ConfigurationError

_DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


@runtime_checkable
class Platform(Protocol):
    """What ``@on`` takes: something that says its kind and describes itself as JSON."""

    @property
    def kind(self) -> str:
        """The platform's kind, as ``"k8s"``: what ``deploy`` finds the program for it by."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the declaration as a JSON object with ``"kind"`` in it."""
        ...


class _Declaration:
    """A frozen record: equal by its fields, hashable, with a repr that is the code to write it."""

    __slots__ = ()
    kind: ClassVar[str] = ""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"{type(self).__name__} is a frozen declaration; make a new one to change {name!r}"
        )

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is a frozen declaration")

    def _fields(self) -> dict[str, Any]:
        names: tuple[str, ...] = self.__slots__
        return {name: getattr(self, name) for name in names}

    def describe(self) -> dict[str, Any]:
        """Return the declaration as a JSON object."""
        return {"kind": self.kind, **self._fields()}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._fields() == self._fields()

    def __hash__(self) -> int:
        return hash((type(self), *self._fields().values()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._fields().items() if value is not None)
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._fields())


def _restore(cls: type[Any], fields: dict[str, Any]) -> Any:
    return cls(**fields)


def _replicas(platform: str, value: object) -> int:
    if type(value) is not int or value < 1:
        raise ConfigurationError(
            f"{platform}(max_scale_n={value!r}): it must be a whole number of replicas, 1 or more"
        )
    return value


def _label(platform: str, name: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and re.fullmatch(_DNS_LABEL, value)):
        return value
    raise ConfigurationError(
        f"{platform}({name}={value!r}): it must be a DNS label (a-z, 0-9 and -, 63 characters at most)"
    )


@final
class Local(_Declaration):
    """Processes on this machine, one a function, behind unix sockets: no cluster and no Docker."""

    __slots__ = ()
    kind = "local"


@final
class Docker(_Declaration):
    """Containers of the Docker engine, one a function."""

    __slots__ = ("network",)
    kind = "docker"
    network: str | None

    def __init__(self, *, network: str | None = None) -> None:
        """`network`: the name of an existing network to join; by default the engine's own."""
        if network is not None and (not isinstance(network, str) or not network or " " in network):
            raise ConfigurationError(f"Docker(network={network!r}): it must be the name of a network")
        object.__setattr__(self, "network", network)


@final
class K8s(_Declaration):
    """A Kubernetes cluster: a Deployment and a Service a function, scaled up to ``max_scale_n`` replicas."""

    __slots__ = ("context", "max_scale_n", "namespace")
    kind = "k8s"
    context: str | None
    max_scale_n: int
    namespace: str | None

    def __init__(
        self, max_scale_n: int = 1, *, namespace: str | None = None, context: str | None = None
    ) -> None:
        """`max_scale_n`: replicas of one function at most, unless its tag says otherwise. `namespace` and
        `context` (of the kubeconfig): what ``deploy`` uses unless its command line says otherwise."""
        if context is not None and (not isinstance(context, str) or not context):
            raise ConfigurationError(
                f"K8s(context={context!r}): it must be the name of a context of the kubeconfig"
            )
        object.__setattr__(self, "context", context)
        object.__setattr__(self, "max_scale_n", _replicas("K8s", max_scale_n))
        object.__setattr__(self, "namespace", _label("K8s", "namespace", namespace))
