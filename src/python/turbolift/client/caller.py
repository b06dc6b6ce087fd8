# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One call: encode, send within the deadline, send again where that is safe, decode or raise."""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import Callable
from logging import DEBUG
from sys import modules
from types import EllipsisType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from turbolift.client.log import LOGGER, note_again, note_end
from turbolift.client.metrics import Tally, outcome_of
from turbolift.client.policy import INSECURE, Policy
from turbolift.client.routes import SOURCE, Route, RouteTable
from turbolift.client.transport import (
    AnswerTooLargeError,
    BrokenError,
    InsecureError,
    LateError,
    NotSentError,
    Request,
    Response,
    Transport,
)
from turbolift.contract import Payload
from turbolift.errors import (
    ConnectError,
    ContractMismatchError,
    DeadlineExceeded,
    DecodeError,
    MaybeExecuted,
    PayloadTooLarge,
    TlsError,
    TurboliftError,
    WireError,
)
from turbolift.wire import (
    ATTEMPT,
    CONTRACT,
    DEADLINE,
    IDEMPOTENCY_KEY,
    JSON,
    PROBLEM,
    TRACEPARENT,
    current_deadline,
    current_trace,
    decode_body,
    encode_body,
    function_path,
    new_traceparent,
    problem_to_exception,
    tracing,
    write_deadline,
)
from turbolift.wire.frames import Buffer, Frames
from turbolift.wire.problem import NOT_RUN, problem_kind

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

    async def call(
        self,
        function: str,
        contract: Contract,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        timeout: float | EllipsisType | None = ...,
        idempotent: bool | None = None,
    ) -> Any:
        """Call `function` (an identity) and return its result, or raise what it raised.

        `timeout` (seconds; None for none) and `idempotent` override the route's. A deadline inherited from
        the call that is being served here always holds.
        """
        try:
            tally = self.tallies[function]
        except KeyError:
            tally = self.tally(function)
        trace, key = self.identifiers()
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
            seconds = route.timeout if timeout is ... else timeout
            deadline = current_deadline()
            if seconds is not None:
                own = time.monotonic() + seconds
                deadline = own if deadline is None else min(own, deadline)
            body: list[Buffer]
            text = contract.quick.call(args, kwargs)
            if text is not None:
                content_type, size = JSON, len(text)
                body = [text]
            else:
                payload = contract.encode_args(contract.bind(args, kwargs))
                content_type, body = encode_body({"args": payload.json}, payload.parts)
                size = sum(map(_size, body))
            lines = (
                f"{more}Content-Type: {content_type}\r\n{CONTRACT}: {contract.digest}\r\n{TRACEPARENT}: {trace}\r\n"
                f"{IDEMPOTENCY_KEY}: {key}\r\n{DEADLINE}: "
            )
            started = time.monotonic()
            known: Response | Exception | None = None
            if route.contract == contract.digest and (deadline is None or deadline > started):
                # The usual call: one try, and the answer to it.
                left = None if deadline is None else deadline - started
                request = Request(_path(function), f"{lines}{write_deadline(left)}\r\n", body, size)
                try:
                    known = response = await self.transport.send(
                        route.endpoint,
                        request,
                        max_answer=self.policy.max_answer,
                        deadline=deadline,
                        tls=route.tls,
                    )
                except (LateError, NotSentError, BrokenError, AnswerTooLargeError) as error:
                    known = error
                else:
                    if response.status == 200 and response.headers.get("Content-Type") == JSON:
                        found = contract.quick.result(response.body)  # type: ignore[arg-type]
                        if found is not None:
                            return found[0]
            call = PendingCall(
                self, function, contract, lines, body, size, deadline, seconds, idempotent, started, key
            )
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

    def tally(self, function: str) -> Tally:
        """Return where calls of `function` are counted."""
        return self.tallies.setdefault(function, Tally())

    def _endpoint(self, function: str) -> str:
        try:
            return self.current().route(function).endpoint
        except TurboliftError:  # the call itself will say so
            return ""

    def identifiers(self) -> tuple[str, str]:
        """Return a ``traceparent`` below the current one, and an idempotency key."""
        try:
            digits = self._digits.pop()  # in one step, whatever other threads do
        except IndexError:
            text = random.randbytes(40 * 64).hex()
            digits = text[:80]
            self._digits += [text[at : at + 80] for at in range(80, len(text), 80)]
        parent = current_trace()
        if parent is not None:
            return new_traceparent(parent), digits[:32]
        return f"00-{digits[:32]}-{digits[32:48]}-01", digits[48:]


