# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""From the headers and the body of a call to its answer. Knows HTTP's words, and no HTTP library."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import time
from collections.abc import Callable, Mapping
from math import inf
from sys import modules
from typing import TypeVar, cast

from turbolift.shim.batches import Batches
from turbolift.shim.codings import is_coded, packed, unpacked
from turbolift.shim.deadlines import Deadlines
from turbolift.shim.gate import DrainingError, FullError, Gate
from turbolift.shim.load import Served
from turbolift.shim.log import LOGGER
from turbolift.shim.memory import Known, Mark, Memory, Run, mark_of
from turbolift.shim.metrics import Metrics
from turbolift.shim.notes import Notes
from turbolift.shim.posted import Posted, Posting
from turbolift.shim.pressure import IDLE, JOINED_TIME, LAG, MARGIN, Pressure, switches
from turbolift.shim.refusals import late, not_ours, overloaded, too_large, too_late
from turbolift.shim.runners import Runner
from turbolift.shim.servant import USUAL, Answer, Received, problem_answer
from turbolift.wire import (
    CONTRACT,
    DEADLINE,
    IDEMPOTENCY_KEY,
    JSON,
    TRACEPARENT,
    VERSION,
    Problem,
    parse_deadline,
    tracing,
)
from turbolift.wire.aside import LARGE
from turbolift.wire.batch import BATCH
from turbolift.wire.context import begin_serving, end_serving, serving
from turbolift.wire.frames import Frames

T = TypeVar("T")


def _served(
    run: Callable[[str, Received], Answer],
    content_type: str,
    body: Received,
    deadline: float | None,
    traceparent: str | bytes | None,
) -> Answer:
    serving(deadline, traceparent)
    return run(content_type, body)


def _no_quick(body: bytes) -> bytes | Answer:
    raise NotImplementedError


def _served_quick(
    quick: Callable[[bytes], bytes | Answer],
    body: bytes,
    deadline: float | None,
    traceparent: str | bytes | None,
) -> bytes | Answer:
    serving(deadline, traceparent)
    return quick(body)


