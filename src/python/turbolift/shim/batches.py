# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Many calls in one request: each of them goes through the dispatcher as if it had come alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from turbolift.errors import DecodeError
from turbolift.shim.log import log
from turbolift.shim.servant import Answer, problem_answer
from turbolift.wire import (
    CONTRACT,
    DEADLINE,
    IDEMPOTENCY_KEY,
    JSON,
    TRACEPARENT,
    Problem,
    write_deadline,
)
from turbolift.wire.batch import BATCH, NOT_BEGUN, BatchCall, join_answers, read_calls
from turbolift.wire.frames import Buffer

if TYPE_CHECKING:
    from turbolift.shim.dispatch import Dispatcher

TURN = 0.01
"""Seconds for which the calls of one batch may hold the loop; the rest is given back, not begun, so that others, and
probes, have their turn.
"""

ENOUGH = 1024 * 1024
"""Bytes of answers after which no further call of a batch is begun on the loop."""

SOON = 0.02
"""Seconds within which calls that run beside each other are answered together; those that take longer come later."""

_BROKEN = (500, JSON, b"")
_GIVEN_BACK = (NOT_BEGUN, JSON, b"")
_BATCH_HEADERS = {"Content-Type": BATCH}

Ended = tuple[int, str, bytes]


class _More:
    """The answers to calls that run beside each other, as these end. Attribute ``running``: those that have not."""

    def __init__(self, tasks: dict[asyncio.Task[Ended], int], dispatcher: Dispatcher) -> None:
        self._numbers = tasks
        self.running = set(tasks)
        self._metrics = dispatcher.metrics
        self._function = dispatcher.served.identity
        self._started = time.monotonic()
        self._count = dispatcher.metrics.count

    async def within(self, seconds: float) -> bytes:
        """Wait for all, or for some time; return the answers to those that have ended."""
        done, self.running = await asyncio.wait(self.running, timeout=seconds)
        return self._answers(done)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.running:
            done, self.running = await asyncio.wait(self.running, return_when=asyncio.FIRST_COMPLETED)
            yield self._answers(done)

    def cancel(self) -> None:
        """Cancel the calls that have not ended (More)."""
        for task in self.running:
            task.cancel()

    def _answers(self, done: set[asyncio.Task[Ended]]) -> bytes:
        ended, numbers = [], []
        for task in sorted(done, key=self._numbers.__getitem__):
            numbers.append(self._numbers[task])
            if task.cancelled() or task.exception() is not None:
                why = "cancelled" if task.cancelled() else repr(task.exception())
                log(logging.ERROR, "internal error", function=self._function, error=why)
                ended.append(_BROKEN)
            else:
                ended.append(task.result())
        return join_answers(ended, self._spent(), numbers)

    def _spent(self) -> float:
        """Return the part of the time that these calls had, of all that ended since they came: what waits for others
        is not slow.
        """
        others = max(self._metrics.count - self._count, 1)
        return (time.monotonic() - self._started) * min(len(self._numbers) / others, 1.0)


class Batches:
    """Answers batches by means of a dispatcher."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def at_once(self, headers: Mapping[str, str], body: Buffer) -> Answer | None:
        """Answer a batch of calls that run on the loop, one after the other; None where they cannot: nothing was done."""
        dispatcher = self._dispatcher
        if not dispatcher.is_inline or headers.get(CONTRACT) != dispatcher.served.contract.digest:
            return None
        try:
            calls = read_calls(body)
        except DecodeError:
            return None
        inline = dispatcher.inline
        clock = time.monotonic
        started = now = clock()
        ended: list[Ended] = []
        size = 0
        for key, trace, remaining, kind, text in calls:
            spent = now - started
            if spent > TURN or size > ENOUGH:
                break
            if remaining is not None:
                remaining -= spent
                if remaining <= 0:
                    dispatcher.ended("deadline", spent, trace, key)
                    ended.append(_ended(_late(spent)))
                    continue
            answer = inline(kind, text, remaining, trace, key)
            if answer is None:
                if not ended:
                    return None
                break
            record = (200, JSON, answer) if isinstance(answer, bytes) else _ended(answer)
            size += len(record[2])
            ended.append(record)
            now = clock()
        ended += [_GIVEN_BACK] * (len(calls) - len(ended))
        return self._answer(ended, now - started)

    async def dispatch(self, identity: str, headers: Mapping[str, str], body: Buffer) -> Answer:
        """Answer a batch of calls that run beside each other."""
        answer = self.at_once(headers, body) if identity == self._dispatcher.served.identity else None
        if answer is not None:
            return answer
        try:
            calls = read_calls(body)
        except DecodeError as error:
            self._dispatcher.metrics.observe("malformed", 0.0)
            return problem_answer(Problem("malformed", f"the body is broken: {error}"))
        started = time.monotonic()
        contract = headers.get(CONTRACT)
        tasks = {
            asyncio.ensure_future(self._one(identity, contract, call, started)): number
            for number, call in enumerate(calls)
        }
        if not tasks:
            return self._answer([], 0.0)
        more = _More(tasks, self._dispatcher)
        try:
            first = await more.within(SOON)
        except BaseException:
            more.cancel()
            raise
        return Answer(200, _BATCH_HEADERS, [first], "ok", more if more.running else None)

    async def _one(self, identity: str, contract: str | None, call: BatchCall, started: float) -> Ended:
        key, trace, left, content_type, body = call
        headers = {
            "Content-Type": content_type,
            TRACEPARENT: trace.decode("ascii"),
            IDEMPOTENCY_KEY: key.decode("ascii"),
        }
        if contract is not None:
            headers[CONTRACT] = contract
        headers[DEADLINE] = write_deadline(None if left is None else left - (time.monotonic() - started))
        return _ended(await self._dispatcher.dispatch(identity, headers, body))

    def _answer(self, ended: list[Ended], seconds: float) -> Answer:
        return Answer(200, _BATCH_HEADERS, [join_answers(ended, seconds)], "ok")


def _late(spent: float) -> Answer:
    return problem_answer(
        Problem("deadline", f"its turn came after {spent:.3f} s, when the deadline had passed")
    )


def _ended(answer: Answer) -> Ended:
    body = answer.body
    text = body[0] if len(body) == 1 and type(body[0]) is bytes else b"".join(body)
    return answer.status, answer.headers["Content-Type"], text
