# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Tagged functions: awaited like a coroutine function, run in process or by a route."""

from __future__ import annotations

import sys
from types import FunctionType

from turbolift.api.lean import TYPE_CHECKING, Generic, P, R, cast, overload
from turbolift.api.options import (
    Options,
    check_compress,
    check_hedge,
    check_size,
    check_timeout,
    check_wait,
)
from turbolift.api.switch import is_distributed
from turbolift.errors import ConfigurationError, TaggingError, TurboliftError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
    from types import EllipsisType
    from typing import Any, Literal, Self

    from turbolift.api.kinds import Compress, Platform
    from turbolift.api.mapping import MapResults
    from turbolift.client import Caller
    from turbolift.client.batches import Batches
    from turbolift.contract import Contract

    Instead = Callable[
        ["DistributedFunction[..., Any]", tuple[Any, ...], dict[str, Any]], Coroutine[Any, Any, Any]
    ]

# The calling side, once it was needed: an import statement costs a little each time.
_default_caller: Callable[[], Caller] | None = None

_instead: Instead | None = None


def take_over(instead: Instead | None) -> Instead | None:
    """Have all remote calls made by `instead` (None: by their routes again), for turbolift.testing; return what did
    that before.
    """
    global _instead
    before, _instead = _instead, instead
    return before


