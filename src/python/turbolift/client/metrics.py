# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What became of the calls that this process made, in plain numbers; made into Prometheus' families when asked for."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from turbolift.errors import (
    ConnectError,
    ContractMismatchError,
    DeadlineExceeded,
    DecodeError,
    EncodeError,
    FunctionNotFound,
    MaybeExecuted,
    NotRoutedError,
    Overloaded,
    PayloadTooLarge,
    RemoteError,
    RemoteTraceback,
    TlsError,
    WireError,
)
from turbolift.wire.times import BUCKETS, Times

if TYPE_CHECKING:
    from turbolift.client.budget import Budget
    from turbolift.client.caller import Caller

# The first that fits names the outcome.
_OUTCOMES: tuple[tuple[type[BaseException], str], ...] = (
    (TlsError, "tls"),
    (ConnectError, "unreachable"),
    (MaybeExecuted, "maybe-executed"),
    (DeadlineExceeded, "deadline"),
    (Overloaded, "overloaded"),
    (ContractMismatchError, "contract-mismatch"),
    (PayloadTooLarge, "payload-too-large"),
    (FunctionNotFound, "not-found"),
    (NotRoutedError, "not-routed"),
    (EncodeError, "encode"),
    (DecodeError, "decode"),
    (WireError, "wire"),
    (asyncio.CancelledError, "cancelled"),
)


def outcome_of(error: BaseException) -> str:
    """Return the label of a call that ended with `error`; ``raised``: the function did, ``error``: anything else."""
    if isinstance(error, RemoteError) or isinstance(error.__cause__, RemoteTraceback):
        return "raised"
    for cls, outcome in _OUTCOMES:
        if isinstance(error, cls):
            return outcome
    return "error"


class Tally:
    """The calls of one function. Attributes: ``outcomes`` (label -> count), ``in_flight``, ``resent``, ``held`` (that found
    the retry budget used up), ``hedges``, ``hedges_won``, ``times``.

    Calls come from many threads. Each change is one addition, within which CPython changes no thread.
    """

    __slots__ = (
        "_counts",
        "budget",
        "hedges",
        "hedges_won",
        "held",
        "in_flight",
        "outcomes",
        "resent",
        "times",
    )

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {"ok": 0}
        self.in_flight = 0
        self.resent = 0
        self.held = 0
        self.hedges = 0
        self.hedges_won = 0
        self.budget: Budget | None = None
        self.times = Times()
        self._counts = self.times.counts

    def end(self, outcome: str, seconds: float, calls: int = 1) -> None:
        """Count calls that ended as `outcome` after `seconds`."""
        try:
            self.outcomes[outcome] += calls
        except KeyError:
            self.outcomes[outcome] = calls
        # As Times.add, without a call of it: this is part of each call.
        self._counts[bisect_left(BUCKETS, seconds)] += calls
        self.times.total += seconds * calls

    @property
    def begun(self) -> int:
        """All calls, those in flight included."""
        return sum(self.outcomes.values()) + self.in_flight


class Collector:
    """Collects, for prometheus_client, what a Caller has counted."""

    def __init__(self, caller: Any) -> None:
        """`caller` gives the Caller to look at, or None."""
        self._caller = caller

    def describe(self) -> list[Any]:
        """Return nothing: what there is shows when it is collected (the collector interface of prometheus_client)."""
        return []

    def collect(self) -> Iterator[Any]:
        """Yield the metric families."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        caller: Caller | None = self._caller()
        tallies = {} if caller is None else dict(caller.tallies)
        calls = CounterMetricFamily(
            "turbolift_client_calls", "Calls made, by how they ended.", labels=["function", "outcome"]
        )
        seconds = HistogramMetricFamily(
            "turbolift_client_call_seconds",
            "Time from a call to its result or error, all tries included.",
            labels=["function"],
        )
        flying = GaugeMetricFamily(
            "turbolift_client_calls_in_flight", "Calls that wait for their result.", labels=["function"]
        )
        resent = CounterMetricFamily(
            "turbolift_client_resends", "Tries of calls beyond their first.", labels=["function"]
        )
        held = CounterMetricFamily(
            "turbolift_client_budget_used_up",
            "Calls to be sent again that found the retry budget used up.",
            labels=["function"],
        )
        hedges = CounterMetricFamily(
            "turbolift_client_hedges",
            "Calls that were sent a second time for want of an answer; won: that one was quicker.",
            labels=["function", "won"],
        )
        for function, tally in sorted(tallies.items()):
            for outcome, count in sorted(tally.outcomes.items()):
                calls.add_metric([function, outcome], count)
            seconds.add_metric([function], tally.times.buckets(), tally.times.total)
            flying.add_metric([function], tally.in_flight)
            resent.add_metric([function], tally.resent)
            held.add_metric([function], tally.held)
            hedges.add_metric([function, "yes"], tally.hedges_won)
            hedges.add_metric([function, "no"], tally.hedges - tally.hedges_won)
        yield from (calls, seconds, flying, resent, held, hedges)
        opened = GaugeMetricFamily(
            "turbolift_client_connections", "Open connections, by endpoint.", labels=["endpoint"]
        )
        counted: dict[str, int] = {} if caller is None else getattr(caller.transport, "connections", dict)()
        for endpoint, count in sorted(counted.items()):
            opened.add_metric([endpoint], count)
        yield opened
        out = GaugeMetricFamily(
            "turbolift_client_left_out",
            "1: the endpoint has failed in a row, and is left out.",
            labels=["endpoint"],
        )
        ejections = CounterMetricFamily(
            "turbolift_client_ejections",
            "How often an endpoint was left out after it failed in a row.",
            labels=["endpoint"],
        )
        if caller is not None:
            for endpoint in caller.health.left_out():
                out.add_metric([endpoint], 1)
            for endpoint, count in sorted(dict(caller.health.ejections).items()):
                ejections.add_metric([endpoint], count)
        yield from (out, ejections)
