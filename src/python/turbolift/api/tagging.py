# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""``@on``: check what is tagged and how, at decoration time, and make a tagged function of it."""

from __future__ import annotations

import sys
from types import FunctionType

from turbolift.api.function import (
    AsyncDistributedFunction,
    DistributedFunction,
    SyncDistributedFunction,
)
from turbolift.api.lean import TYPE_CHECKING, overload
from turbolift.api.options import MAX_PAYLOAD, Options
from turbolift.errors import ConfigurationError, TaggingError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any, NoReturn

    from turbolift.api.kinds import Compress, Platform, Workers
    from turbolift.api.lean import P, R

# Flags of code objects (the inspect module has names for them, but costs more to import than all of this).
_GENERATOR = 0x20
_COROUTINE = 0x80 | 0x100
_ASYNC_GENERATOR = 0x200


class Tag:
    """What ``on(...)`` returns: the decorator."""

    def __init__(self, platform: Platform, options: dict[str, Any]) -> None:
        self._platform = platform
        self._options = options
        # Checked now as well as per function, so that a tag that is built by itself fails where it is
        # written.
        _options(platform, options, is_async=options.get("workers") is None)

    # What gives a coroutine matches the general overloads too; checkers take the first that fits.
    @overload
    def __call__(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self, fn: staticmethod[P, Coroutine[Any, Any, R]], /
    ) -> AsyncDistributedFunction[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, fn: staticmethod[P, R], /
    ) -> SyncDistributedFunction[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, fn: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncDistributedFunction[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SyncDistributedFunction[P, R]: ...
    def __call__(self, fn: Any, /) -> DistributedFunction[Any, Any]:
        """Tag `fn`. Raises TaggingError, naming file and line, where it cannot be distributed."""
        static = isinstance(fn, staticmethod)
        if isinstance(fn, staticmethod):
            fn = fn.__func__
        _check(fn, static)
        is_async = _is_async(fn)
        try:
            options = _options(self._platform, self._options, is_async=is_async)
        except ConfigurationError as error:
            raise ConfigurationError(f"{_where(fn)}: {fn.__qualname__}: {error}") from None
        kind = AsyncDistributedFunction if is_async else SyncDistributedFunction
        tagged: DistributedFunction[Any, Any] = kind(fn, self._platform, options, is_async=is_async)
        tagged._static = static
        return tagged


def on(
    platform: Platform,
    *,
    cpu: str | float | None = None,
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
) -> Tag:
    """Tag a function to be run on `platform`: ``@on(K8s(max_scale_n=10), cpu="500m", timeout=5.0)``.

    Off (``TURBOLIFT`` unset or ``off``) the function runs in process; with ``TURBOLIFT=on`` each call goes to
    the deployed function. It must stand at the top level of a module, or be a static method of a class that
    does.

    - `cpu`, `memory`: what one replica gets, as ``0.5`` or ``"500m"``, ``"256Mi"``.
    - `timeout`: seconds for one remote call, waiting for a slot included; None: no deadline.
    - `concurrency`: calls that run at once in one replica (64 on the loop, 8 threads, 2 processes).
    - `queue`: calls that may wait in one replica (128); past it a call is refused with Overloaded.
    - `max_scale_n`: replicas at most (the platform's, else 1).
    - `env`: environment variables of the deployed function.
    - `pure`: while a call runs, opening files for writing, sockets and subprocesses are refused in the
      deployed function.
    - `idempotent`: a call that may have run already can be sent again.
    - `workers`: where a call runs in its replica: ``"loop"`` (async functions always), ``"threads"`` (other
      functions unless said otherwise), ``"processes"`` (warm worker processes, for work that holds the GIL;
      the only kind whose calls end for certain when the deadline passes or the caller is gone).
    - `warm`: a function (or its ``"module:name"``) that is run once before a replica is ready.
    - `max_payload`: bytes of a request at most, as ``"64Mi"``; of one that is compressed, after unpacking.
    - `compress`: arguments and results of 64 KiB or more are compressed on the way (True: by zstd where both sides
      have it, else gzip).

    Raises ConfigurationError naming the option, and TaggingError naming file and line.
    """
    if isinstance(platform, FunctionType):
        _refuse(platform, "@on needs a platform: write @on(Local())")
    if isinstance(platform, type):
        raise ConfigurationError(f"@on({platform.__name__}): write @on({platform.__name__}())")
    kind = getattr(platform, "kind", None)
    if not isinstance(kind, str) or not kind or not callable(getattr(platform, "describe", None)):
        raise ConfigurationError(
            f"@on({platform!r}): no platform: it needs a 'kind' (a string) and a 'describe()' method, as "
            "Local(), Docker() and K8s() have"
        )
    return Tag(
        platform,
        {
            "cpu": cpu,
            "memory": memory,
            "timeout": timeout,
            "concurrency": concurrency,
            "queue": queue,
            "max_scale_n": max_scale_n,
            "env": env,
            "pure": pure,
            "idempotent": idempotent,
            "workers": workers,
            "warm": warm,
            "max_payload": max_payload,
            "compress": compress,
        },
    )


def _options(platform: Platform, options: dict[str, Any], *, is_async: bool) -> Options:
    scale = getattr(platform, "max_scale_n", 1)
    return Options(
        is_async=is_async, default_scale=scale if type(scale) is int and scale > 0 else 1, **options
    )


def _flags(fn: Any) -> int:
    """Return the code flags of `fn` and of what it wraps."""
    flags = 0
    seen: set[int] = set()
    while fn is not None and id(fn) not in seen:
        seen.add(id(fn))
        flags |= getattr(getattr(fn, "__code__", None), "co_flags", 0)
        fn = getattr(fn, "__wrapped__", None)
    return flags


def _is_async(fn: FunctionType) -> bool:
    return bool(_flags(fn) & _COROUTINE)


def _check(fn: Any, static: bool) -> None:
    if isinstance(fn, DistributedFunction):
        _refuse(fn.__wrapped__, f"{fn.__qualname__} is tagged already")
    if isinstance(fn, type):
        _refuse(fn, f"{fn.__qualname__} is a class: only functions and static methods can be tagged")
    if isinstance(fn, classmethod):
        _refuse(
            fn.__func__,
            f"{fn.__func__.__qualname__} is a class method: only static methods can be tagged; take out "
            "'cls' and write @staticmethod",
        )
    if not isinstance(fn, FunctionType):
        _refuse(
            fn,
            f"{type(fn).__name__} cannot be tagged: only functions (def, async def) and static methods can",
        )
    name = fn.__qualname__
    if fn.__name__ == "<lambda>":
        _refuse(fn, "a lambda has no name to be called by: write a function with def")
    if "<locals>" in name:
        captured = fn.__code__.co_freevars
        what = f" and captures {', '.join(captured)}" if captured else ""
        _refuse(
            fn,
            f"{name} is defined inside a function{what}: it has no importable name; move it to the top level "
            "of its module and pass what it needs as arguments",
        )
    if _flags(fn) & (_GENERATOR | _ASYNC_GENERATOR):
        _refuse(fn, f"{name} is a generator: a call has one result; return a list")
    code = fn.__code__
    first = code.co_varnames[0] if code.co_argcount else ""
    if "." in name and not static and first in ("self", "cls"):
        _refuse(
            fn,
            f"{name} is a method (its first parameter is {first!r}): only static methods can be tagged; take "
            f"out {first!r} and put @staticmethod above @on",
        )


def _where(fn: Any) -> str:
    code = getattr(fn, "__code__", None)
    if code is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _refuse(fn: Any, why: str) -> NoReturn:
    raise TaggingError(f"{_where(fn)}: {why}")
