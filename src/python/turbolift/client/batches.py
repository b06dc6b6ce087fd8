# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Calls of a map, many in one request where they are quick: each with its own result or error, as if sent alone."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from math import inf
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from turbolift.client.caller import Caller
from turbolift.client.metrics import outcome_of
from turbolift.client.pace import BYTES, Pace
from turbolift.client.pending import PendingCall
from turbolift.client.routes import Route
from turbolift.client.transport import (
    AnswerTooLargeError,
    BrokenError,
    LateError,
    NotSentError,
    Request,
    Response,
)
from turbolift.errors import DecodeError, TurboliftError
from turbolift.wire import (
    CONTRACT,
    DEADLINE,
    IDEMPOTENCY_KEY,
    JSON,
    PROBLEM,
    TRACEPARENT,
    current_deadline,
    current_trace,
    deadline_at,
    decode_body,
    encode_body,
    function_path,
    tracing,
    write_deadline,
)
from turbolift.wire.batch import (
    BATCH,
    CALL_HEAD,
    NOT_BEGUN,
    BatchAnswer,
    code_of,
    join_calls,
    pack_call,
    read_answers,
)
from turbolift.wire.problem import NOT_RUN, problem_kind

if TYPE_CHECKING:
    from turbolift.contract import Contract

ROW_BYTES = BYTES // 4
"""Bytes from which a call goes alone."""

GROWING = 4
"""Batches in flight while they grow: rows that wait a moment travel in larger ones."""

FIRST_LOOK = 0.02
"""Seconds for which other calls wait for the answer to a map's first one, which says how quick they are."""

LOOK_AGAIN = 32
"""Of calls that go alone since they are slow, one in so many is sent as a batch of one: its answer says how slow."""

GRACE = 0.1
"""Seconds past the deadline that a batch's answer is waited for: the server ends each late call by itself, and says so,
and what became of the others.
"""

Settle = Callable[[int, Any, Exception | None], None]
"""Told for each row, once: its number, and its result or error."""

Row = tuple[int, Iterable[Any]]

_NO_BATCHES = NOT_RUN | {"malformed", "payload-too-large", "not-found", "contract-mismatch"}
"""Kinds of problems after which none of a batch's calls ran."""


Sent = tuple[int, Iterable[Any], str, str, str, bytes]
"""A call that is in a batch: its number, its row, traceparent, key, content type and text."""


def may_batch() -> bool:
    """Return whether calls may share a request now: where they are traced, each has a span of its own, and goes alone."""
    return "opentelemetry.trace" not in sys.modules or tracing.tracer() is None


