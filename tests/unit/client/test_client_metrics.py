# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the caller counts and logs of its calls, and what Prometheus is told of it."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import subprocess
import sys
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import turbolift.client
from turbolift import ConnectError, DeadlineExceeded, EncodeError, Local, MaybeExecuted, Overloaded, on
from turbolift.client import Caller, Policy, default_transport, parse_table
from turbolift.client.metrics import Collector, Tally, outcome_of
from turbolift.errors import RemoteError, RemoteTraceback, TlsError
from turbolift.metrics import install
from turbolift.wire.times import BUCKETS

WAIT = Policy(first=0.001, refused=0.3, busy=0.3)


@on(Local())
def never_deployed(a: int) -> int:
    return a


def caller_of(endpoint: str, says: Any, policy: Policy = WAIT) -> Caller:
    entry = {"version": "0" * 64, "endpoint": endpoint, "contract": says.contract.digest}
    table = {"version": 1, "deployment": "d", "platform": "p", "generation": 1, "routes": {"m:add": entry}}
    parsed = parse_table(table, "test")
    return Caller(default_transport(), lambda: parsed, policy)


def values(caller: Caller) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Collector(lambda: caller))
    return registry


def test_calls_resends_and_connections(scripted: Any, says: Any) -> None:
    server = scripted(says.result(1), says.problem("overloaded", retry_after=0), says.result(2), None)
    caller = caller_of(server.endpoint, says)

    async def main() -> None:
        def now(name: str, **labels: str) -> float | None:
            return values(caller).get_sample_value(name, {"function": "m:add", **labels})

        for expected in (1, 2):
            assert await caller.call("m:add", says.contract, (1,), {}) == expected
        assert now("turbolift_client_calls_total", outcome="ok") == 2
        assert now("turbolift_client_resends_total") == 1
        assert now("turbolift_client_call_seconds_count") == 2
        assert now("turbolift_client_call_seconds_bucket", le="+Inf") == 2
        assert now("turbolift_client_calls_in_flight") == 0
        opened = values(caller).get_sample_value(
            "turbolift_client_connections", {"endpoint": server.endpoint}
        )
        assert opened == 1
        with pytest.raises(MaybeExecuted):
            await caller.call("m:add", says.contract, (1,), {})
        with pytest.raises(EncodeError):
            await caller.call("m:add", says.contract, ("x",), {})
        assert now("turbolift_client_calls_total", outcome="maybe-executed") == 1
        assert now("turbolift_client_calls_total", outcome="encode") == 1
        assert now("turbolift_client_resends_total") == 1
        await caller.transport.aclose()
        assert caller.transport.connections() == {}  # type: ignore[attr-defined]

    asyncio.run(main())


def test_calls_in_flight_and_cancelled(scripted: Any, says: Any) -> None:
    server = scripted(says.problem("overloaded", retry_after=60))
    caller = caller_of(server.endpoint, says, Policy(busy=1000))

    async def main() -> None:
        task = asyncio.create_task(caller.call("m:add", says.contract, (1,), {}))
        while not server.requests:
            await asyncio.sleep(0.001)
        assert caller.tallies["m:add"].in_flight == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert caller.tallies["m:add"].in_flight == 0
        assert caller.tallies["m:add"].outcomes == {"ok": 0, "cancelled": 1}
        await caller.transport.aclose()

    asyncio.run(main())


def raised(error: Exception) -> Exception:
    error.__cause__ = RemoteTraceback("text")
    return error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectError(""), "unreachable"),
        (TlsError(""), "tls"),
        (DeadlineExceeded(""), "deadline"),
        (Overloaded(""), "overloaded"),
        (raised(ValueError()), "raised"),
        (raised(Overloaded("")), "raised"),
        (RemoteError(""), "raised"),
        (TypeError(), "error"),
        (KeyboardInterrupt(), "error"),
    ],
)
def test_outcomes(error: BaseException, outcome: str) -> None:
    assert outcome_of(error) == outcome


def test_buckets_grow_and_are_cumulative() -> None:
    assert list(BUCKETS) == sorted(set(BUCKETS))
    assert BUCKETS[0] <= 0.0001
    assert BUCKETS[-1] >= 60
    # Neighbours are at most six times apart: a quantile between them says something.
    assert all(high / low < 6 for low, high in itertools.pairwise(BUCKETS))
    tally = Tally()
    for seconds in (0.00005, 0.0001, 0.003, 1000.0):
        tally.end("ok", seconds)
    found = dict(tally.times.buckets())
    assert (found["0.0001"], found["0.0025"], found["0.005"], found["300.0"], found["+Inf"]) == (
        2,
        2,
        3,
        3,
        4,
    )
    assert tally.times.total == pytest.approx(1000.00315)


def test_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turbolift.client, "_caller", None)
    monkeypatch.setenv("TURBOLIFT", "on")
    monkeypatch.setenv("TURBOLIFT_ROUTES", json.dumps({"version": 1, "deployment": "d", "platform": "p",
                                                       "generation": 1, "routes": {}}))  # fmt: skip
    registry = CollectorRegistry()
    install(registry)
    install(registry)
    labels = {"function": never_deployed.identity, "outcome": "not-routed"}
    assert registry.get_sample_value("turbolift_client_calls_total", labels) is None
    with pytest.raises(LookupError):
        never_deployed.call(1)
    assert registry.get_sample_value("turbolift_client_calls_total", labels) == 1


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    program = (
        "import sys, turbolift.metrics\n"
        "assert not {'prometheus_client', 'turbolift.client', 'opentelemetry'} & set(sys.modules)\n"
        "import turbolift.client.caller\n"
        "assert not {'prometheus_client', 'opentelemetry'} & set(sys.modules)\n"
        "sys.modules['prometheus_client'] = None\n"
        "try: turbolift.metrics.install()\n"
        "except turbolift.ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "prometheus-client, which is not installed" in done.stdout


def test_calls_are_logged_with_their_key(scripted: Any, says: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = scripted(says.problem("overloaded", retry_after=0), says.result(2))
    caller = caller_of(server.endpoint, says)
    caplog.set_level(logging.DEBUG, "turbolift.client")

    async def main() -> None:
        await caller.call("m:add", says.contract, (1,), {})
        await caller.transport.aclose()

    asyncio.run(main())
    again, done = [record for record in caplog.records if record.name == "turbolift.client"]
    key = again.facts["key"]  # type: ignore[attr-defined]
    assert f"Idempotency-Key: {key}\r\n".encode() in server.requests[0][0]
    assert again.levelname == "INFO"
    assert "m:add" in again.getMessage()
    assert done.facts["key"] == key  # type: ignore[attr-defined]
    assert done.facts["outcome"] == "ok"  # type: ignore[attr-defined]
    assert done.facts["traceparent"].encode() in server.requests[1][0]  # type: ignore[attr-defined]
