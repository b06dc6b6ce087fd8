# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Endpoints that fail in a row are left out for a while: of several, the outliers; one alone is knocked at by one call for all.

Among several as Envoy's outlier detection (https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier):
consecutive failures, times that grow with each ejection and are jittered, and a share that is left out at most. Alone as a
circuit breaker with a half-open state (resilience4j, Polly), but that calls which may wait do: what was not sent can wait for
a server that is started again, and fails at once only where its caller says so (``wait=0``). A knock is a connection that is
closed again, no call: the first call after a restart may be a long one, and the others need not wait for its end.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turbolift.client.routes import Route

IN_A_ROW = 3
"""Failures, each of a try that began after the one before, and no answer between: a cut of many calls at once is one."""

SHARE = 0.5
"""Of several endpoints, so many are left out at most."""

ALONE = (0.05, 1.0)
"""Seconds between two knocks at an endpoint that has no other beside it: at first, and at most."""

AMONG = (1.0, 30.0)
"""Seconds for which one of several is left out: at first, and at most."""

FORGET = 60.0
"""Seconds after the last failure when it is forgotten: endpoints go with their versions."""

KNOCK = 2.5
"""Seconds for which others leave a knock to the call that is at it: longer than any takes."""


class Ailing:
    """An endpoint that has failed since its last answer.

    Attributes: ``failures`` (in a row), ``since``, ``last`` (the first and the latest, ``time.monotonic`` seconds), ``why``
    (the latest), ``out`` (it is left out; alone: until a knock is answered), ``until`` (when it is tried again), ``times``
    (how often it was left out).
    """

    __slots__ = ("failures", "last", "out", "since", "times", "until", "why")

    def __init__(self, now: float) -> None:
        self.failures = 0
        self.since = self.last = now
        self.why = ""
        self.out = False
        self.until = 0.0
        self.times = 0

    def leave_out(self, now: float, pauses: tuple[float, float]) -> None:
        """Leave it out from now on, longer than the time before."""
        first, longest = pauses
        self.out = True
        self.times += 1
        self.until = now + min(first * 2 ** min(self.times - 1, 30), longest) * random.uniform(0.75, 1.25)

    async def knock(self, endpoint: str) -> bool:
        """Where it is time, and nobody else is at it: see whether somebody is there now, and note it. Return whether calls
        can go there.
        """
        if not self.out:
            return True
        now = time.monotonic()
        if now < self.until:
            return False
        self.until = now + KNOCK
        try:
            said = await _knock(endpoint)
        except BaseException:  # its call is cancelled, or late
            self.until = now
            raise
        if said is None:
            # The next failure leaves it out again, the next answer forgets all.
            self.out = False
            self.until = 0.0
            self.failures = IN_A_ROW - 1
            return True
        self.failures += 1
        self.last, self.why = time.monotonic(), said
        self.leave_out(self.last, ALONE)
        return False


class Health:
    """What is known of endpoints that fail. Empty most of the time: a look at ``ailing`` is all that an answer costs.

    Attributes: ``ailing`` (by endpoint), ``ejections`` (how often each was left out, for the metrics).
    """

    def __init__(self) -> None:
        self.ailing: dict[str, Ailing] = {}
        self.ejections: dict[str, int] = {}

    def answered(self, endpoint: str) -> None:
        """Note that the endpoint has answered."""
        self.ailing.pop(endpoint, None)

    def failed(self, route: Route, began: float, why: str) -> None:
        """Note that a try that began then failed, and not by the function's fault."""
        now = time.monotonic()
        endpoint = route.endpoint
        ailing = self.ailing.get(endpoint)
        if ailing is None:
            self._forget(now)
            ailing = self.ailing[endpoint] = Ailing(now)
        elif began < ailing.last:
            return
        ailing.failures += 1
        ailing.last, ailing.why = now, why
        if ailing.failures < IN_A_ROW or (ailing.out and (not route.replicas or now < ailing.until)):
            return
        others = len(route.replicas)
        if others > 1 and 1 + sum(self.is_out(other, now) for other, _ in route.replicas) > SHARE * others:
            return
        ailing.leave_out(now, AMONG if others > 1 else ALONE)
        self.ejections[endpoint] = self.ejections.get(endpoint, 0) + 1

    def is_out(self, endpoint: str, now: float) -> bool:
        """Return whether one of several endpoints is left out now."""
        ailing = self.ailing.get(endpoint)
        return ailing is not None and ailing.out and now < ailing.until

    def shut(self, route: Route) -> Ailing | None:
        """Return what is the matter with an endpoint that has no other beside it, where no call can be sent there now."""
        ailing = self.ailing.get(route.endpoint)
        return ailing if ailing is not None and ailing.out and len(route.replicas) < 2 else None

    def choose(self, route: Route, but: str = "") -> Route:
        """Return `route` to one of its endpoints, any of those that are not left out; rather not to `but`."""
        found = [one for one in route.replicas if one[0] != but] or route.replicas
        if self.ailing:
            now = time.monotonic()
            found = [one for one in found if not self.is_out(one[0], now)] or found
        endpoint, tls = random.choice(found)
        return route if endpoint == route.endpoint else route._replace(endpoint=endpoint, tls=tls)

    def left_out(self) -> list[str]:
        """Return the endpoints that are left out now; may be asked from any thread."""
        now = time.monotonic()
        return sorted(
            endpoint
            for endpoint, ailing in list(self.ailing.items())
            if ailing.out and now - ailing.last < FORGET
        )

    def _forget(self, now: float) -> None:
        for endpoint, ailing in list(self.ailing.items()):
            if now - ailing.last > FORGET and now > ailing.until:
                self.ailing.pop(endpoint, None)
        while len(self.ejections) > 100:
            self.ejections.pop(next(iter(self.ejections)))


async def _knock(endpoint: str) -> str | None:
    """Connect and close; return None, or what is the matter."""
    from turbolift.client.lane.connect import CONNECT_TIME, connect, parse_endpoint

    parsed = parse_endpoint(endpoint)
    if parsed is None:
        return None  # only a call can tell
    try:
        (await connect(parsed)).close()
    except TimeoutError as error:
        return error.strerror or f"no connection within {CONNECT_TIME:g} s"
    except OSError as error:
        return error.strerror or str(error)
    return None
