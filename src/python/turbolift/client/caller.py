# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One call: encode, send within the deadline, decode or raise; what is not answered at first goes on in ``pending``."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable
from logging import DEBUG
from sys import modules
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from turbolift.client.health import Health
from turbolift.client.log import LOGGER, note_end
from turbolift.client.metrics import Tally, outcome_of
from turbolift.client.pending import PendingCall, path_of
from turbolift.client.policy import Policy
from turbolift.client.routes import SOURCE, Route, RouteTable
from turbolift.client.transport import (
    AnswerTooLargeError,
    BrokenError,
    LateError,
    NotSentError,
    Request,
    Response,
    Transport,
)
from turbolift.errors import ConnectError, TurboliftError
from turbolift.wire import (
    CONTRACT,
    DEADLINE,
    IDEMPOTENCY_KEY,
    JSON,
    TRACEPARENT,
    current_deadline,
    current_trace,
    encode_body,
    new_traceparent,
    tracing,
    write_deadline,
)
from turbolift.wire.aside import LARGE, aside
from turbolift.wire.frames import Buffer

if TYPE_CHECKING:
    from turbolift.contract import Contract


class Caller:
    """Calls functions through a transport, by a route table that is looked up for each try."""

    def __init__(
        self,
        transport: Transport,
        tables: Callable[[], RouteTable] | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.transport = transport
        self.tables = tables or SOURCE.table
        self.current = tables or SOURCE.current
        # Random digits for the next calls; a forked child has a caller of its own.
        self._digits: list[str] = []
        self.policy = policy or Policy()
        self.tallies: dict[str, Tally] = {}
        self.health = Health()
        self._patient: dict[float, Caller] = {}

    async def call(
        self,
        function: str,
        contract: Contract,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        timeout: float | EllipsisType | None = ...,
        idempotent: bool | None = None,
        compress: bool | str = False,
        max_answer: int | None = None,
        wait: float | None = None,
        hedge: float | None = None,
    ) -> Any:
        """Call `function` (an identity) and return its result, or raise what it raised.

        `timeout` (seconds; None for none) and `idempotent` override the route's, `wait` (seconds) the policy's times for
        what did not run; with `hedge` an idempotent call is sent a second time after so many seconds. A deadline inherited from
        the call that is being served here always holds. `compress`: large bodies, by the best coding or a named one;
        `max_answer`: bytes, else the policy's.
        """
        if wait is not None:
            return await self.patient(wait).call(
                function,
                contract,
                args,
                kwargs,
                timeout=timeout,
                idempotent=idempotent,
                compress=compress,
                max_answer=max_answer,
                hedge=hedge,
            )
        try:
            tally = self.tallies[function]
        except KeyError:
            tally = self.tally(function)
        trace, key = self.identifiers(current_trace())
        more = ""
        span = None
        outcome = "ok"
        began = time.monotonic()
        tally.in_flight += 1
        try:
            # The first look of tracing.tracer(), without a call of it.
            if "opentelemetry.trace" in modules and (tracer := tracing.tracer()) is not None:
                span = tracing.client_span(tracer, function, key, self._endpoint(function), trace)
                _, trace, state = span.__enter__()
                more = f"{tracing.TRACESTATE}: {state}\r\n" if state else ""
            route = self.current().route(function)
            health = self.health
            if route.replicas:
                route = health.choose(route, "", tally.in_flight)
            seconds = route.timeout if timeout is ... else timeout
            deadline = current_deadline()
            if seconds is not None:
                own = time.monotonic() + seconds
                deadline = own if deadline is None else min(own, deadline)
            body: list[Buffer]
            quick = contract.quick
            pieces = None
            if quick.has_lists and quick.is_heavy(args, kwargs):
                pieces = await aside(quick.later(args, kwargs))
            text = quick.call(args, kwargs) if pieces is None else None
            if text is not None:
                content_type, size = JSON, len(text)
                body = [text]
            elif pieces is not None:
                content_type, size = JSON, sum(map(len, pieces))
                body = [*pieces]
            else:
                payload = contract.encode_args(contract.bind(args, kwargs))
                content_type, body = encode_body({"args": payload.json}, payload.parts)
                size = sum(map(_size, body))
            transport = self.transport if not compress else self._compressed(compress)
            most = self.policy.max_answer if max_answer is None else max_answer
            lines = (
                f"{more}Content-Type: {content_type}\r\n{CONTRACT}: {contract.digest}\r\n{TRACEPARENT}: {trace}\r\n"
                f"{IDEMPOTENCY_KEY}: {key}\r\n{DEADLINE}: "
            )
            started = time.monotonic()
            known: Response | Exception | None = None
            if (
                route.contract == contract.digest
                and (deadline is None or deadline > started)
                and (not health.ailing or health.shut(route) is None)
                and hedge is None
            ):
                # The usual call: one try, and the answer to it.
                left = None if deadline is None else deadline - started
                request = Request(path_of(function), f"{lines}{write_deadline(left)}\r\n", body, size)
                try:
                    known = response = await transport.send(
                        route.endpoint,
                        request,
                        max_answer=most,
                        deadline=deadline,
                        tls=route.tls,
                    )
                except (LateError, NotSentError, BrokenError, AnswerTooLargeError) as error:
                    known = error
                else:
                    if (
                        response.status == 200
                        and response.headers.get("Content-Type") == JSON
                        and len(response.body) < LARGE
                    ):
                        found = quick.result(response.body)  # type: ignore[arg-type]
                        if found is not None:
                            if health.ailing:
                                health.answered(route.endpoint)
                            return found[0]
            call = PendingCall(
                self, function, contract, lines, body, size, deadline, seconds, idempotent, started, key
            )
            call.transport, call.max_answer = transport, most
            call.hedge = hedge
            if known is None and deadline is not None and deadline <= started:
                call.too_late("its deadline had passed before it was sent")
            return await call.run(route, known)
        except BaseException as error:
            outcome = outcome_of(error)
            if span is not None and not span.__exit__(type(error), error, error.__traceback__):
                span = None
            raise
        finally:
            spent = time.monotonic() - began
            tally.in_flight -= 1
            tally.end(outcome, spent)
            if span is not None:
                span.__exit__(None, None, None)
            if LOGGER.isEnabledFor(DEBUG):
                note_end(function, outcome, spent, key, trace)

    def _compressed(self, how: bool | str) -> Transport:
        from turbolift.client.compressed import CompressedTransport

        return CompressedTransport(self.transport, how)

    def tally(self, function: str) -> Tally:
        """Return where calls of `function` are counted."""
        return self.tallies.setdefault(function, Tally())

    def patient(self, seconds: float | None) -> Caller:
        """Return a caller that has all in common with this one, but that its calls try for `seconds` (None: as this one's)
        where nobody is there, or all are busy.
        """
        if seconds is None:
            return self
        found = self._patient.get(seconds)
        if found is None:
            found = copy.copy(self)
            found.policy = self.policy._replace(refused=seconds, busy=seconds)
            self._patient[seconds] = found
        return found

    def way(self, function: str) -> Route:
        """Return the route of `function` to one of its endpoints. Raises ConnectError where no call can be sent there now,
        or what the table does.
        """
        route = self.current().route(function)
        if route.replicas:
            route = self.health.choose(route, "", self.tally(function).in_flight)
        if self.health.ailing and self.health.shut(route) is not None:
            raise ConnectError(f"{route.endpoint} is left out for now", endpoint=route.endpoint)
        return route

    def _endpoint(self, function: str) -> str:
        try:
            return self.current().route(function).endpoint
        except TurboliftError:  # the call itself will say so
            return ""

    def identifiers(self, parent: str | None) -> tuple[str, str]:
        """Return a ``traceparent`` below `parent`, and an idempotency key."""
        try:
            digits = self._digits.pop()  # in one step, whatever other threads do
        except IndexError:
            text = random.randbytes(40 * 64).hex()
            digits = text[:80]
            self._digits += [text[at : at + 80] for at in range(80, len(text), 80)]
        if parent is not None:
            return new_traceparent(parent), digits[:32]
        return f"00-{digits[:32]}-{digits[32:48]}-01", digits[48:]


def _size(piece: Buffer) -> int:
    return memoryview(piece).nbytes
