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

from turbolift.api.lean import TYPE_CHECKING, final
from turbolift.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, ClassVar

    _Pairs = Mapping[str, str] | Iterable[tuple[str, str]]
    _Toleration = Mapping[str, str | int] | tuple[tuple[str, str | int], ...]

_DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_OBJECT = r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?"
_REGISTRY = r"[A-Za-z0-9][-.A-Za-z0-9]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"


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


def _is_whole(pattern: str, text: str) -> bool:
    import re  # dear, for programs whose platforms say nothing that needs it

    return re.fullmatch(pattern, text) is not None


def _restore(cls: type[Any], fields: dict[str, Any]) -> Any:
    return cls(**fields)


def _replicas(platform: str, value: object) -> int:
    if type(value) is not int or value < 1:
        raise ConfigurationError(
            f"{platform}(max_scale_n={value!r}): it must be a whole number of replicas, 1 or more"
        )
    return value


def _label(platform: str, name: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and _is_whole(_DNS_LABEL, value)):
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
    """A Kubernetes cluster: a Deployment and a Service a function, scaled up to ``max_scale_n`` replicas.

    What a pod may be given beyond a function's own options is named here, never spelled out: a secret's value
    is in no spec, no image and no manifest of turbolift's.
    """

    __slots__ = (
        "configs", "context", "max_scale_n", "min_scale_n", "namespace", "node_selector", "plaintext", "pull_secrets",
        "registry", "resources", "secrets", "tolerations",
    )  # fmt: skip
    kind = "k8s"
    configs: tuple[tuple[str, str], ...] | None
    context: str | None
    max_scale_n: int
    min_scale_n: int | None
    namespace: str | None
    node_selector: tuple[tuple[str, str], ...] | None
    plaintext: bool | None
    pull_secrets: tuple[str, ...] | None
    registry: str | None
    resources: tuple[tuple[str, str], ...] | None
    secrets: tuple[tuple[str, str], ...] | None
    tolerations: tuple[tuple[tuple[str, str | int], ...], ...] | None

    def __init__(
        self,
        max_scale_n: int = 1,
        *,
        min_scale_n: int | None = None,
        namespace: str | None = None,
        context: str | None = None,
        registry: str | None = None,
        secrets: _Pairs | None = None,
        configs: _Pairs | None = None,
        node_selector: _Pairs | None = None,
        tolerations: Iterable[_Toleration] | None = None,
        resources: Mapping[str, str | int] | Iterable[tuple[str, str | int]] | None = None,
        pull_secrets: Iterable[str] | None = None,
        plaintext: bool | None = None,
    ) -> None:
        """`max_scale_n`: replicas of one function at most, unless its tag says otherwise; `min_scale_n` (1): at
        least. `namespace`, `context` (of the kubeconfig) and `registry` (``host/prefix`` that images are pushed
        below): what ``deploy`` uses unless its command line says otherwise.

        `secrets` and `configs`: environment variables that the cluster fills in, as
        ``{"DB_PASSWORD": "database/password"}``: key ``password`` of the Secret (or ConfigMap) ``database``.
        `node_selector`, `tolerations`: as in a pod's spec. `resources`: extended ones, as
        ``{"nvidia.com/gpu": 1}``. `pull_secrets`: names of Secrets to pull images with.

        `plaintext`: calls come by plain HTTP, from whoever reaches the pods; otherwise they come over TLS, from callers
        with a certificate of the deployment's."""
        if context is not None and (not isinstance(context, str) or not context):
            raise ConfigurationError(
                f"K8s(context={context!r}): it must be the name of a context of the kubeconfig"
            )
        most = _replicas("K8s", max_scale_n)
        if min_scale_n is not None and (type(min_scale_n) is not int or min_scale_n < 1):
            raise ConfigurationError(
                f"K8s(min_scale_n={min_scale_n!r}): it must be a whole number of replicas, 1 or more"
            )
        if (min_scale_n or 1) > most:
            raise ConfigurationError(
                f"K8s(max_scale_n={most}, min_scale_n={min_scale_n}): max_scale_n must be at least min_scale_n"
            )
        if plaintext is not None and not isinstance(plaintext, bool):
            raise ConfigurationError(f"K8s(plaintext={plaintext!r}): it must be True or False")
        put = object.__setattr__
        put(self, "plaintext", plaintext or None)
        put(self, "configs", _references("configs", configs, "ConfigMap"))
        put(self, "context", context)
        put(self, "max_scale_n", most)
        put(self, "min_scale_n", min_scale_n)
        put(self, "namespace", _label("K8s", "namespace", namespace))
        put(self, "node_selector", _pairs("node_selector", node_selector))
        put(self, "pull_secrets", _names("pull_secrets", pull_secrets))
        put(self, "registry", _registry(registry))
        put(self, "resources", _resources(resources))
        put(self, "secrets", _references("secrets", secrets, "Secret"))
        put(self, "tolerations", _tolerations(tolerations))

    def describe(self) -> dict[str, Any]:
        """Return the declaration as a JSON object; what was not given beyond scale and place is left out."""
        fields = self._fields()
        always = {name: fields.pop(name) for name in ("context", "max_scale_n", "namespace")}
        told: dict[str, Any] = {"kind": self.kind, **always}
        for name, value in fields.items():
            if value is None:
                continue
            if name == "tolerations":
                told[name] = [dict(one) for one in value]
            elif name == "pull_secrets":
                told[name] = list(value)
            else:
                told[name] = dict(value) if isinstance(value, tuple) else value
        return told


