# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A second send of a call that has no answer after a while; the first answer wins, and the other send is cancelled.

The hedged request of Dean and Barroso, "The Tail at Scale" (Communications of the ACM 56/2, 2013), with gRPC's rules (proposal
A6): counted as a retry against the budget, and a refusal does not win while the other one may.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from turbolift.client.transport import BrokenError, InsecureError, NotSentError, Response
from turbolift.errors import ConfigurationError

if TYPE_CHECKING:
    from turbolift.client.pending import PendingCall
    from turbolift.client.routes import Route


async def send_hedged(call: PendingCall, route: Route, delay: float) -> tuple[Response, Route]:
    """Send `call` by `route`, and after `delay` seconds without an answer once more, by another endpoint if there is one,
    else by another connection. Return the answer, and the route by which it came.

    Raises what Transport.send does where neither send was answered; ConfigurationError where the function is not
    idempotent.
    """
    if not call.may_repeat(route):
        raise ConfigurationError(
            f"{call.function}: with_options(hedge={delay:g}) may run a call twice, and {call.endpoint} was deployed without "
            "idempotent=True: declare it in the tag and deploy again, or leave out hedge"
        )
    began = time.monotonic()
    ways = {asyncio.ensure_future(call.send(route, call.resent)): route}
    first = next(iter(ways))
    try:
        done, waiting = await asyncio.wait(ways, timeout=delay)
        if done or not call.may_spend():
            return await first, route
        tally = call.caller.tallies[call.function]
        tally.hedges += 1
        other = call.health.choose(route, route.endpoint) if route.replicas else route
        second = asyncio.ensure_future(call.send(other, call.resent + 1, alone=True))
        ways[second] = other
        waiting.add(second)
        while True:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                if not waiting or _answers(one):
                    tally.hedges_won += one is second and _answers(one)
                    if one is second and first in waiting and other.endpoint != route.endpoint:
                        # Again and again is too slow, or stands still: one that answers between is not.
                        call.health.failed(route, began, "another endpoint answered first")
                    return one.result(), ways[one]
                error = one.exception()
                if isinstance(error, (NotSentError, BrokenError)) and not isinstance(error, InsecureError):
                    call.health.failed(ways[one], call.started, str(error))
    finally:
        for one in ways:
            one.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


def _answers(send: asyncio.Future[Response]) -> bool:
    """Return whether a send that has ended has an answer that counts: not that the server is full or shutting down."""
    return send.exception() is None and send.result().status not in (502, 503)
