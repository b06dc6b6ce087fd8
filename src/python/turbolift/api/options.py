# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of a tag: checked when the decorator runs, described as the JSON that specs are made of."""

from __future__ import annotations

from types import FunctionType

from turbolift.api.lean import TYPE_CHECKING
from turbolift.errors import ConfigurationError

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

    from turbolift.api.kinds import Compress, Workers

INFINITY = float("inf")

MAX_PAYLOAD = 64 * 1024 * 1024
QUEUE = 128
_CONCURRENCY: dict[str, int] = {"loop": 64, "threads": 8, "processes": 2}

# Compiled when first used (re keeps them): most programs check a few tags and many check none.
_CPU = r"[1-9][0-9]*m|(?:0|[1-9][0-9]*)(?:\.[0-9]{1,3})?"
_MEMORY = r"([1-9][0-9]*)(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_IDENTITY = r"[^:\s]+:[^:\s]+"
_UNITS = {
    **{unit: 1000 ** (power + 1) for power, unit in enumerate(("k", "M", "G", "T", "P", "E"))},
    **{unit: 1024 ** (power + 1) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))},
}


class Options:
    """Checked options of one tag, with the defaults filled in. Frozen by convention; ``describe`` gives the
    JSON.
    """

    __slots__ = (
        "compress", "concurrency", "cpu", "env", "idempotent", "max_payload", "max_scale_n", "memory", "pure", "queue",
        "timeout", "warm", "workers",
    )  # fmt: skip

    cpu: str | None
    memory: str | None
    timeout: float | None
    concurrency: int
    queue: int
    max_scale_n: int
    env: Mapping[str, str]
    pure: bool
    idempotent: bool
    workers: Workers
    warm: str | None
    max_payload: int
    compress: Compress

    def __init__(
        self,
        *,
        is_async: bool,
        default_scale: int = 1,
        cpu: str | int | float | None = None,
        memory: str | int | None = None,
        timeout: float | None = None,
        concurrency: int | None = None,
        queue: int | None = None,
        max_scale_n: int | None = None,
        env: Mapping[str, str] | None = None,
        pure: bool = False,
        idempotent: bool = False,
        workers: Workers | None = None,
        warm: str | Callable[[], object] | None = None,
        max_payload: str | int = MAX_PAYLOAD,
        compress: Compress = False,
    ) -> None:
        """Check everything; raises ConfigurationError naming the option."""
        self.cpu = _cpu(cpu)
        self.memory = None if memory is None else _memory("memory", memory)[0]
        self.timeout = check_timeout(timeout)
        self.workers = _workers(workers, is_async)
        self.concurrency = _whole("concurrency", concurrency, _CONCURRENCY[self.workers], least=1)
        self.queue = _whole("queue", queue, QUEUE, least=0)
        self.max_scale_n = _whole("max_scale_n", max_scale_n, default_scale, least=1)
        self.env = _env(env)
        self.pure = _flag("pure", pure)
        self.idempotent = _flag("idempotent", idempotent)
        self.warm = _warm(warm)
        self.max_payload = _memory("max_payload", max_payload)[1]
        # Of callers alone: a server sees by each call what its caller takes, so no deployment depends on this.
        self.compress = check_compress(compress)

    def describe(self) -> dict[str, Any]:
        """Return the options as the JSON object of the describe document."""
        return {
            "cpu": self.cpu,
            "memory": self.memory,
            "timeout": self.timeout,
            "concurrency": self.concurrency,
            "queue": self.queue,
            "max_scale_n": self.max_scale_n,
            "env": dict(self.env),
            "pure": self.pure,
            "idempotent": self.idempotent,
            "workers": self.workers,
            "warm": self.warm,
            "max_payload": self.max_payload,
        }