class Batches:
    """Calls one function for the rows of one map. For one event loop."""

    def __init__(
        self,
        caller: Caller,
        function: str,
        contract: Contract,
        *,
        timeout: float | EllipsisType | None = ...,
        idempotent: bool | None = None,
        pace: Pace | None = None,
        **options: Any,
    ) -> None:
        """`pace`: what is known of it; else the map's first call says. `options`: of rows that are called alone."""
        self._caller = caller
        self._function = function
        self._contract = contract
        self._timeout = timeout
        self._options = options
        self._idempotent = idempotent
        self.pace = pace or Pace()
        self._alone = 0
        self._off = False
        self.quick_result = contract.quick.result
        self.max_answer = caller.policy.max_answer
        self.answered = caller.health.answered
        self._first = 0.0
        self.wake: Callable[[], None] = lambda: None

    def size(self, running: int) -> int:
        """Return how many rows the next batch should have, beside `running` others; 0: to be asked again when one of
        them has ended, or ``wake`` is called.
        """
        if self._off:
            return 1
        size = self.pace.size
        if size:
            return 0 if self.pace.grows and running >= GROWING else size
        now = time.monotonic()
        if not self._first:
            self._first = now
            asyncio.get_running_loop().call_later(FIRST_LOOK, self._enough)
            return 1
        return 0

    def _enough(self) -> None:
        if not self.pace.size:
            self.pace.alone()
            self.wake()

    async def run(self, rows: Sequence[Row], settle: Settle) -> None:
        """Call for all `rows`, and settle each."""
        if len(rows) == 1 and self.pace.size:
            self._alone += 1
            if self._off or self._alone % LOOK_AGAIN:
                await self._one(*rows[0], settle)
                return
        await self._send(rows, settle)

    async def _send(self, rows: Sequence[Row], settle: Settle) -> None:
        """Call for all `rows`, in batches of the size that is right now."""
        while rows:
            size = self.pace.size
            if size == 1 and len(rows) > 1:
                await asyncio.gather(*(self._one(index, row, settle) for index, row in rows))
                return
            some = rows[:size] if size else rows
            again, deadline, rest = await self._batch(some, settle)
            if again:
                # Their time has been running.
                with deadline_at(deadline):
                    await self._send(again, settle)
            rows = [*rest, *rows[len(some) :]]

    async def _one(self, index: int, row: Iterable[Any], settle: Settle) -> None:
        """Call alone."""
        try:
            value = await self._caller.call(
                self._function,
                self._contract,
                tuple(row),
                {},
                timeout=self._timeout,
                idempotent=self._idempotent,
                **self._options,
            )
        except Exception as error:
            settle(index, None, error)
        else:
            settle(index, value, None)

    async def _batch(self, rows: Sequence[Row], settle: Settle) -> tuple[list[Row], float | None, list[Row]]:
        """Send the first of `rows` in one request; return those that the server has not begun with, their deadline, and
        the rows that were not sent.
        """
        caller, contract = self._caller, self._contract
        try:
            route = caller.way(self._function)
        except TurboliftError:
            route = None
        seconds, deadline = self._time(route)
        started = time.monotonic()
        if (
            route is None
            or route.contract != contract.digest
            or (deadline is not None and deadline <= started)
        ):
            # Alone, each says what is wrong.
            await asyncio.gather(*(self._one(index, row, settle) for index, row in rows))
            return [], deadline, []
        left = None if deadline is None else deadline - started
        sent, heads, size, rest = self._write(rows, left, settle)
        if not sent:
            if rest:
                self.pace.alone()
                await self._one(*rest[0], settle)
            return [], deadline, rest[1:]
        body = join_calls(heads, [call[-1] for call in sent])
        tally = caller.tally(self._function)
        running = len(sent)
        tally.in_flight += running

        def count(calls: int, outcome: str = "ok") -> None:
            nonlocal running
            running -= calls
            tally.in_flight -= calls
            tally.end(outcome, time.monotonic() - started, calls)

        lines = _lines(BATCH, contract.digest, *sent[0][2:4])
        answers = _Answers(self, sent, size, route, deadline, seconds, started, settle, count)
        request = Request(
            function_path(self._function),
            f"{lines}{write_deadline(left)}\r\n",
            [body],
            len(body),
            answers.feed,
        )
        try:
            try:
                response = await caller.transport.send(
                    route.endpoint,
                    request,
                    # Each answer may be as large as that to a call alone.
                    max_answer=caller.policy.max_answer * len(sent),
                    deadline=None if deadline is None else deadline + GRACE,
                    tls=route.tls,
                )
            except (LateError, NotSentError, BrokenError, AnswerTooLargeError) as error:
                self.pace.alone()
                await answers.end(error)
                return [], deadline, rest
            if response.status != 200 or response.headers.get("Content-Type") != BATCH:
                await self._not_a_batch(response, answers)
                return [], deadline, rest
            return await answers.whole(response.body), deadline, rest  # type: ignore[arg-type]
        finally:
            answers.cancel()
            # What was handed back, or cancelled, is no call that ended here.
            tally.in_flight -= running

    def _time(self, route: Route | None) -> tuple[float | None, float | None]:
        """Return the seconds that a call may take, and the deadline of one that is sent now."""
        seconds = (None if route is None else route.timeout) if self._timeout is ... else self._timeout
        deadline = current_deadline()
        if seconds is not None:
            own = time.monotonic() + seconds
            deadline = own if deadline is None else min(own, deadline)
        return seconds, deadline

    def _write(
        self, rows: Sequence[Row], left: float | None, settle: Settle
    ) -> tuple[list[Sent], list[bytes], int, list[Row]]:
        """Return what to send of `rows`, its heads, its size, and the rows that come after it."""
        contract, identifiers = self._contract, self._caller.identifiers
        quick, parent = contract.quick.call, current_trace()
        remaining = inf if left is None else max(left, 0.0)
        sent: list[Sent] = []
        heads: list[bytes] = []
        size = 0
        for at, (index, row) in enumerate(rows):
            try:
                args = tuple(row)
                text = quick(args, {})
                content_type = JSON
                if text is None:
                    payload = contract.encode_args(contract.bind(args, {}))
                    content_type, pieces = encode_body({"args": payload.json}, payload.parts)
                    text = b"".join(pieces)
            except Exception as error:
                settle(index, None, error)
                continue
            size += len(text) + CALL_HEAD
            if size > BYTES or len(text) > ROW_BYTES:
                return sent, heads, size - len(text) - CALL_HEAD, [(index, args), *rows[at + 1 :]]
            trace, key = identifiers(parent)
            code = 0 if content_type is JSON else code_of(content_type)
            heads.append(pack_call(key.encode(), trace.encode(), remaining, code, len(text)))
            sent.append((index, args, trace, key, content_type, text))
        return sent, heads, size, []

    async def _not_a_batch(self, response: Response, answers: _Answers) -> None:
        """The server's answer is to the request as a whole."""
        kind = ""
        content_type = response.headers.get("Content-Type", "")
        if content_type.startswith(PROBLEM):
            try:
                kind = problem_kind(decode_body(content_type, response.body)[0])
            except DecodeError:
                kind = ""
        self.pace.alone()
        if kind == "malformed":
            self._off = True  # a server from before there were batches
        await answers.end(None if kind in _NO_BATCHES else response)

    def pending(
        self,
        call: Sent,
        deadline: float | None,
        seconds: float | None,
        started: float,
    ) -> PendingCall:
        """Return a call of a batch, to be brought to its end as one that was sent alone."""
        _, _, trace, key, content_type, text = call
        return PendingCall(
            self._caller,
            self._function,
            self._contract,
            _lines(content_type, self._contract.digest, trace, key),
            [text],
            len(text),
            deadline,
            seconds,
            self._idempotent,
            started,
            key,
        )


