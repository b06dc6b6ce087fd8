# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The transport of a test: requests go to the servers of this process, answers come back as over a socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from turbolift.client.transport import (
    AnswerTooLargeError,
    BrokenError,
    LateError,
    NotSentError,
    Request,
    Response,
    Tls,
)
from turbolift.shim.servant import Answer, problem_answer
from turbolift.testing.faults import Fault, Faults
from turbolift.testing.recorder import Attempt, Call, sending
from turbolift.testing.servers import Dies, Servers
from turbolift.wire import Problem
from turbolift.wire.headers import PREFIX

IN_FLIGHT = 128
"""Calls in flight to one endpoint from one loop, as over real connections; more wait here."""


_DEATHS: dict[str, Dies] = {"kill": "before", "lose_answer": "after"}


class InProcessTransport:
    """Implements Transport: real requests, real answers, no socket; each send is an Attempt of its Call."""

    def __init__(self, servers: Servers, faults: Faults) -> None:
        self._servers = servers
        self._faults = faults
        self._places: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = (
            WeakKeyDictionary()
        )

    async def send(
        self,
        endpoint: str,
        request: Request,
        *,
        max_answer: int,
        deadline: float | None,
        tls: Tls | None = None,
    ) -> Response:
        """Send one request; see Transport."""
        call = sending.get()
        assert call is not None
        faults = self._faults.strike(call)
        started = time.monotonic()
        outcome = "cancelled"
        scope = asyncio.timeout(None if deadline is None else deadline - started)
        try:
            async with scope:
                answer = await self._send(endpoint, request, call, faults)
            size = sum(memoryview(piece).nbytes for piece in answer.body)
            if size > max_answer:
                raise AnswerTooLargeError(max_answer, size)
            outcome = answer.outcome
            return Response(answer.status, answer.headers, b"".join(answer.body))
        except TimeoutError:
            if not scope.expired():
                raise
            outcome = "late"
            raise LateError from None
        except NotSentError:
            outcome = "not-sent"
            raise
        except (BrokenError, AnswerTooLargeError):
            outcome = "broken"
            raise
        finally:
            kinds = tuple(fault.kind for fault in faults)
            call.attempts.append(Attempt(outcome, kinds, time.monotonic() - started))

    async def _send(self, endpoint: str, request: Request, call: Call, faults: list[Fault]) -> Answer:
        kind = ""
        for fault in faults:
            if fault.kind == "delay":
                await asyncio.sleep(fault.seconds)
            else:
                kind = fault.kind
            if fault.kind == "refuse":
                raise NotSentError("Connection refused (a fault of the test)")
            if fault.kind == "busy":
                return _busy(fault.retry_after)
            if fault.kind == "break_after_send":
                raise BrokenError("a fault of the test")
        headers = dict(line.split(": ", 1) for line in request.lines.split("\r\n") if line)
        identity = unquote(request.path.removeprefix(PREFIX))
        # A copy, whatever its pieces are views of.
        body = b"".join(request.body)
        async with self._place(endpoint):
            dies = _DEATHS.get(kind, "")
            return await asyncio.wrap_future(self._servers.send(identity, headers, body, call, dies=dies))

    @asynccontextmanager
    async def _place(self, endpoint: str) -> AsyncIterator[None]:
        mine = self._places.setdefault(asyncio.get_running_loop(), {})
        async with mine.setdefault(endpoint, asyncio.Semaphore(IN_FLIGHT)):
            yield

    async def aclose(self) -> None:
        """Nothing is open."""


def _busy(retry_after: float) -> Answer:
    return problem_answer(Problem("overloaded", "a fault of the test", {"retry_after": retry_after}))
