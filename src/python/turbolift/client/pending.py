# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One call over its tries: what is sent again, when, for how long, and what is raised in the end."""

from __future__ import annotations

import asyncio
import functools
import random
import time
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from turbolift.client.budget import WAITING, Budget
from turbolift.client.health import Ailing
from turbolift.client.hedge import send_hedged
from turbolift.client.log import note_again
from turbolift.client.policy import INSECURE
from turbolift.client.routes import Route
from turbolift.client.transport import (
    AnswerTooLargeError,
    BrokenError,
    InsecureError,
    LateError,
    NotSentError,
    Request,
    Response,
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
    JSON,
    PROBLEM,
    decode_body,
    function_path,
    problem_to_exception,
    tracing,
    write_deadline,
)
from turbolift.wire.aside import LARGE, aside
from turbolift.wire.frames import Buffer, Frames
from turbolift.wire.problem import NOT_RUN, problem_kind

if TYPE_CHECKING:
    from turbolift.client.caller import Caller
    from turbolift.contract import Contract

_HOW = "Is it deployed? See './pants run deploy -- status'"

path_of = functools.lru_cache(maxsize=1024)(function_path)


class PendingCall:
    """The state of one call over its tries."""

    endpoint = ""
    last: Exception | None = None
    tries = 0
    resent = 0
    # Whether a server has had it: what never left here is no load.
    reached = False
    # Whether the last try went to one of the addresses of a name.
    by_address = False
    # Seconds after which it is sent a second time beside the first.
    hedge: float | None = None

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
        self.max_answer = caller.policy.max_answer
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
        self.path = path_of(function)
        self.health = caller.health

    async def run(self, route: Route, known: Response | Exception | None) -> Any:
        """Try until there is a result or an error to raise; `known` is what became of the first try by `route`, where
        that was made.
        """
        began = self.started
        while True:
            if known is None and self.health.ailing:
                route = await self.open(route)
            self.endpoint, self.by_address = route.endpoint, route.is_one_of_each
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
                if known is None:
                    began = time.monotonic()
                    if self.hedge is None:
                        response = await self.send(route, self.resent)
                    else:
                        response, route = await send_hedged(self, route, self.hedge)
                        self.endpoint, self.by_address = route.endpoint, route.is_one_of_each
                elif isinstance(known, Exception):
                    raise known
                else:
                    response = known
            except LateError:
                if route.replicas:
                    self.health.failed(route, began, "no answer by the deadline")
                self.too_late(None)
            except NotSentError as error:
                self.health.unreached(route, began, error)
                self.last = self.unreachable(error)
                wait, window = 0.0, self.policy.refused
                if isinstance(error, InsecureError) and error.reason != "handshake":
                    # Certificates that do not fit seldom mend themselves; a kubelet may show one a moment late.
                    window = min(window, INSECURE)
            except BrokenError as error:
                self.reached = True
                self.health.failed(route, began, f"the connection broke ({error})")
                self.last = self.maybe(f"the connection to {self.endpoint} broke ({error})")
                self.resend_or_raise(route)
                wait, window = 0.0, self.policy.refused
            except AnswerTooLargeError as error:
                raise PayloadTooLarge(
                    f"{self.function}: the answer of {self.endpoint} is larger than the limit of {error.limit} bytes; "
                    "with_options(max_answer=...) raises it",
                    function=self.function,
                    endpoint=self.endpoint,
                    size=error.size,
                    limit=error.limit,
                ) from None
            else:
                answer: _Value | _Again
                strange = ""
                if self.health.ailing or route.replicas:
                    strange = self.health.judge(route, began, response)
                if strange and route.is_one_of_each and self.may_repeat(route):
                    answer = _Again(
                        self.maybe(f"{self.endpoint} gave no answer of turbolift's ({strange})"), 0.0
                    )
                elif len(response.body) < LARGE:
                    answer = self.read(response)
                else:
                    answer = await self.read_aside(response)
                if not isinstance(answer, _Again):
                    return answer.value
                self.reached = True
                self.last = answer.error
                if isinstance(answer.error, MaybeExecuted):
                    self.resend_or_raise(route)
                wait, window = answer.retry_after, self.policy.busy
            known = None
            route = await self.next_route(route, wait, window)
            self.note_resend()

    async def send(self, route: Route, resent: int, *, alone: bool = False) -> Response:
        """Send it once, after `resent` other times; `alone`: by a connection that no other send of it is on."""
        # Said even where there is none: without the header the tag's own timeout holds, for foreign callers.
        deadline = self.deadline
        left = None if deadline is None else deadline - time.monotonic()
        lines = f"{self.lines}{write_deadline(left)}\r\n"
        if resent:
            lines += f"{ATTEMPT}: {resent + 1}\r\n"
        request = Request(self.path, lines, self.body, self.size, alone=alone)
        return await self.transport.send(
            route.endpoint, request, max_answer=self.max_answer, deadline=deadline, tls=route.tls
        )

    def note_resend(self) -> None:
        """Count, trace and log that the call is sent again."""
        assert self.last is not None
        self.caller.tallies[self.function].resent += 1
        tracing.note_resend(self.last)
        note_again(self.function, self.tries, self.key, self.last)

    async def read_aside(self, response: Response) -> _Value | _Again:
        """Read a large answer; the loop goes on meanwhile."""
        deadline = self.deadline
        scope = asyncio.timeout(None if deadline is None else deadline - time.monotonic())
        try:
            async with scope:
                return await aside(self.read, response)
        except TimeoutError:
            if not scope.expired():
                raise  # what the function raised
            self.too_late(None)

    def read(self, response: Response) -> _Value | _Again:
        if response.status == 200 and response.headers.get("Content-Type") == JSON:
            found = self.contract.quick.result(response.body)  # type: ignore[arg-type]
            if found is not None:
                return _Value(found[0])
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
        # An address may be another server's by now: those of the name are asked again.
        if kind in NOT_RUN or kind == "worker-died" or (kind == "not-found" and self.by_address):
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
        other = self.health.choose(route, route.endpoint) if route.replicas else route
        moved = self.moved(route)
        # Beside the addresses of a name there is the endpoint.
        ways = len(route.replicas) + route.is_one_of_each
        if moved is None and (other.endpoint == route.endpoint or self.tries >= ways):
            # 20 ms, 40 ms ... with full jitter above half; what the server asks for is the least.
            pause = min(self.policy.first * 2 ** (self.tries - 1), self.policy.longest)
            pause = max(pause * random.uniform(0.5, 1.0), retry_after * random.uniform(1.0, 1.25))
            if time.monotonic() + pause - self.started > window:
                raise self.last
            await self.sleep(pause)
        elif self.tries > 1:
            # Two tables that take turns must not make a busy loop.
            await self.sleep(self.policy.first * random.uniform(0.5, 1.0))
        if self.reached:
            await self.pay(window)
        return self.moved(route) or other

    async def open(self, route: Route) -> Route:
        """Return the route when a call can be sent there: at once, or when somebody answers there again; raises the error
        of the endpoint where waiting has gone on for long enough.
        """
        while (ailing := self.health.shut(route)) is not None and not await self.knock(
            ailing, route.endpoint
        ):
            self.endpoint = route.endpoint
            now = time.monotonic()
            self.last = self.shut_out(ailing, now)
            pause = min(max(ailing.until - now, 0.0), 0.2) + random.uniform(0.005, 0.05)
            if now + pause - self.started > self.policy.refused:
                raise self.last
            await self.sleep(pause)
            route = self.moved(route) or route
        return route

    async def knock(self, ailing: Ailing, endpoint: str) -> bool:
        scope = asyncio.timeout(None if self.deadline is None else self.deadline - time.monotonic())
        try:
            async with scope:
                return await ailing.knock(endpoint)
        except TimeoutError:
            if scope.expired():
                self.too_late(None)
            raise

    async def pay(self, window: float) -> None:
        """Take one resend out of the function's budget: at once, or when there is something in it again; raises the last
        error where trying has gone on for long enough.
        """
        assert self.last is not None
        if self.may_spend():
            return
        policy, tally = self.policy, self.caller.tallies[self.function]
        budget = tally.budget
        assert budget is not None
        tally.held += 1
        # All errors that a call is sent again after are made here, of one text.
        tries = f"{self.tries} {'try' if self.tries == 1 else 'tries'}"
        said = (
            f"{str(self.last).rstrip('. ')}. It was not sent again, after {tries}: the retry budget of {self.function} is "
            f"used up ({budget}); most of its calls fail or are refused."
        )
        self.last.args = (said,)
        if budget.waiting >= WAITING:
            raise self.last
        budget.waiting += 1
        try:
            pause = policy.first
            while True:
                pause = min(2 * pause, policy.longest)
                wait = pause * random.uniform(0.5, 1.0)
                if time.monotonic() + wait - self.started > window:
                    raise self.last
                await self.sleep(wait)
                if self.may_spend():
                    return
        finally:
            budget.waiting -= 1

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
        if now.endpoint == route.endpoint or any(route.endpoint == endpoint for endpoint, _ in now.replicas):
            return None
        if route.each is not None and now.each == route.each:
            return None  # to the addresses of the same name
        return self.health.choose(now) if now.replicas else now

    def may_repeat(self, route: Route) -> bool:
        """Return whether it may run twice."""
        return route.idempotent if self.idempotent is None else self.idempotent

    def may_spend(self) -> bool:
        """Take one send out of the function's budget, where something is in it."""
        tally, policy = self.caller.tallies[self.function], self.policy
        if tally.budget is None:
            tally.budget = Budget(policy.share, policy.floor, policy.per_second)
        return tally.budget.take(tally.begun, tally.in_flight)

    def resend_or_raise(self, route: Route) -> None:
        assert self.last is not None
        if not self.may_repeat(route) or self.resent >= self.policy.resends:
            raise self.last
        self.resent += 1
        # What may have run for a while says nothing about how long the endpoint has been out of reach.
        self.started = time.monotonic()

    def unreachable(self, error: NotSentError) -> ConnectError:
        said = f"{self.function}: cannot reach {self.endpoint}: {error}; the function did not run."
        if isinstance(error, InsecureError):
            return TlsError(said, function=self.function, endpoint=self.endpoint, reason=error.reason)
        return ConnectError(f"{said} {_HOW}", function=self.function, endpoint=self.endpoint)

    def shut_out(self, ailing: Ailing, now: float) -> ConnectError:
        """Return the error of a call that was not sent, since its endpoint fails."""
        left = max(ailing.until - now, 0.0)
        return ConnectError(
            f"{self.function}: cannot reach {self.endpoint}: {ailing.why}; the function did not run. "
            f"{ailing.failures} tries in a row have failed in {now - ailing.since:.1f} s, the last one "
            f"{now - ailing.last:.1f} s ago; the next one is in {left:.1f} s. {_HOW}",
            function=self.function,
            endpoint=self.endpoint,
            failing=now - ailing.since,
            retry_after=left,
        )

    def maybe(self, what: str) -> MaybeExecuted:
        return MaybeExecuted(
            f"{self.function}: {what} after the request was sent: it may or may not have run. If its server died "
            "of it, the log says how ('./pants run deploy -- logs'). Declare it idempotent=True to have it sent again",
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
        excerpt = (body.text or b"" if isinstance(body, Frames) else body)[:200].decode("utf-8", "replace")
        raise WireError(
            f"{self.function}: {self.endpoint} answered with status {response.status} and "
            f"{response.headers.get('Content-Type', 'no content type')!r}, which is not turbolift's: "
            f"{excerpt!r}",
            function=self.function,
            endpoint=self.endpoint,
        )


class _Value(NamedTuple):
    value: Any


class _Again(NamedTuple):
    error: Exception
    retry_after: float
