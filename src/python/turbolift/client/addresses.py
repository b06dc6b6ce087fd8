# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A name that stands for each of its addresses (a headless Service of a cluster): who is behind it now, and who is next.

Names are looked up in the background, on a thread that ends with the look-up: no call waits for one, no loop has to be
there for it, and a program may end while a resolver is silent. As Envoy's STRICT_DNS cluster they are looked up again every
few seconds, here only while calls are made, and as gRPC's resolver at once where an address fails. Calls take turns over
few of the addresses (Google's SRE book calls it subsetting), and over more of them as more calls are in flight.
"""

from __future__ import annotations

import _thread
import random
import socket
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from turbolift.client.routes import Route
    from turbolift.client.transport import Tls

MARK = "#each"
"""Ends a replica of a route that stands for each of its addresses. A fragment is never sent: callers from before there were
such names connect to the first address that the name has.
"""

PERIOD = 5.0
"""Seconds between two look-ups of a name that is called, give or take a quarter."""

SOON = 0.25
"""Seconds between two look-ups where an address fails, at least."""

OLD = 30.0
"""Seconds after which what was looked up is used no more: an address may be another pod's by then."""

FEW = 8
"""Addresses that calls take turns over where fewer are in flight than that: idle connections cost both sides."""


class Each(NamedTuple):
    """What a name stands for: ``name`` (``http[s]://host:port``) with ``tls`` for its addresses, and ``endpoint`` with
    ``endpoint_tls``, which leads to any of the same servers, for as long as the name says nothing or all addresses fail.
    """

    name: str
    tls: Tls | None
    endpoint: str
    endpoint_tls: Tls | None


Resolve = Callable[[str, int], Iterable[str]]
"""Returns the addresses of a host, for a port. Raises OSError; blocks."""


def resolve(host: str, port: int) -> list[str]:
    """Ask the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _Name:
    """What is known of one name."""

    def __init__(self, name: str) -> None:
        self.scheme, self.host, self.port = _parts(name)
        self.salt = random.random()
        self.endpoints: tuple[str, ...] = ()
        self.at = 0.0  # when that was said
        self.due = 0.0  # when to ask again
        self.asked = 0.0
        self.asking = False
        self.turn = 0
        # The routes to all endpoints, and of which route and endpoints they were made.
        self.ways: tuple[Route, ...] = ()
        self.of: tuple[object, object] = (None, None)


class Addresses:
    """All names of one process. May be asked from any thread.

    Attribute: ``resolve``, how names are looked up.
    """

    def __init__(self, resolve: Resolve = resolve) -> None:
        self.resolve = resolve
        self._names: dict[str, _Name] = {}

    def ways(self, route: Route, in_flight: int) -> tuple[tuple[Route, ...], int, int]:
        """Return the routes to each address of the name of `route` (empty where nothing is known), a number that grows by
        one with each call, and how many of the routes, from the first on, should take turns where `in_flight` calls are.
        """
        assert route.each is not None
        known = self._name(route.each)
        now = time.monotonic()
        if now >= known.due and not known.asking:
            self._ask(known, now)
        if not known.endpoints or now - known.at > OLD:
            return (), 0, 0
        if known.of[0] is not route.each or known.of[1] is not known.endpoints:
            self._spread(known, route)
        ways = known.ways
        count = min(len(ways), max(FEW, in_flight))
        known.turn = turn = known.turn + 1
        return ways, turn, count

    def look_again(self, each: Each) -> None:
        """Have the name looked up with the next call: one of its addresses fails."""
        known = self._name(each)
        known.due = min(known.due, known.asked + SOON * random.uniform(1.0, 1.5))

    def known(self, each: Each) -> tuple[str, ...]:
        """Return the endpoints that were found last."""
        return self._name(each).endpoints

    def _name(self, each: Each) -> _Name:
        try:
            return self._names[each.name]
        except KeyError:
            # Names go with their versions.
            while len(self._names) >= 1000:
                self._names.pop(next(iter(self._names)), None)
            return self._names.setdefault(each.name, _Name(each.name))

    def _spread(self, known: _Name, route: Route) -> None:
        endpoints, each = known.endpoints, route.each
        assert each is not None
        replicas = tuple((endpoint, each.tls) for endpoint in endpoints)
        known.ways = tuple(route._replace(endpoint=one, tls=each.tls, replicas=replicas) for one in endpoints)
        known.of = each, endpoints

    def _ask(self, known: _Name, now: float) -> None:
        known.asking = True
        known.asked = now
        known.due = now + PERIOD * random.uniform(0.75, 1.25)
        try:
            # A Thread would have the call wait until it runs.
            _thread.start_new_thread(self._look_up, (known,))
        except RuntimeError:  # the program ends, or has too many
            known.asking = False

    def _look_up(self, known: _Name) -> None:
        try:
            found = {_endpoint(known, one) for one in self.resolve(known.host, known.port) if known.host}
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                return  # nobody knows: what was known holds until it is old
            found = set()
        except Exception:
            return
        finally:
            known.asking = False
        # In an order of this caller's own that others that come and go do not change: the callers of many pods have each its
        # few.
        wanted = tuple(sorted(found, key=lambda one: (random.Random(f"{known.salt}{one}").random(), one)))
        known.at = time.monotonic()
        if wanted != known.endpoints:
            known.endpoints = wanted


def _endpoint(known: _Name, address: str) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"{known.scheme}://{host}:{known.port}"


def _parts(name: str) -> tuple[str, str, int]:
    """Return scheme, host (empty where there is none to look up) and port."""
    scheme = name.partition(":")[0]
    try:
        parts = urlsplit(name)
        return scheme, parts.hostname or "", parts.port or (443 if scheme == "https" else 80)
    except ValueError:
        return scheme, "", 0