class Dispatcher:
    """Answers calls of one function. Cancelling a dispatch cancels the call, as far as its runner can.

    `version`: what the ``Turbolift-Version`` header of each answer says; "" for none.
    """

    def __init__(
        self, served: Served, gate: Gate, runner: Runner, metrics: Metrics, *, version: str = ""
    ) -> None:
        self.served = served
        self.gate = gate
        self.runner = runner
        self.metrics = metrics
        self.timeout = served.function.options.timeout
        self.max_payload = served.function.options.max_payload
        self._headers = {VERSION: version} if version else {}
        self.usual: Mapping[str, str] = {**USUAL, **self._headers}
        """The headers of a result without raw parts: always this very mapping."""
        self._inline = getattr(runner, "inline", None)
        self._quick: Callable[[bytes], bytes | Answer] = getattr(runner, "quick", _no_quick)
        self._posting = cast("Posting", runner) if hasattr(runner, "post") else None
        self._digest = served.contract.digest
        # What is not idempotent is never sent again once it may have run: there is nothing to remember.
        self._memory = Memory() if served.function.options.idempotent else None
        self._batches = Batches(self)
        self.deadlines = Deadlines()
        self._pressure = Pressure(gate)
        self._seen = 0.0
        self.since = inf
        """When what is read now cannot have come before; ``time.monotonic`` seconds."""
        self._idle = self._ended = 0.0
        self._switches = -1
        self._notes = Notes(served.identity)

    @property
    def is_inline(self) -> bool:
        """Whether calls are run one after the other, without waiting for anything."""
        return self._inline is not None

    def seen(self, when: float) -> float:
        """Note that a connection is read that was last read at `when` (``time.monotonic`` seconds): since then the loop has
        looked at all others, and had those read that had something. Return when what is read now cannot have come before.
        """
        if when > self._seen:
            self._seen = when
        return self._seen

    def took_long(self, read: float) -> bool:
        """Whether the calls that were read then have taken so long that their answers wait no more for each other."""
        return self._ended - read > JOINED_TIME

    def at_once(self, headers: Mapping[str, str], body: Received) -> Answer | None:
        """Answer a call of the function served here, if it needs no waiting: the same as ``dispatch``, but for its
        being a task.

        None: nothing was done, ``dispatch`` it.
        """
        if is_coded(headers) or len(body) >= LARGE:
            return None
        if headers.get("Content-Type") == BATCH and not isinstance(body, Frames):
            answer = self._batches.at_once(headers, body)
            return None if answer is None else self.completed(answer)
        theirs = headers.get(CONTRACT)
        if self._inline is None or (theirs is not None and theirs != self._digest):
            return None
        if self._memory is not None and isinstance(body, Frames):
            return None  # what it is known by must be taken before it runs
        key = headers.get(IDEMPOTENCY_KEY)
        if self._memory is not None and key is not None and self._memory.find(_bytes(key), time.monotonic()):
            return None
        given = headers.get(DEADLINE)
        try:
            remaining = self.timeout if given is None else parse_deadline(given)
        except ValueError:
            return None
        kind = headers.get("Content-Type", "")
        return self.whole(self.inline(kind, body, remaining, headers.get(TRACEPARENT), key))

    def whole(self, answer: T | bytes) -> T | Answer:
        """Return `answer`, or the whole of one of which that is the text."""
        return Answer(200, self.usual, [answer], "ok") if isinstance(answer, bytes) else answer

    def inline(
        self,
        content_type: str,
        body: Received,
        remaining: float | None,
        trace: str | bytes | None,
        key: str | bytes | None,
    ) -> bytes | Answer | None:
        """Answer a call whose contract is ours and whose deadline is `remaining` seconds from now, if it needs no
        waiting; None where it does. It was not sent before. Of a result of the usual form, the text alone is returned.
        """
        run = self._inline
        if run is None or not self.gate.is_open() or LOGGER.isEnabledFor(logging.DEBUG):
            return None
        # The first look of tracing.tracer(), without a call of it.
        if "opentelemetry.trace" in modules and tracing.tracer() is not None:
            return None
        started = time.monotonic()
        if started - self._ended > IDLE and self._switches != switches(self._switches):
            self._idle = started  # it has waited for something to read: all that had come was read
        lags = started - self.since > LAG and started - self._idle > LAG
        if lags and remaining is not None:
            # While others ran it has lain in the socket, for so long perhaps.
            lain = started - max(self.since, self._idle)
            if lain + self.metrics.mean_seconds() > MARGIN * remaining:
                self._ended = started
                self._switches = switches(0)
                said = f"calls have waited {lain:.3f} s to be read"
                refusal = overloaded(said, max(round(lain / 2, 3), 0.05))
                self.ended(refusal.outcome, 0.0, trace, key)
                return self.completed(refusal)
        deadline = None if remaining is None else started + remaining
        # As in a task, what the function does to the context is gone after it.
        context = contextvars.copy_context()
        answer: bytes | Answer
        if content_type == JSON and isinstance(body, bytes):
            answer = context.run(_served_quick, self._quick, body, deadline, trace)
        else:
            answer = context.run(_served, run, content_type, body, deadline, trace)
        self._ended = ended = time.monotonic()
        # After a long call others may lie there, and whoever takes the processor away now must not look like a rest.
        self._switches = switches(0) if lags or ended - started > IDLE else -1
        if self._memory is not None and key is not None:
            kept = Answer(200, USUAL, [answer], "ok") if isinstance(answer, bytes) else answer
            self._memory.keep(key if type(key) is bytes else _bytes(key), body, kept, ended)
        if isinstance(answer, bytes):
            self.metrics.observe_ok(ended - started)
            return answer
        self.ended(answer.outcome, ended - started, trace, key)
        return self.completed(answer)

    @property
    def posts(self) -> bool:
        """Whether calls can be posted."""
        return self._posting is not None

    def post(
        self,
        body: bytes,
        remaining: float | None,
        trace: bytes,
        key: bytes,
        tell: Callable[[], None],
    ) -> Posted | None:
        """Have a call run in a worker, with others beside it: it begins when ``flush`` is called, and `tell` is when it has its
        answer. Its contract is ours, its body JSON, its deadline `remaining` seconds from now. None where it must be dispatched.
        """
        runner = self._posting
        if runner is None or self._memory is not None or not self.gate.is_open():
            return None
        if LOGGER.isEnabledFor(logging.DEBUG) or tracing.tracer() is not None:
            return None
        if remaining is not None and (remaining <= 0 or self._pressure.is_hopeless(remaining)):
            return None
        self.gate.take()
        return Posted(self, runner, body, remaining, trace, key, tell)

    def flush(self) -> None:
        """Begin with the calls that were posted."""
        if self._posting is not None:
            self._posting.flush()

    def ended(self, outcome: str, seconds: float, trace: str | bytes | None, key: str | bytes | None) -> None:
        """Count a call that was answered without waiting."""
        self.metrics.observe(outcome, seconds)
        if outcome != "ok":
            self._notes.note(outcome, seconds, key, trace)

    def completed(self, answer: Answer) -> Answer:
        """Return `answer` with the headers that each has."""
        if answer.headers is USUAL:
            return Answer(200, self.usual, answer.body, "ok")
        headers = self._headers
        if not headers:
            return answer
        return answer._replace(headers={**answer.headers, **headers})

    async def dispatch(self, identity: str, headers: Mapping[str, str], body: Received) -> Answer:
        """Answer one call, or a batch of them. `headers` are looked up by the names that ``turbolift.wire`` has;
        `identity` is decoded.
        """
        if headers.get("Content-Type") == BATCH and not isinstance(body, Frames):
            return self.completed(await self._batches.dispatch(identity, headers, body))
        started = time.monotonic()
        outcome = "cancelled"
        try:
            tracer = tracing.tracer()
            if tracer is None:
                answer = await self._admit(identity, headers, body, started)
            else:
                key, trace = headers.get(IDEMPOTENCY_KEY), headers.get(TRACEPARENT)
                state = headers.get(tracing.TRACESTATE)
                with tracing.server_span(tracer, self.served.identity, key, trace, state) as span:
                    answer = await self._admit(identity, headers, body, started)
                    tracing.ended(span, answer.outcome, answer.status)
            outcome = answer.outcome
        finally:
            seconds = time.monotonic() - started
            self.metrics.observe(outcome, seconds)
            if outcome != "ok" or LOGGER.isEnabledFor(logging.DEBUG):
                self._notes.note(outcome, seconds, headers.get(IDEMPOTENCY_KEY), headers.get(TRACEPARENT))
        answer = self.completed(answer)
        if not is_coded(headers):
            return answer
        self.gate.hold()
        try:
            return await packed(headers, answer)
        finally:
            self.gate.leave()

    def too_large(self, size: int | None) -> Answer:
        """Return the answer to a body over the limit (`size` in bytes, None where it is not known)."""
        self.metrics.observe("payload-too-large", 0.0)
        return self.completed(too_large(size, self.max_payload))

    async def _admit(
        self, identity: str, headers: Mapping[str, str], body: Received, started: float
    ) -> Answer:
        refusal = not_ours(self.served, identity, headers)
        if refusal is not None:
            return refusal
        try:
            deadline = self._deadline(headers, started)
        except ValueError as error:
            return problem_answer(Problem("malformed", str(error)))
        if is_coded(headers):
            opened = await self._unpacked(headers, body, deadline)
            if isinstance(opened, Answer):
                return opened
            body = opened
        key = headers.get(IDEMPOTENCY_KEY)
        if self._memory is None or key is None:
            return await self._run(headers, body, started, deadline)
        return await self._remembered(self._memory, _bytes(key), headers, body, started, deadline)

    async def _unpacked(
        self, headers: Mapping[str, str], body: Received, deadline: float | None
    ) -> Received | Answer:
        started = time.monotonic()
        try:
            async with asyncio.timeout(None if deadline is None else deadline - started):
                return await unpacked(headers, body, self.max_payload)
        except TimeoutError:
            return late(started)

    async def _remembered(
        self,
        memory: Memory,
        key: bytes,
        headers: Mapping[str, str],
        body: Received,
        started: float,
        deadline: float | None,
    ) -> Answer:
        """Answer a call as when it was sent before: with the answer that was kept, or that of the run it is in."""
        while (run := memory.run(key)) is not None and run.given_up:
            await run.over()
        known = run or memory.find(key, started)
        if known is not None and known.mark != mark_of(body):
            return problem_answer(
                Problem(
                    "key-reused",
                    "the idempotency key is that of a call with other arguments: each call needs a key of its own",
                )
            )
        if isinstance(known, Known):
            return known.answer
        if run is None:
            run = Run(mark_of(body))
            # A task of its own: the caller's connection may break, and the call come again by another one.
            run.task = asyncio.create_task(self._run(headers, body, started, deadline, run))
            run.task.add_done_callback(functools.partial(self._ran, memory, key, body, run.mark))
            memory.begin(key, run)
            return await run.answer()
        try:
            async with asyncio.timeout(None if deadline is None else deadline - started):
                return await run.answer()
        except TimeoutError:
            return late(started)

    @staticmethod
    def _ran(memory: Memory, key: bytes, body: Received, mark: Mark, task: asyncio.Task[Answer]) -> None:
        memory.end(key)
        if not task.cancelled() and task.exception() is None:
            memory.keep(key, body, task.result(), time.monotonic(), mark)

    async def _run(
        self,
        headers: Mapping[str, str],
        body: Received,
        started: float,
        deadline: float | None,
        run: Run | None = None,
    ) -> Answer:
        """Admit a call and run it."""
        gate = self.gate
        left = None if deadline is None else deadline - time.monotonic()
        if not gate.draining and self._pressure.is_hopeless(left):
            return too_late(self.gate, self._pressure, left)
        try:
            gate.admit()
        except DrainingError:
            problem = Problem("draining", "this replica is shutting down", {"retry_after": 0})
            return problem_answer(problem, {"Retry-After": "0", "Connection": "close"})
        except FullError:
            said = f"{gate.concurrency} calls run and {gate.queue} wait"
            return overloaded(said, self._pressure.retry_after())
        tokens = begin_serving(deadline, headers.get(TRACEPARENT), tracing.served_trace())
        try:
            if deadline is None:
                return await self._enter(headers, body, None, run)
            return await self._in_time(headers, body, started, deadline, run)
        finally:
            end_serving(tokens)
            gate.leave()

    async def _in_time(
        self,
        headers: Mapping[str, str],
        body: Received,
        started: float,
        deadline: float,
        run: Run | None,
    ) -> Answer:
        """Wait for a slot and run, by the deadline. What cancels this otherwise goes on."""
        if deadline <= time.monotonic():
            return late(started)
        task = asyncio.current_task()
        assert task is not None
        cancelled = task.cancelling()
        watch = self.deadlines.watch(task, deadline)
        try:
            answer = await self._enter(headers, body, deadline, run)
        except asyncio.CancelledError:
            if self.deadlines.forget(watch) and task.cancelling() <= cancelled:
                return late(started)
            raise
        except BaseException:
            self.deadlines.forget(watch)
            raise
        self.deadlines.forget(watch)
        return answer

    def _deadline(self, headers: Mapping[str, str], started: float) -> float | None:
        """Return the deadline: what the caller says remains, else the tag's timeout."""
        given = headers.get(DEADLINE)
        if given is not None:
            left = parse_deadline(given)
            return None if left is None else started + left
        return started + self.timeout if self.timeout is not None else None

    def freed(self, began: float, now: float | None = None) -> None:
        """Free the slot of a call that began then, now that it is `now` (``time.monotonic`` seconds)."""
        self._pressure.learn((time.monotonic() if now is None else now) - began)
        self.gate.exit()

    async def _enter(
        self, headers: Mapping[str, str], body: Received, deadline: float | None, run: Run | None
    ) -> Answer:
        """Wait for a slot and run."""
        await self.gate.enter()
        began = time.monotonic()
        left = None if deadline is None else deadline - began
        if self._pressure.gives_way(left):
            self.gate.exit()
            return too_late(self.gate, self._pressure, left)
        if run is not None:
            run.stays = not self.runner.stops
        content_type = headers.get("Content-Type", "")
        return await self.runner.run(content_type, body, self.freed)


def _bytes(key: str | bytes) -> bytes:
    return key if isinstance(key, bytes) else key.encode("utf-8", "surrogateescape")