def _given(name: str, value: object) -> tuple[tuple[Any, Any], ...] | None:
    """Return a mapping (or the pairs of one) as sorted pairs; None where there is nothing in it."""
    if value is None:
        return None
    try:
        pairs = dict(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise ConfigurationError(f"K8s({name}={value!r}): it must be a mapping") from None
    return tuple(sorted(pairs.items())) or None


def _pairs(name: str, value: object) -> tuple[tuple[str, str], ...] | None:
    pairs = _given(name, value)
    for key, text in pairs or ():
        if not isinstance(key, str) or not isinstance(text, str) or not key:
            raise ConfigurationError(f"K8s({name}=...): {key!r}: {text!r}: names and values must be strings")
    return pairs


def _references(name: str, value: object, kind: str) -> tuple[tuple[str, str], ...] | None:
    pairs = _pairs(name, value)
    for variable, reference in pairs or ():
        if not _is_whole(r"[A-Za-z_][A-Za-z0-9_]*", variable) or variable.startswith("TURBOLIFT"):
            raise ConfigurationError(
                f"K8s({name}=...): {variable!r} cannot be the name of an environment variable"
            )
        if not _is_whole(rf"{_OBJECT}/[-._a-zA-Z0-9]+", reference):
            raise ConfigurationError(
                f"K8s({name}=...): {variable}={reference!r}: write NAME/KEY of a {kind}, as 'database/password'"
            )
    return pairs


def _names(name: str, value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = (value,) if isinstance(value, str) else tuple(value)  # type: ignore[arg-type]
    for one in names:
        if not isinstance(one, str) or not _is_whole(_OBJECT, one):
            raise ConfigurationError(f"K8s({name}=...): {one!r} is no name of an object")
    return names or None


def _registry(value: object) -> str | None:
    if value is None or (isinstance(value, str) and _is_whole(_REGISTRY, value)):
        return value
    raise ConfigurationError(
        f"K8s(registry={value!r}): write HOST/PREFIX that images are pushed below, as 'registry.example/team'"
    )


def _resources(value: object) -> tuple[tuple[str, str], ...] | None:
    pairs = _given("resources", value)
    for name, amount in pairs or ():
        if not isinstance(name, str) or name in ("cpu", "memory") or "/" not in name:
            raise ConfigurationError(
                f"K8s(resources=...): {name!r} is no extended resource as 'nvidia.com/gpu'; cpu and memory are "
                "options of the tag"
            )
        if isinstance(amount, bool) or not _is_whole(r"[1-9][0-9]*", str(amount)):
            raise ConfigurationError(f"K8s(resources=...): {name}={amount!r}: it must be a whole number")
    return None if pairs is None else tuple((name, str(amount)) for name, amount in pairs)


def _tolerations(value: object) -> tuple[tuple[tuple[str, str | int], ...], ...] | None:
    if value is None:
        return None
    found = []
    for one in value:  # type: ignore[attr-defined]
        pairs = _given("tolerations", one) or ()
        unknown = {key for key, _ in pairs} - {"key", "operator", "value", "effect", "tolerationSeconds"}
        if unknown:
            raise ConfigurationError(
                f"K8s(tolerations=...): a toleration has no {sorted(map(str, unknown))[0]!r}"
            )
        found.append(pairs)
    return tuple(found) or None