class _Answers:
    """What becomes of the calls of one batch, as it comes."""

    def __init__(
        self,
        batches: Batches,
        sent: Sequence[Sent],
        size: int,
        route: Route,
        deadline: float | None,
        seconds: float | None,
        started: float,
        settle: Settle,
        count: Callable[..., None],
    ) -> None:
        """`count` is told how many have ended and, if not ``ok``, how."""
        self._batches = batches
        self._counted = count
        self._size = size
        self._route = route
        self._deadline = deadline
        self._seconds = seconds
        self._started = started
        self._settle = settle
        self._unanswered: dict[int, Sent] = dict(enumerate(sent))
        self._count = len(sent)
        self._not_begun: list[Row] = []
        self._held = b""
        self._fed = False
        self._spent = 0.0
        self._broken: DecodeError | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def feed(self, data: bytes) -> None:
        """Take a piece of the answer, and settle what is in it."""
        self._fed = True
        if self._broken is None:
            try:
                self._spent, answers, end = read_answers(self._held + data if self._held else data)
            except DecodeError as error:
                self._broken = error
                return
            self._held = (self._held + data)[end:]
            self._take(answers)

    def _take(self, answers: Iterable[BatchAnswer]) -> None:
        result, settle, unanswered = self._batches.quick_result, self._settle, self._unanswered
        limit = self._batches.max_answer
        good = 0
        for number, status, content_type, text in answers:
            call = unanswered.pop(number, None)
            if call is None:
                continue
            if status == 200 and content_type is JSON and len(text) <= limit:
                found = result(text)
                if found is not None:
                    good += 1
                    settle(call[0], found[0], None)
                    continue
            if status == NOT_BEGUN:
                self._not_begun.append(call[:2])
            elif len(text) > limit:
                self._go_on(call, AnswerTooLargeError(limit, len(text)))
            else:
                self._go_on(call, Response(status, {"Content-Type": content_type}, text))
        self._counted(good)

    async def whole(self, body: bytes) -> list[Row]:
        """Settle the rest, now that the answer is whole; return the rows that the server has not begun with."""
        if not self._fed:
            self.feed(body)
        begun = self._count - len(self._not_begun)
        if self._broken is not None or self._held:
            why = self._broken or "it ends too early"
            await self.end(BrokenError(f"the answer to a batch is broken: {why}"))
        else:
            self._batches.answered(self._route.endpoint)
            if begun:
                self._batches.pace.learn(begun, self._spent, max(self._size, len(body)))
            await self.end(BrokenError("the answer to a batch left it out"))
        return self._not_begun

    async def end(self, known: Response | Exception | None) -> None:
        """Go on with all calls without an answer: `known` is what became of the batch; None: they did not run."""
        for call in self._unanswered.values():
            self._go_on(call, known)
        self._unanswered.clear()
        if self._tasks:
            await asyncio.gather(*self._tasks)

    def cancel(self) -> None:
        """End what still goes on."""
        for task in self._tasks:
            task.cancel()

    def _go_on(self, call: Sent, known: Response | Exception | None) -> None:
        self._tasks.append(asyncio.ensure_future(self._one(call, known)))

    async def _one(self, call: Sent, known: Response | Exception | None) -> None:
        try:
            pending = self._batches.pending(call, self._deadline, self._seconds, self._started)
            value = await pending.run(self._route, known)
        except Exception as error:
            self._counted(1, outcome_of(error))
            self._settle(call[0], None, error)
        else:
            self._counted(1)
            self._settle(call[0], value, None)


def _lines(content_type: str, contract: str, trace: str, key: str) -> str:
    """Return the headers of a call, up to the value of the last one."""
    return (
        f"Content-Type: {content_type}\r\n{CONTRACT}: {contract}\r\n{TRACEPARENT}: {trace}\r\n"
        f"{IDEMPOTENCY_KEY}: {key}\r\n{DEADLINE}: "
    )
