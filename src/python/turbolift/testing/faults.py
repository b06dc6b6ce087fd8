# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Faults on demand: what a network and a cluster may do to a call, for the next tries or by a predicate."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from turbolift.errors import ConfigurationError
from turbolift.testing.recorder import Call, identity_of

if TYPE_CHECKING:
    from typing import Self

    from turbolift.api import DistributedFunction

Kind = Literal["delay", "refuse", "busy", "break_after_send", "lose_answer", "kill"]


class Fault:
    """A fault that waits for its tries. ``with faults.refuse(f, times=None):`` takes it away at the block's end.

    Attributes: ``kind``, ``function`` (identity; None: any), ``left`` (tries that it will still strike; None: all),
    ``struck`` (how many tries it struck), ``seconds`` (of ``delay``), ``retry_after`` (seconds, of ``busy``).
    """

    def __init__(
        self,
        owner: Faults,
        kind: Kind,
        function: str | None,
        times: int | None,
        when: Callable[[Call], bool] | None,
        *,
        seconds: float = 0.0,
        retry_after: float = 0.0,
    ) -> None:
        if times is not None and (type(times) is not int or times < 1):
            raise ConfigurationError(
                f"faults.{kind}(times={times!r}): a whole number, 1 or more, or None: always"
            )
        if not seconds >= 0 or not retry_after >= 0:
            raise ConfigurationError(f"faults.{kind}: seconds cannot be {seconds or retry_after!r}")
        self.kind: Kind = kind
        self.function = function
        self.left = times
        self.when = when
        self.seconds = seconds
        self.retry_after = retry_after
        self.struck = 0
        self._owner = owner

    def remove(self) -> None:
        """Take the fault away."""
        self._owner._remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self.remove()

    def __repr__(self) -> str:
        left = "always" if self.left is None else f"{self.left} to come"
        return f"<fault {self.kind} of {self.function or 'any function'}: struck {self.struck}, {left}>"


class Faults:
    """Makes faults. Each strikes `times` tries (1; None: all until it is removed) of `function` (None: of any), those
    alone for which ``when(call)`` is true, if that is given.

    A call that is sent again is another try: ``call.attempts`` are those before it. Raises TaggingError where
    `function` is not tagged.
    """

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self.ended: Callable[[], None] = lambda: None
        """Called when a fault is taken away: what it was like says nothing any more."""
        self._lock = threading.Lock()

    def delay(
        self,
        function: DistributedFunction[..., Any] | None = None,
        *,
        seconds: float,
        times: int | None = 1,
        when: Callable[[Call], bool] | None = None,
    ) -> Fault:
        """The request takes `seconds` to arrive; the call's deadline runs. Goes together with another fault."""
        return self._add("delay", function, times, when, seconds=seconds)

    def refuse(
        self,
        function: DistributedFunction[..., Any] | None = None,
        *,
        times: int | None = 1,
        when: Callable[[Call], bool] | None = None,
    ) -> Fault:
        """The connection is refused: nothing is sent, and the client tries again for a while, then raises
        ConnectError.
        """
        return self._add("refuse", function, times, when)

    def busy(
        self,
        function: DistributedFunction[..., Any] | None = None,
        *,
        retry_after: float = 0.0,
        times: int | None = 1,
        when: Callable[[Call], bool] | None = None,
    ) -> Fault:
        """All slots and the queue are full: the client tries again, after `retry_after` seconds at least, for a while,
        then raises Overloaded.
        """
        return self._add("busy", function, times, when, retry_after=retry_after)

    def break_after_send(
        self,
        function: DistributedFunction[..., Any] | None = None,
        *,
        times: int | None = 1,
        when: Callable[[Call], bool] | None = None,
    ) -> Fault:
        """The connection breaks once the request was sent, and the function does not run, which the caller cannot
        know: MaybeExecuted, or another try where the function is idempotent.
        """
        return self._add("break_after_send", function, times, when)

    def lose_answer(
        self,
        function: DistributedFunction[..., Any] | None = None,
        *,
        times: int | None = 1,
        when: Callable[[Call], bool] | None = None,
    ) -> Fault:
        """The function runs to its end, and its answer is lost with its server, so that nobody knows that it ran:
        MaybeExecuted, or another try, and so another run, where the function is idempotent.
        """
        return self._add("lose_answer", function, times, when)

    def kill(
        self,
        function: DistributedFunction[..., Any] | None = None,
        *,
        times: int | None = 1,
        when: Callable[[Call], bool] | None = None,
    ) -> Fault:
        """The server dies as the request arrives: this call does not run, calls of the same function that run in that
        moment break off (threads run on, unheard); the next try finds a fresh server.
        """
        return self._add("kill", function, times, when)

    def clear(self) -> None:
        """Take all faults away."""
        with self._lock:
            self._faults.clear()

    def _add(
        self,
        kind: Kind,
        function: object,
        times: int | None,
        when: Callable[[Call], bool] | None,
        **facts: float,
    ) -> Fault:
        identity = None if function is None else identity_of(function)
        fault = Fault(self, kind, identity, times, when, **facts)
        with self._lock:
            self._faults.append(fault)
        return fault

    def _remove(self, fault: Fault) -> None:
        with self._lock:
            if fault in self._faults:
                self._faults.remove(fault)
        self.ended()

    def strike(self, call: Call) -> list[Fault]:
        """Return what strikes the next try of `call`: any number of delays, and one other fault at most."""
        struck: list[Fault] = []
        with self._lock:
            for fault in list(self._faults):
                if fault.function is not None and fault.function != call.function:
                    continue
                if fault.kind != "delay" and any(other.kind != "delay" for other in struck):
                    continue
                if fault.when is not None and not fault.when(call):
                    continue
                fault.struck += 1
                struck.append(fault)
                if fault.left is not None:
                    fault.left -= 1
                    if not fault.left:
                        self._faults.remove(fault)
        return struck