def check_timeout(value: object) -> float | None:
    """Return seconds as a float, or None. Raises ConfigurationError for anything but a positive, finite
    number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < INFINITY:
        _refuse("timeout", value, "it must be a positive number of seconds, or None for no deadline")
    return float(value)


def check_compress(value: object) -> Compress:
    """Return how bodies are compressed. Raises ConfigurationError for anything else."""
    if not isinstance(value, bool) and value not in ("gzip", "zstd"):
        _refuse(
            "compress", value, "it must be True (by the best that both sides know), False, 'gzip' or 'zstd'"
        )
    return value


def check_size(option: str, value: object) -> int:
    """Return bytes. Raises ConfigurationError."""
    return _memory(option, value)[1]


def check_wait(value: object) -> float | None:
    """Return seconds as a float, or None. Raises ConfigurationError for anything but a finite number, 0 or more."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < INFINITY:
        _refuse("wait", value, "it must be a number of seconds, 0 or more, or None for the usual ones")
    return float(value)


def check_hedge(value: object) -> float | None:
    """Return seconds as a float, or None. Raises ConfigurationError for anything but a positive, finite number."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < INFINITY:
        _refuse("hedge", value, "it must be a positive number of seconds, or None for no second send")
    return float(value)


def _whole_match(pattern: str, text: str) -> re.Match[str] | None:
    import re  # dear, for programs whose tags say nothing that needs it

    return re.fullmatch(pattern, text)


def _refuse(option: str, value: object, rule: str) -> NoReturn:
    raise ConfigurationError(f"option {option}={value!r}: {rule}")


def _cpu(value: object) -> str | None:
    if value is None:
        return None
    text = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _whole_match(_CPU, text) or not text.strip("0.m"):
        _refuse("cpu", value, "it must be a number of cores as 0.5 or 2, or of thousandths as '500m'")
    return text


def _memory(option: str, value: object) -> tuple[str, int]:
    if type(value) is int and value > 0:
        return str(value), value
    found = _whole_match(_MEMORY, value) if isinstance(value, str) else None
    if found is None:
        _refuse(
            option,
            value,
            "it must be a number of bytes, as '256Mi', '1Gi' or '500M' (Ki Mi Gi Ti Pi Ei k M G T P E)",
        )
    return found[0], int(found[1]) * _UNITS.get(found[2] or "", 1)


def _whole(option: str, value: object, default: int, *, least: int) -> int:
    if value is None:
        return default
    if type(value) is not int or value < least:
        _refuse(option, value, f"it must be a whole number, {least} or more")
    return value


def _flag(option: str, value: object) -> bool:
    if not isinstance(value, bool):
        _refuse(option, value, "it must be True or False")
    return value


def _workers(value: object, is_async: bool) -> Workers:
    if value is None:
        return "loop" if is_async else "threads"
    if value not in ("loop", "threads", "processes"):
        _refuse("workers", value, "it must be 'loop', 'threads' or 'processes'")
    if is_async and value != "loop":
        _refuse("workers", value, "an async function runs on the event loop: leave it out, or say 'loop'")
    return value


def _env(value: object) -> dict[str, str]:
    if value is None:
        return {}
    from collections.abc import Mapping  # dear as well

    if not isinstance(value, Mapping):
        _refuse("env", value, "it must map names to strings")
    for name, text in value.items():
        if not isinstance(name, str) or not _whole_match(_VARIABLE, name):
            _refuse("env", value, f"{name!r} is no name of an environment variable")
        if name == "TURBOLIFT" or name.startswith("TURBOLIFT_"):
            _refuse("env", value, f"{name} is turbolift's own: deploy sets it")
        if not isinstance(text, str) or "\0" in text:
            _refuse("env", value, f"the value of {name} must be a string")
    return dict(value)


def _warm(value: object) -> str | None:
    if value is None or (isinstance(value, str) and _whole_match(_IDENTITY, value)):
        return value
    if (
        isinstance(value, FunctionType)
        and value.__qualname__.isidentifier()
        and value.__module__ != "__main__"
    ):
        return f"{value.__module__}:{value.__qualname__}"
    _refuse(
        "warm", value, "it must be a function at the top level of a module, or its name as 'module:function'"
    )
