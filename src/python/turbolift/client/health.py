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

import _thread
import contextlib
import random
import socket
import time
from typing import TYPE_CHECKING

from turbolift.client.addresses import Addresses, Each
from turbolift.client.transport import InsecureError, NotSentError, Response
from turbolift.wire import PROBLEM
from turbolift.wire.frames import Frames

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
        return self._knocked(said, ALONE)

    def knock_aside(self, endpoint: str) -> None:
        """Where it is time, and nobody else is at it: the same, of one of several, on a thread. No call waits for it, and none
        is sent there before.
        """
        now = time.monotonic()
        if not self.out or now < self.until:
            return
        self.until = now + KNOCK
        with contextlib.suppress(RuntimeError):  # the program ends, or has too many
            _thread.start_new_thread(lambda: self._knocked(_knock_and_wait(endpoint), AMONG), ())

    def _knocked(self, said: str | None, pauses: tuple[float, float]) -> bool:
        if said is None:
            # The next failure leaves it out again, the next answer forgets all.
            self.out = False
            self.until = 0.0
            self.failures = IN_A_ROW - 1
            return True
        self.failures += 1
        self.last, self.why = time.monotonic(), said
        self.leave_out(self.last, pauses)
        return False


class Health:
    """What is known of endpoints that fail. Empty most of the time: a look at ``ailing`` is all that an answer costs.

    Attributes: ``ailing`` (by endpoint), ``ejections`` (how often each was left out, for the metrics), ``addresses`` (of names
    that stand for several endpoints).
    """

    def __init__(self) -> None:
        self.addresses = Addresses()
        self.ailing: dict[str, Ailing] = {}
        self.ejections: dict[str, int] = {}

    def answered(self, endpoint: str) -> None:
        """Note that the endpoint has answered."""
        self.ailing.pop(endpoint, None)

    def failed(self, route: Route, began: float, why: str, *, gone: bool = False) -> None:
        """Note that a try that began then failed, and not by the function's fault. `gone`: nobody is there, or says that it
        ends; of the addresses of a name such a one is left out at once, for others are there, or the endpoint is.
        """
        now = time.monotonic()
        endpoint = route.endpoint
        alone, gone = route.is_alone, gone and route.is_one_of_each
        if route.each is not None:
            self.addresses.look_again(route.each)
        ailing = self.ailing.get(endpoint)
        if ailing is None:
            self._forget(now)
            ailing = self.ailing[endpoint] = Ailing(now)
        elif began < ailing.last:
            return
        ailing.failures += 1
        ailing.last, ailing.why = now, why
        if (ailing.failures < IN_A_ROW and not gone) or (ailing.out and (alone or now < ailing.until)):
            return
        others = len(route.replicas)
        few = alone or gone or others < 2
        if not few and 1 + sum(self.is_out(other, now) for other, _ in route.replicas) > SHARE * others:
            return
        ailing.leave_out(now, ALONE if alone else AMONG)
        self.ejections[endpoint] = self.ejections.get(endpoint, 0) + 1

    def unreached(self, route: Route, began: float, error: NotSentError) -> None:
        """Note that a call could not be sent. Certificates that do not fit say nothing against an endpoint, but against an
        address: it may be another server's by now.
        """
        if not isinstance(error, InsecureError) or route.is_one_of_each:
            self.failed(route, began, str(error), gone=not error.connected)

    def judge(self, route: Route, began: float, response: Response) -> str:
        """Note whether the endpoint is well: that a function raises, or a queue is full, says nothing against it; that a
        proxy has nobody behind it does, and that it starts or ends, where there are others. Return what is the matter with
        an answer that is not turbolift's.
        """
        why, gone, strange = "", False, ""
        if response.status >= 404 and not route.is_alone:
            body = response.body
            if not response.headers.get("Content-Type", "").startswith(PROBLEM) or isinstance(body, Frames):
                # Of the addresses of a name none is a proxy's, and what answers so is broken.
                if response.status in (502, 503, 504) or (response.status >= 500 and route.is_one_of_each):
                    why = strange = f"status {response.status}"
            elif response.status in (502, 503, 504) and (b":not-ready" in body or b":draining" in body):
                why, gone = "it is starting or shutting down", True
            elif response.status == 404 and route.is_one_of_each and b":not-found" in body:
                why, gone = "another function is served there", True
        if why:
            self.failed(route, began, why, gone=gone)
        else:
            self.answered(route.endpoint)
        return strange

    def is_out(self, endpoint: str, now: float) -> bool:
        """Return whether one of several endpoints is left out now."""
        ailing = self.ailing.get(endpoint)
        return ailing is not None and ailing.out and now < ailing.until

    def shut(self, route: Route) -> Ailing | None:
        """Return what is the matter with an endpoint that has no other beside it, where no call can be sent there now."""
        ailing = self.ailing.get(route.endpoint)
        return ailing if ailing is not None and ailing.out and route.is_alone else None

    def choose(self, route: Route, but: str = "", in_flight: int = 1) -> Route:
        """Return `route` to one of its endpoints, any of those that are not left out; rather not to `but`. `in_flight`:
        calls of its function that are.
        """
        if route.each is not None:
            return self._choose_of_each(route, route.each, but, in_flight)
        found = [one for one in route.replicas if one[0] != but] or route.replicas
        if self.ailing:
            now = time.monotonic()
            found = [one for one in found if not self.is_out(one[0], now)] or found
        endpoint, tls = random.choice(found)
        return route if endpoint == route.endpoint else route._replace(endpoint=endpoint, tls=tls)

    def _choose_of_each(self, route: Route, each: Each, but: str, in_flight: int) -> Route:
        ways, turn, count = self.addresses.ways(route, in_flight)
        if ways and not self.ailing and not but:
            return ways[turn % count]
        found = []
        for way in ways:
            ailing = self.ailing.get(way.endpoint)
            if ailing is not None and ailing.out:
                ailing.knock_aside(way.endpoint)
            elif way.endpoint != but:
                found.append(way)
        if found:
            return found[turn % min(count, len(found))]
        # Whoever is there leads to somebody who is well, if there is anybody.
        return route._replace(
            endpoint=each.endpoint, tls=each.endpoint_tls, replicas=((each.endpoint, each.endpoint_tls),)
        )

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


def _knock_and_wait(endpoint: str) -> str | None:
    """Do the same without a loop."""
    from turbolift.client.lane.connect import CONNECT_TIME, parse_endpoint

    parsed = parse_endpoint(endpoint)
    if parsed is None or parsed.path:
        return None
    try:
        socket.create_connection((parsed.host, parsed.port), CONNECT_TIME).close()
    except OSError as error:
        return error.strerror or str(error)
    return None