class DistributedFunction(Generic[P, R]):
    """A function under ``@on``: ``await f(...)`` gives its result, wherever it runs.

    Attributes: ``identity`` (``module:qualname``), ``platform``, ``options``, ``contract`` (compiled when
    first asked for), ``__wrapped__`` (the function itself). To the ``inspect`` module it is a coroutine
    function with the original's name, signature and hints.
    """

    __name__: str
    __qualname__: str
    __wrapped__: Callable[P, Any]

    def __init__(self, fn: Callable[P, Any], platform: Platform, options: Options, *, is_async: bool) -> None:
        from functools import update_wrapper  # dear, for programs that tag nothing

        update_wrapper(self, fn)
        self.identity = f"{fn.__module__}:{fn.__qualname__}"
        self.platform = platform
        self.options = options
        self.is_async = is_async
        self._fn = fn
        self._base: DistributedFunction[P, R] | None = None
        self._overrides: dict[str, Any] = {"compress": options.compress} if options.compress else {}
        self._contract: Contract | None = None
        self._static = False
        self._become_coroutine_function()

    def _become_coroutine_function(self) -> None:
        fn = self._fn
        remote = self._remote
        if self.is_async:

            async def run(*args: Any, **kwargs: Any) -> Any:
                if is_distributed():
                    return await remote(args, kwargs)
                return await fn(*args, **kwargs)

        else:

            async def run(*args: Any, **kwargs: Any) -> Any:
                if is_distributed():
                    return await remote(args, kwargs)
                return fn(*args, **kwargs)

        # The coroutine takes its name from here: the warning for a forgotten await names the user's function.
        run.__name__ = fn.__name__
        run.__qualname__ = fn.__qualname__
        self._run = run
        # What inspect (3.11 to 3.13) and asyncio look at to tell a coroutine function.
        self.__code__ = run.__code__
        self.__defaults__ = getattr(fn, "__defaults__", None)
        self.__kwdefaults__ = getattr(fn, "__kwdefaults__", None)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Return a coroutine for the result: in process, or by the route where distribution is on."""
        return cast("Coroutine[Any, Any, R]", self._run(*args, **kwargs))

    def local(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call the original function here, whatever the switch says."""
        return self._fn(*args, **kwargs)

    def remote(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Return a coroutine for the result by the route, whatever the switch says."""

        async def run() -> R:  # what is wrong is raised where it is awaited
            return await self._remote(args, kwargs)

        return run()

    def call(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call and wait, for code without an event loop.

        Raises RuntimeError on a thread whose event loop is running: waiting would stop that loop, so
        ``await`` there.
        """
        from turbolift.api.blocking import refuse_in_loop, run_here

        refuse_in_loop(f"{self.__qualname__}.call()", f"await {self.__qualname__}(...)")
        if not is_distributed():
            result = self._fn(*args, **kwargs)
            return cast("R", run_here(result)) if self.is_async else result
        from turbolift.client import run_blocking

        try:
            return run_blocking(self._remote(args, kwargs))
        except RuntimeError as error:
            # A coroutine cannot raise StopIteration; a plain call can.
            if not self.is_async and isinstance(error.__cause__, StopIteration):
                raise error.__cause__ from error.__cause__.__cause__
            raise

    @overload
    def map(
        self,
        *iterables: Iterable[Any] | AsyncIterable[Any],
        concurrency: int = 32,
        ordered: bool = True,
        return_exceptions: Literal[False] = False,
    ) -> MapResults[R]: ...
    @overload
    def map(
        self,
        *iterables: Iterable[Any] | AsyncIterable[Any],
        concurrency: int = 32,
        ordered: bool = True,
        return_exceptions: bool,
    ) -> MapResults[R | Exception]: ...
    def map(
        self,
        *iterables: Iterable[Any] | AsyncIterable[Any],
        concurrency: int = 32,
        ordered: bool = True,
        return_exceptions: bool = False,
    ) -> MapResults[Any]:
        """Call once for each row of `iterables` (which may be endless, or asynchronous), `concurrency` at a
        time.

        ``await f.map(xs)`` gives the list of results; ``async for result in f.map(xs)`` gives them as they
        come, in order or, with ``ordered=False``, as soon as each is there. Input is read only as it is
        needed. The first error cancels the rest and is raised; with ``return_exceptions=True`` it takes the
        result's place.
        """
        from turbolift.api.mapping import MapResults, rows

        return MapResults(
            self,
            rows(iterables),
            concurrency,
            ordered,
            return_exceptions,
            f"{self.__qualname__}.map()",
            self._batches,
        )

    @overload
    def starmap(
        self,
        iterable: Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]],
        *,
        concurrency: int = 32,
        ordered: bool = True,
        return_exceptions: Literal[False] = False,
    ) -> MapResults[R]: ...
    @overload
    def starmap(
        self,
        iterable: Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]],
        *,
        concurrency: int = 32,
        ordered: bool = True,
        return_exceptions: bool,
    ) -> MapResults[R | Exception]: ...
    def starmap(
        self,
        iterable: Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]],
        *,
        concurrency: int = 32,
        ordered: bool = True,
        return_exceptions: bool = False,
    ) -> MapResults[Any]:
        """Like ``map``, where each item of `iterable` is the positional arguments of one call."""
        from turbolift.api.mapping import MapResults

        return MapResults(
            self,
            iterable,
            concurrency,
            ordered,
            return_exceptions,
            f"{self.__qualname__}.starmap()",
            self._batches,
        )

    def _batches(self) -> Batches | None:
        """Return what sends the rows of a map; None where each is awaited here, or fails."""
        if not is_distributed() or _instead is not None or self._fn.__module__ == "__main__":
            return None
        from turbolift.client import default_caller
        from turbolift.client.batches import Batches, may_batch

        if not may_batch():
            return None
        try:
            options = dict(self._overrides)
            caller = default_caller().patient(options.pop("wait", None))
            if options.pop("hedge", None) is not None:
                return None  # each is sent a second time by itself
            return Batches(caller, self.identity, self.contract, **options)
        except TurboliftError:
            return None

    def with_options(
        self,
        *,
        timeout: float | EllipsisType | None = ...,
        idempotent: bool | EllipsisType = ...,
        compress: Compress | EllipsisType = ...,
        max_answer: str | int | EllipsisType = ...,
        wait: float | EllipsisType | None = ...,
        hedge: float | EllipsisType | None = ...,
    ) -> Self:
        """Return the same function with other options for the calls made through it.

        `timeout`: seconds for one remote call (None: no deadline but an inherited one). `idempotent`: whether
        a call that may have run can be sent again. `wait`: seconds for which a call is tried again that did not run, since
        nobody was there or all were busy (0: it fails at once; None: as long as usual, ten seconds). `hedge`: seconds
        after which a call without an answer is sent a second time, to another server if there is one (None: never); the
        first answer wins. For idempotent functions only: any other one is refused with a ConfigurationError.
        `compress`: whether, or how, large arguments and results are
        compressed on the way. `max_answer`: bytes of a result at most, as ``"1Gi"`` (256 MiB).
        """
        overrides = dict(self._overrides)
        if timeout is not ...:
            overrides["timeout"] = check_timeout(timeout)
        if idempotent is not ...:
            if not isinstance(idempotent, bool):
                raise ConfigurationError(f"option idempotent={idempotent!r}: it must be True or False")
            overrides["idempotent"] = idempotent
        if compress is not ...:
            overrides["compress"] = check_compress(compress)
        if max_answer is not ...:
            overrides["max_answer"] = check_size("max_answer", max_answer)
        if wait is not ...:
            overrides["wait"] = check_wait(wait)
        if hedge is not ...:
            overrides["hedge"] = check_hedge(hedge)
        if overrides.get("hedge") is not None and not overrides.get("idempotent", self.options.idempotent):
            raise ConfigurationError(
                f"{_where(self._fn)}: option hedge={overrides['hedge']:g}: {self.__qualname__} is not idempotent, and a call "
                "that is sent twice may run twice: declare it @on(..., idempotent=True), or leave out hedge"
            )
        twin = type(self)(self._fn, self.platform, self.options, is_async=self.is_async)
        twin._base = self._base or self
        twin._overrides = overrides
        return twin

    @property
    def contract(self) -> Contract:
        """The contract of the parameters and the result. Raises UnsupportedTypeError naming file, line and
        parameter.
        """
        if self._base is not None:
            return self._base.contract
        if self._contract is None:
            from turbolift.contract import contract_of

            self._contract = contract_of(self._fn, owner=self._owner())
        return self._contract

    def _owner(self) -> type | None:
        """Return the class that the function is a static method of."""
        found: Any = sys.modules.get(self._fn.__module__)
        for part in self._fn.__qualname__.split(".")[:-1]:
            found = getattr(found, part, None)
        return found if isinstance(found, type) else None

    def _remote(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, R]:
        if _instead is not None:
            return _instead(self, args, kwargs)
        if self._fn.__module__ == "__main__":
            raise ConfigurationError(
                f"{_where(self._fn)}: {self._fn.__qualname__} is defined in the program that was started "
                "(__main__), so it has no importable name to be deployed under: move it into a module and "
                "import it from there"
            )
        global _default_caller
        if _default_caller is None:
            from turbolift.client import default_caller

            _default_caller = default_caller
        return _default_caller().call(self.identity, self.contract, args, kwargs, **self._overrides)

    def __set_name__(self, owner: type, name: str) -> None:
        if (
            not self._static
            and self._base is None
            and self._fn.__qualname__ == f"{owner.__qualname__}.{name}"
            and self._fn.__module__ == owner.__module__
        ):
            raise TaggingError(
                f"{_where(self._fn)}: {self._fn.__qualname__} is a method: only static methods can be "
                "tagged; put @staticmethod above @on"
            )

    def __reduce__(self) -> Any:
        # A tagged function is pickled as functions are: by its name, never by its content.
        if self._base is None:
            return self._fn.__qualname__
        return _restore, (self._base, self._overrides)

    def __repr__(self) -> str:
        return f"<turbolift function {self.identity} on {self.platform!r}; {self._runs()}>"

    def _runs(self) -> str:
        try:
            if not is_distributed():
                return "runs in process"
            from turbolift.client import where

            return where(self.identity)
        except TurboliftError as error:
            return f"cannot run: {error}"


class SyncDistributedFunction(DistributedFunction[P, R]):
    """A tagged ``def``."""

    def local(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the original function here, whatever the switch says; blocks like any call."""
        return cast("R", self._fn(*args, **kwargs))


class AsyncDistributedFunction(DistributedFunction[P, R]):
    """A tagged ``async def``."""

    def local(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Return the original function's coroutine, to be awaited here, whatever the switch says."""
        return cast("Coroutine[Any, Any, R]", self._fn(*args, **kwargs))


def _restore(base: DistributedFunction[..., Any], overrides: dict[str, Any]) -> DistributedFunction[..., Any]:
    return base.with_options(**overrides)


def _where(fn: Callable[..., Any]) -> str:
    if isinstance(fn, FunctionType):
        return f"{fn.__code__.co_filename}:{fn.__code__.co_firstlineno}"
    return fn.__module__
