# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""``Distributed``: the switch is on, and each call of a tagged function goes through the wire to this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from turbolift.api.function import take_over
from turbolift.api.switch import VARIABLE
from turbolift.client import Caller, Policy, Route
from turbolift.errors import ConfigurationError
from turbolift.testing.faults import Faults
from turbolift.testing.recorder import Call, Recorder, identity_of, sending
from turbolift.testing.servers import Servers
from turbolift.testing.transport import InProcessTransport

if TYPE_CHECKING:
    from typing import Self

    from turbolift.api import DistributedFunction
    from turbolift.client import RouteTable

REFUSED = 0.5
"""Seconds for which a call that is refused is tried again: in a test, only faults refuse, and nobody wants to wait."""


class Distributed:
    """Within it (``with``), tagged functions are distributed to servers in this process.

    Attributes: ``faults``. Servers start with the first call of their function, and end with this. It holds for the
    whole process, whatever thread or event loop calls.
    """

    def __init__(self, *functions: DistributedFunction[..., Any]) -> None:
        """`functions`: those that are distributed; none named: all. Raises TaggingError for one without a tag."""
        self.faults = Faults()
        self._recorder = Recorder()
        self._chosen: frozenset[str] | None = None
        self._functions: dict[str, DistributedFunction[..., Any]] = {}
        self._servers: Servers | None = None
        self._caller: Caller | None = None
        self._seconds: float | None = None
        self._before: Any = None
        self._switch: str | None = None
        if functions:
            self.only(*functions)

    def __enter__(self) -> Self:
        if self._servers is not None:
            raise RuntimeError("this Distributed is entered already: make another one")
        self._servers = Servers(self._functions.__getitem__)
        self._make_caller()
        self._switch = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = "on"
        self._before = take_over(self._call)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        take_over(self._before)
        if self._switch is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = self._switch
        assert self._servers is not None
        self._servers.close()

    @property
    def calls(self) -> list[Call]:
        """All calls that were distributed, in the order in which they began."""
        return self._recorder.calls()

    def calls_of(self, function: DistributedFunction[..., Any]) -> list[Call]:
        """Return the calls of `function`, in the order in which they began. Raises TaggingError without a tag."""
        return self._recorder.calls(identity_of(function))

    def clear(self) -> None:
        """Forget the calls so far, and take all faults away."""
        self._recorder.clear()
        self.faults.clear()

    def only(self, *functions: DistributedFunction[..., Any]) -> None:
        """From now on, distribute `functions` alone: others run in process, as if the switch were off. None named: all.

        Raises TaggingError for one without a tag.
        """
        self._chosen = frozenset(map(identity_of, functions)) or None

    def give_up_after(self, seconds: float) -> None:
        """Have calls that are refused, or told that the server is busy, tried again for `seconds` at most (for refused
        ones that is half a second at first, for the others the client's own ten).
        """
        if not seconds >= 0:
            raise ConfigurationError(f"give_up_after({seconds!r}): seconds, 0 or more")
        self._seconds = seconds
        if self._servers is not None:
            self._make_caller()

    def _make_caller(self) -> None:
        assert self._servers is not None
        policy = Policy(refused=REFUSED)
        if self._seconds is not None:
            policy = Policy(refused=self._seconds, busy=self._seconds)
        transport = InProcessTransport(self._servers, self.faults)
        tables: Any = _Table(self._functions)
        self._caller = caller = Caller(transport, tables, policy)
        self.faults.ended = caller.health.ailing.clear

    async def _call(
        self, function: DistributedFunction[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Make one call: what ``f(...)`` does while this is entered."""
        if self._chosen is not None and function.identity not in self._chosen:
            result = function.local(*args, **kwargs)
            return await result if function.is_async else result
        self._functions[function.identity] = function._base or function
        contract = function.contract
        call = self._recorder.begin(function, args, kwargs)
        token = sending.set(call)
        try:
            assert self._caller is not None
            call.result = await self._caller.call(
                function.identity, contract, args, kwargs, **function._overrides
            )
            return call.result
        except (Exception, asyncio.CancelledError) as error:
            call.error = error
            raise
        finally:
            call.done = True
            sending.reset(token)


class _Table:
    """The route table: the tag's own options, and an endpoint that is this process."""

    def __init__(self, functions: dict[str, DistributedFunction[..., Any]]) -> None:
        self._functions = functions

    def __call__(self) -> RouteTable:
        table: Any = self
        return table  # type: ignore[no-any-return]

    def route(self, identity: str) -> Route:
        """Return the route of a function that was called."""
        function = self._functions[identity]
        options = function.options
        return Route(
            version="0" * 64,
            endpoint=f"test://{identity}",
            contract=function.contract.digest,
            timeout=options.timeout,
            idempotent=options.idempotent,
        )


@contextmanager
def distribute(*functions: DistributedFunction[..., Any]) -> Iterator[Distributed]:
    """Distribute `functions` (none named: all tagged ones) within the block, through the wire, in this process.

    Gives the Distributed, which records calls and makes faults. Raises TaggingError for one without a tag.
    """
    with Distributed(*functions) as run:
        yield run
