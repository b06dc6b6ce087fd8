# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Calls that run beside others of their connection. A runner takes them without a task of their own, where nothing must be waited for
before: a task costs more than a quick call does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from turbolift.shim.log import log
from turbolift.shim.refusals import late
from turbolift.shim.servant import Answer, Received
from turbolift.shim.worker import Ticket
from turbolift.wire import IDEMPOTENCY_KEY, JSON

if TYPE_CHECKING:
    from turbolift.shim.dispatch import Dispatcher


class Posting(Protocol):
    """A runner that takes calls this way."""

    def post(self, ticket: Ticket) -> None:
        """Have a call run after the next ``flush``."""
        ...

    def flush(self) -> None:
        """Begin with what was posted."""
        ...

    def withdraw(self, ticket: Ticket) -> float | None:
        """Have a call not run, or ended, and nobody told; return since when it has held its slot, None where it has ended."""
        ...


class Posted(Ticket):
    """Attributes: ``key``, ``answer`` (None until there is one), ``late`` (its deadline has passed)."""

    __slots__ = ("_dispatcher", "_runner", "_started", "_tell", "answer", "key", "late")

    def __init__(
        self,
        dispatcher: Dispatcher,
        runner: Posting,
        body: bytes,
        remaining: float | None,
        trace: bytes,
        key: bytes,
        tell: Callable[[], None],
    ) -> None:
        """Post a call whose place and slot are taken. `tell` is called when it has its answer."""
        self._started = started = time.monotonic()
        super().__init__(
            JSON, body, None if remaining is None else started + remaining, trace, is_callers=True
        )
        self.answer: Answer | None = None
        self.late = False
        self._dispatcher = dispatcher
        self._runner = runner
        self.key = key
        self._tell = tell
        if self.deadline is not None:
            dispatcher.deadlines.add(self)
        runner.post(self)

    def cancel(self) -> None:
        """Its deadline has passed (Timed)."""
        self._withdraw()
        self._end(late(self._started), time.monotonic())

    def abandon(self) -> None:
        """Its caller is gone."""
        if self.answer is None:
            self.answer = _GIVEN_UP
            self._forget()
            self._withdraw()
            self._dispatcher.gate.leave()
            self._dispatcher.ended("cancelled", time.monotonic() - self._started, self.trace, self.key)

    def give_up(self) -> None:
        """Its caller does not want it any more, but is there for what comes after it."""
        self._forget()
        self._withdraw()
        self._end(_GIVEN_UP, time.monotonic())

    def settle(self, answer: Answer, began: float, now: float) -> None:
        """Take the answer (Ticket)."""
        self._dispatcher.freed(began, now)
        if self.answer is None:  # else it was given up when its worker had died, and nobody knew yet how
            self._forget()
            self._end(answer, now)

    def _forget(self) -> None:
        if self.deadline is not None:
            self._dispatcher.deadlines.drop(self)

    def _withdraw(self) -> None:
        began = self._runner.withdraw(self)
        if began is not None:
            self._dispatcher.freed(began, time.monotonic())

    def _end(self, answer: Answer, now: float) -> None:
        dispatcher = self._dispatcher
        dispatcher.gate.leave()
        dispatcher.ended(answer.outcome, now - self._started, self.trace, self.key)
        self.answer = dispatcher.completed(answer)
        self._tell()


class Dispatched:
    """A call that runs in a task. Attributes: ``key``, ``answer`` (None until there is one)."""

    __slots__ = ("_task", "_tell", "answer", "key")

    def __init__(
        self, dispatcher: Dispatcher, headers: Mapping[str, str], body: Received, tell: Callable[[], None]
    ) -> None:
        """`tell` is called when it has its answer."""
        self.answer: Answer | None = None
        self._tell = tell
        self.key = headers.get(IDEMPOTENCY_KEY, "").encode("utf-8", "surrogateescape")
        identity = dispatcher.served.identity
        self._task = asyncio.ensure_future(dispatcher.dispatch(identity, headers, body))
        self._task.add_done_callback(self._ended)

    def abandon(self) -> None:
        """Its caller is gone."""
        self._task.cancel()

    def give_up(self) -> None:
        """Its caller does not want it any more, but is there for what comes after it."""
        self._task.cancel()

    def _ended(self, task: asyncio.Task[Answer]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log(logging.ERROR, "internal error", error=repr(error))
        self.answer = _GIVEN_UP if task.cancelled() else _FAILED if error is not None else task.result()
        self._tell()


_GIVEN_UP = Answer(500, {"Content-Type": "text/plain"}, [b"the caller has given it up"], "cancelled")
_FAILED = Answer(500, {"Content-Type": "text/plain"}, [b"the server got itself in trouble"], "error")