class PendingCall:
    """The state of one call over its tries."""

    endpoint = ""
    last: Exception | None = None
    tries = 0
    resent = 0

    def __init__(
        self,
        caller: Caller,
        function: str,
        contract: Contract,
        lines: str,
        body: list[Buffer],
        size: int,
        deadline: float | None,
        seconds: float | None,
        idempotent: bool | None,
        started: float,
        key: str,
    ) -> None:
        self.key = key
        self.caller = caller
        self.transport = caller.transport
        self.tables = caller.tables
        self.policy = caller.policy
        self.function = function
        self.contract = contract
        self.lines = lines
        self.body = body
        self.size = size
        self.deadline = deadline
        self.seconds = seconds
        self.idempotent = idempotent
        self.started = started
        self.path = _path(function)

    async def run(self, route: Route, known: Response | Exception | None) -> Any:
        """Try until there is a result or an error to raise; `known` is what became of the first try by `route`, where
        that was made.
        """
        while True:
            self.endpoint = route.endpoint
            if route.contract != self.contract.digest:
                raise ContractMismatchError(
                    f"{self.function} at {self.endpoint} was deployed with another signature than the one "
                    "called here: "
                    f"ours is {self.contract.digest}, theirs {route.contract}; deploy again with "
                    "'./pants run deploy'",
                    function=self.function,
                    endpoint=self.endpoint,
                    ours=self.contract.digest,
                    theirs=route.contract,
                )
            try:
                self.tries += 1
                # Said even where there is none: without the header the tag's own timeout holds, for foreign
                # callers.
                deadline = self.deadline
                left = None if deadline is None else deadline - time.monotonic()
                if known is None:
                    lines = f"{self.lines}{write_deadline(left)}\r\n"
                    if self.resent:
                        lines += f"{ATTEMPT}: {self.resent + 1}\r\n"
                    request = Request(self.path, lines, self.body, self.size)
                    response = await self.transport.send(
                        route.endpoint,
                        request,
                        max_answer=self.policy.max_answer,
                        deadline=deadline,
                        tls=route.tls,
                    )
                elif isinstance(known, Exception):
                    raise known
                else:
                    response = known
            except LateError:
                self.too_late(None)
            except NotSentError as error:
                self.last = self.unreachable(error)
                wait, window = 0.0, self.policy.refused
                if isinstance(error, InsecureError) and error.reason != "handshake":
                    # Certificates that do not fit seldom mend themselves; a kubelet may show one a moment late.
                    window = min(window, INSECURE)
            except BrokenError as error:
                self.last = self.maybe(f"the connection to {self.endpoint} broke ({error})")
                self.resend_or_raise(route)
                wait, window = 0.0, self.policy.refused
            except AnswerTooLargeError as error:
                raise PayloadTooLarge(
                    f"{self.function}: the answer of {self.endpoint} is larger than the limit of {error.limit} bytes",
                    function=self.function,
                    endpoint=self.endpoint,
                    size=error.size,
                    limit=error.limit,
                ) from None
            else:
                if response.status == 200 and response.headers.get("Content-Type") == JSON:
                    found = self.contract.quick.result(response.body)  # type: ignore[arg-type]
                    if found is not None:
                        return found[0]
                answer = self.read(response)
                if not isinstance(answer, _Again):
                    return answer.value
                self.last = answer.error
                if isinstance(answer.error, MaybeExecuted):
                    self.resend_or_raise(route)
                wait, window = answer.retry_after, self.policy.busy
            known = None
            route = await self.next_route(route, wait, window)
            self.note_resend()

    def note_resend(self) -> None:
        """Count, trace and log that the call is sent again."""
        assert self.last is not None
        self.caller.tallies[self.function].resent += 1
        tracing.note_resend(self.last)
        note_again(self.function, self.tries, self.key, self.last)

    def read(self, response: Response) -> _Value | _Again:
        content_type = response.headers.get("Content-Type", "")
        if response.status == 200:
            tree, parts = self.decode(content_type, response)
            if not isinstance(tree, dict) or tree.keys() != {"result"}:
                self.not_turbolift(response)
            return _Value(self.contract.decode_result(Payload(tree["result"], parts)))
        if not content_type.startswith(PROBLEM):
            self.not_turbolift(response)
        document, _ = self.decode(content_type, response)
        kind = problem_kind(document)
        if not kind:
            self.not_turbolift(response)
        error = problem_to_exception(
            document, function=self.function, endpoint=self.endpoint, timeout=self.seconds
        )
        if kind in NOT_RUN or kind == "worker-died":
            return _Again(error, getattr(error, "retry_after", None) or 0.0)
        raise error

    def decode(self, content_type: str, response: Response) -> tuple[Any, Any]:
        try:
            return decode_body(content_type, response.body)
        except DecodeError:
            self.not_turbolift(response)

    async def next_route(self, route: Route, retry_after: float, window: float) -> Route:
        """Wait, and return the route to try next; raises the last error where trying has gone on for long
        enough.
        """
        assert self.last is not None
        if self.moved(route) is None:
            # 20 ms, 40 ms ... with full jitter above half; what the server asks for is the least.
            pause = min(self.policy.first * 2 ** (self.tries - 1), self.policy.longest)
            pause = max(pause * random.uniform(0.5, 1.0), retry_after * random.uniform(1.0, 1.25))
            if time.monotonic() + pause - self.started > window:
                raise self.last
            await self.sleep(pause)
        elif self.tries > 1:
            # Two tables that take turns must not make a busy loop.
            await self.sleep(self.policy.first * random.uniform(0.5, 1.0))
        return self.moved(route) or route

    async def sleep(self, seconds: float) -> None:
        if self.deadline is None:
            await asyncio.sleep(seconds)
            return
        left = self.deadline - time.monotonic()
        await asyncio.sleep(min(seconds, left))
        if left <= seconds:
            self.too_late(None)

    def moved(self, route: Route) -> Route | None:
        """Return the route where the table has another one than `route` by now; a table that is gone is no
        news.
        """
        try:
            now = self.tables().route(self.function)
        except TurboliftError:
            return None
        return now if now.endpoint != route.endpoint else None

    def resend_or_raise(self, route: Route) -> None:
        assert self.last is not None
        again = route.idempotent if self.idempotent is None else self.idempotent
        if not again or self.resent >= self.policy.resends:
            raise self.last
        self.resent += 1
        # What may have run for a while says nothing about how long the endpoint has been out of reach.
        self.started = time.monotonic()

    def unreachable(self, error: NotSentError) -> ConnectError:
        said = f"{self.function}: cannot reach {self.endpoint}: {error}; the function did not run."
        if isinstance(error, InsecureError):
            return TlsError(said, function=self.function, endpoint=self.endpoint, reason=error.reason)
        return ConnectError(
            f"{said} Is it deployed? See './pants run deploy -- status'",
            function=self.function,
            endpoint=self.endpoint,
        )

    def maybe(self, what: str) -> MaybeExecuted:
        return MaybeExecuted(
            f"{self.function}: {what} after the request was sent: it may or may not have run. Declare it "
            "idempotent=True to have it sent again",
            function=self.function,
            endpoint=self.endpoint,
        )

    def too_late(self, what: str | None) -> NoReturn:
        if what is None:
            after = time.monotonic() - self.started
            what = f"no result within {self.seconds if self.seconds is not None else round(after, 3)} s"
            if self.last is not None:
                what += f"; the last of {self.tries} tries: {self.last}"
        raise DeadlineExceeded(
            f"{self.function}: {what}", function=self.function, endpoint=self.endpoint, timeout=self.seconds
        ) from self.last

    def not_turbolift(self, response: Response) -> NoReturn:
        body = response.body
        excerpt = (body.text if isinstance(body, Frames) else body)[:200].decode("utf-8", "replace")
        raise WireError(
            f"{self.function}: {self.endpoint} answered with status {response.status} and "
            f"{response.headers.get('Content-Type', 'no content type')!r}, which is not turbolift's: "
            f"{excerpt!r}",
            function=self.function,
            endpoint=self.endpoint,
        )


_path = functools.lru_cache(maxsize=1024)(function_path)


def _size(piece: Buffer) -> int:
    return memoryview(piece).nbytes


class _Value(NamedTuple):
    value: Any


class _Again(NamedTuple):
    error: Exception
    retry_after: float
