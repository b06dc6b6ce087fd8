# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Names that stand for each of their addresses: followed in the background, called in turn, left out one by one."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift.client import Caller, Policy, Route, addresses, default_transport, health, parse_table
from turbolift.client.addresses import Addresses
from turbolift.client.batches import Batches
from turbolift.client.transport import InsecureError, NotSentError
from turbolift.errors import ConnectError, DeadlineExceeded, MaybeExecuted, NotRoutedError, WireError

QUICK = Policy(first=0.001, longest=0.01, refused=0.3, busy=0.3)
HOST = "pods.example"


class Zone:
    """What a name's addresses are, as a resolver says it; ``asked`` counts."""

    def __init__(self, *found: str) -> None:
        self.found: Iterable[str] = found
        self.error: OSError | None = None
        self.asked = 0

    def resolve(self, host: str, port: int) -> Iterable[str]:
        assert host == HOST
        self.asked += 1
        if self.error is not None:
            raise self.error
        return list(self.found)


def table_of(says: Any, service: str, port: int, **route: Any) -> dict[str, Any]:
    entry = {"version": "0" * 64, "endpoint": service, "contract": says.contract.digest, **route}
    entry.setdefault("replicas", [f"http://{HOST}:{port}#each"])
    return {"version": 1, "deployment": "d", "platform": "p", "generation": 1, "routes": {"m:add": entry}}


def caller_of(says: Any, zone: Zone, service: str, port: int, policy: Policy = QUICK, **route: Any) -> Caller:
    parsed = parse_table(table_of(says, service, port, **route), "test")
    caller = Caller(default_transport(), lambda: parsed, policy)
    caller.health.addresses.resolve = zone.resolve
    return caller


async def one(caller: Caller, says: Any, **options: Any) -> Any:
    try:
        return await caller.call("m:add", says.contract, (1,), {}, **options)
    except Exception as error:
        return error


async def until(what: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def known(caller: Caller) -> set[str]:
    each = caller.tables().route("m:add").each
    assert each is not None
    return set(caller.health.addresses.known(each))


async def meet(caller: Caller, says: Any, count: int) -> None:
    """Call until so many addresses are known."""

    async def look() -> int:
        await one(caller, says)
        return len(known(caller))

    end = time.monotonic() + 60
    while await look() != count:
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


@pytest.fixture
def pods(scripted: Any) -> Callable[..., list[Any]]:
    """Return a function that starts servers at 127.0.0.2 and up, all at one port: one for each script."""

    def start(*scripts: Any) -> list[Any]:
        made: list[Any] = []
        for number, script in enumerate(scripts):
            steps = script if isinstance(script, list) else [script]
            made.append(scripted(*steps, at=(f"127.0.0.{number + 2}", made[0].port if made else 0)))
        return made

    return start


def addresses_of(servers: Iterable[Any]) -> list[str]:
    return [one.endpoint.removeprefix("http://").rpartition(":")[0] for one in servers]


# Who is called.


def test_calls_take_turns_over_all_and_the_endpoint_is_called_until_they_are_known(
    scripted: Any, says: Any, pods: Any
) -> None:
    service, found = scripted(says.result(0)), pods(*[says.result(1)] * 3)
    zone = Zone(*addresses_of(found))
    caller = caller_of(says, zone, service.endpoint, found[0].port)

    async def main() -> list[Any]:
        assert await one(caller, says) == 0  # no call waits for a look-up
        await meet(caller, says, 3)
        before = [len(server.requests) for server in found]
        ended = [await one(caller, says) for _ in range(30)]
        assert [len(server.requests) - had for server, had in zip(found, before, strict=True)] == [10] * 3
        await caller.transport.aclose()
        return ended

    assert asyncio.run(main()) == [1] * 30
    # One at a time needs one connection to each.
    assert [server.connections for server in found] == [1, 1, 1]


def test_many_addresses_are_called_as_there_are_many_calls(says: Any) -> None:
    """A caller with few calls has no connection to each of many pods; one with many calls has."""
    zone = Zone(*(f"10.0.0.{number}" for number in range(50)))
    route = parse_table(table_of(says, "http://10.9.9.9:1", 80), "test").route("m:add")
    callers = [Addresses(zone.resolve) for _ in range(40)]
    everywhere: Counter[str] = Counter()
    for each in callers:
        while not each.known(route.each):  # type: ignore[arg-type]
            each.ways(route, 1)
            time.sleep(0.001)

        def chosen(each: Addresses, in_flight: int) -> set[str]:
            picked = set()
            for _ in range(200):
                ways, turn, count = each.ways(route, in_flight)
                assert count <= len(ways) == 50
                picked.add(ways[turn % count].endpoint)
            return picked

        few = chosen(each, 1)
        assert len(few) == addresses.FEW
        assert few < chosen(each, 20)
        assert len(chosen(each, 500)) == 50
        everywhere.update(few)
    # Each caller has its own few.
    assert len(everywhere) > 40
    # One pod more or less moves at most one of them.
    for each in callers[:5]:
        before = set(each.known(route.each)[: addresses.FEW])  # type: ignore[arg-type]
        zone.found = [*zone.found, "10.0.0.99"]
        each.look_again(route.each)  # type: ignore[arg-type]
        size = len(set(zone.found))
        while len(each.known(route.each)) != size:  # type: ignore[arg-type]
            each.look_again(route.each)  # type: ignore[arg-type]
            each.ways(route, 1)
            time.sleep(0.001)
        assert len(before - set(each.known(route.each)[: addresses.FEW])) <= 1  # type: ignore[arg-type]


def test_addresses_that_come_are_called_and_those_that_go_are_not(
    scripted: Any, says: Any, pods: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "PERIOD", 0.02)
    service, found = scripted(says.result(0)), pods(*[says.result(1)] * 3)
    all_three = addresses_of(found)
    zone = Zone(all_three[0])
    caller = caller_of(says, zone, service.endpoint, found[0].port)

    async def main() -> None:
        await meet(caller, says, 1)
        assert not found[1].requests
        zone.found = all_three
        await meet(caller, says, 3)
        while not all(server.requests for server in found):
            assert await one(caller, says) == 1
        zone.found = all_three[1:]
        await meet(caller, says, 2)
        had = len(found[0].requests)
        assert [await one(caller, says) for _ in range(20)] == [1] * 20
        assert len(found[0].requests) == had
        # All are gone, as where a function is scaled away and comes again: the endpoint knows.
        zone.found = []
        await meet(caller, says, 0)
        assert await one(caller, says) == 0
        zone.found = all_three
        await meet(caller, says, 3)
        assert await one(caller, says) == 1
        await caller.transport.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_NONAME, "unknown"),
        socket.gaierror(socket.EAI_AGAIN, "later"),
        OSError("odd"),
    ],
    ids=["no-name", "again", "odd"],
)
def test_the_endpoint_is_called_while_a_name_cannot_be_looked_up(
    scripted: Any, says: Any, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "PERIOD", 0.0)
    service, zone = scripted(says.result(0)), Zone()
    zone.error = error
    caller = caller_of(says, zone, service.endpoint, 80)

    async def main() -> None:
        while zone.asked < 5:
            assert await one(caller, says) == 0
        await caller.transport.aclose()

    asyncio.run(main())


def test_what_was_known_holds_for_a_while_where_the_resolver_is_silent(
    scripted: Any, says: Any, pods: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "PERIOD", 0.01)
    service, (pod,) = scripted(says.result(0)), pods(says.result(1))
    zone = Zone(*addresses_of([pod]))
    caller = caller_of(says, zone, service.endpoint, pod.port)

    async def main() -> None:
        await meet(caller, says, 1)
        zone.error = socket.gaierror(socket.EAI_AGAIN, "later")
        asked = zone.asked
        while zone.asked < asked + 3:
            assert await one(caller, says) == 1
            await asyncio.sleep(0.005)
        # Not for ever: the address may be another pod's by then.
        monkeypatch.setattr(addresses, "OLD", 0.0)
        assert await one(caller, says) == 0
        await caller.transport.aclose()

    asyncio.run(main())


def test_a_look_up_that_never_ends_holds_nothing_up(scripted: Any, says: Any) -> None:
    service, zone, silent = scripted(says.result(0)), Zone(), threading.Event()
    caller = caller_of(says, zone, service.endpoint, 80)

    def resolve(host: str, port: int) -> list[str]:
        zone.asked += 1
        silent.wait(60)
        return []

    caller.health.addresses.resolve = resolve
    try:
        for _ in range(2):  # one loop after another, and no loop waits for it at its end
            assert asyncio.run(in_turn(caller, says, 20)) == [0] * 20
        assert zone.asked == 1
    finally:
        silent.set()


def test_a_name_is_asked_for_only_while_it_is_called_and_seldom(scripted: Any, says: Any, pods: Any) -> None:
    service, found = scripted(says.result(0)), pods(says.result(1), says.result(1))
    zone = Zone(*addresses_of(found))
    caller = caller_of(says, zone, service.endpoint, found[0].port)

    async def main() -> None:
        assert zone.asked == 0
        await meet(caller, says, 2)
        for _ in range(300):
            assert await one(caller, says) == 1
        await caller.transport.aclose()

    began = time.monotonic()
    asyncio.run(main())
    assert zone.asked <= 1 + (time.monotonic() - began) / (0.75 * addresses.PERIOD)


async def in_turn(caller: Caller, says: Any, count: int, **options: Any) -> list[Any]:
    try:
        return [await one(caller, says, **options) for _ in range(count)]
    finally:
        await caller.transport.aclose()


# Who is left out.


@pytest.fixture
def for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left out stays so, however slow this machine is."""
    monkeypatch.setattr(health, "AMONG", (1000.0, 1000.0))


def bad_steps(says: Any, what: str) -> Any:
    return {
        "500": says.answer(500, b"oops", "text/plain"),
        "502": says.answer(502, b"<html>", "text/html"),
        "cut": None,
        "draining": says.problem("draining", retry_after=30),
        "not-ready": says.problem("not-ready", retry_after=30),
        # The address was given to the pod of another function.
        "stray": says.problem("not-found", serves="m:other"),
    }[what]


@pytest.mark.usefixtures("for_long")
@pytest.mark.parametrize("what", ["500", "502", "cut", "draining", "not-ready", "stray", "gone"])
def test_one_that_is_broken_is_left_out_alone_and_costs_no_idempotent_call(
    scripted: Any, says: Any, pods: Any, what: str
) -> None:
    script = says.result(1) if what == "gone" else bad_steps(says, what)
    service, found = scripted(says.result(0)), pods(says.result(1), script, says.result(1))
    zone = Zone(*addresses_of(found))
    if what == "gone":
        found[1].close()
    caller = caller_of(says, zone, service.endpoint, found[0].port, idempotent=True)

    async def main() -> list[Any]:
        await meet(caller, says, 3)
        return await in_turn(caller, says, 60)

    assert asyncio.run(main()) == [1] * 60
    assert caller.health.left_out() == [found[1].endpoint]
    # What says itself that it is not there is asked once, what fails in odd ways a few times.
    at_once = what in ("draining", "not-ready", "stray", "gone")
    assert len(found[1].requests) == (0 if what == "gone" else 1 if at_once else 3)
    # Its share went to the others, evenly.
    first, last = len(found[0].requests), len(found[2].requests)
    assert abs(first - last) <= 10


@pytest.mark.usefixtures("for_long")
@pytest.mark.parametrize("what", ["500", "cut"])
def test_what_may_have_run_is_not_sent_again(scripted: Any, says: Any, pods: Any, what: str) -> None:
    service, found = scripted(says.result(0)), pods(says.result(1), bad_steps(says, what))
    caller = caller_of(says, Zone(*addresses_of(found)), service.endpoint, found[0].port)

    async def main() -> list[Any]:
        await meet(caller, says, 2)
        return await in_turn(caller, says, 40)

    ended = asyncio.run(main())
    failed = [one for one in ended if one != 1]
    assert {type(one) for one in failed} <= {MaybeExecuted, WireError}
    assert len(failed) <= 3
    assert caller.health.left_out() == [found[1].endpoint]


@pytest.mark.usefixtures("for_long")
def test_all_of_them_gone_leads_to_the_endpoint_and_back(
    scripted: Any, says: Any, pods: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where all pods are replaced faster than a name server says so."""
    monkeypatch.setattr(addresses, "SOON", 0.01)
    service, found = scripted(says.result(0)), pods(*[says.result(1)] * 3)
    zone = Zone(*(f"127.0.1.{number}" for number in range(3)))
    caller = caller_of(says, zone, service.endpoint, found[0].port)

    async def main() -> None:
        await meet(caller, says, 3)
        while len(caller.health.left_out()) < 3:
            assert await one(caller, says) == 0
        assert [await one(caller, says) for _ in range(10)] == [0] * 10
        assert len(service.requests) > 10
        # The failures had the name looked up again.
        zone.found = addresses_of(found)
        each = caller.tables().route("m:add").each
        assert each is not None
        caller.health.addresses.look_again(each)
        await asyncio.sleep(0.02)
        await meet(caller, says, 3)
        while await one(caller, says) == 0:
            await asyncio.sleep(0.005)
        assert [await one(caller, says) for _ in range(10)] == [1] * 10
        await caller.transport.aclose()

    asyncio.run(main())


def test_a_failure_has_the_name_looked_up_again(
    scripted: Any, says: Any, pods: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, found = scripted(says.result(0)), pods(says.result(1), says.result(1))
    found[1].close()
    zone = Zone(*addresses_of(found))
    caller = caller_of(says, zone, service.endpoint, found[0].port)

    async def main() -> None:
        await meet(caller, says, 2)
        zone.found = addresses_of(found[:1])
        began = time.monotonic()
        while len(known(caller)) == 2:
            assert await one(caller, says) == 1
            await asyncio.sleep(0.005)
            assert time.monotonic() - began < 60
        assert zone.asked == 2
        await caller.transport.aclose()

    monkeypatch.setattr(addresses, "PERIOD", 1000.0)
    asyncio.run(main())


def test_a_connection_that_ends_is_no_address_that_is_gone() -> None:
    """A server closes idle connections, and those of bodies that it will not take."""
    each = addresses.Each("http://h:1", None, "http://s:1", None)
    replicas = (("http://10.0.0.1:1", None), ("http://10.0.0.2:1", None))
    route = Route("0", "http://10.0.0.1:1", "c", replicas=replicas, each=each)
    for errors, out in (
        ([NotSentError("cut", connected=True)] * 2, False),
        ([NotSentError("cut", connected=True)] * 3, True),
        ([NotSentError("refused")], True),
        ([InsecureError("another's", "name-mismatch")], True),
    ):
        found = health.Health()
        for error in errors:
            found.unreached(route, time.monotonic(), error)
        assert found.left_out() == ([route.endpoint] if out else [])
    # Of the Service certificates that do not fit say nothing.
    found = health.Health()
    for _ in range(5):
        found.unreached(
            route._replace(endpoint=each.endpoint), time.monotonic(), InsecureError("no", "expired")
        )
    assert not found.ailing


def test_one_that_is_gone_costs_one_call_its_first_try_and_none_more(
    scripted: Any, says: Any, pods: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is there again is seen without a call; then it is called again."""
    monkeypatch.setattr(health, "AMONG", (0.02, 0.05))
    service, found = scripted(says.result(0)), pods(says.result(1), says.result(1))
    zone = Zone(*addresses_of(found))
    caller = caller_of(says, zone, service.endpoint, found[0].port)
    found[1].close()

    async def main() -> None:
        await meet(caller, says, 2)
        while caller.health.ailing.get(found[1].endpoint, health.Ailing(0.0)).times < 5:
            assert await one(caller, says) == 1
            await asyncio.sleep(0.001)
        assert caller.tallies["m:add"].resent == 1
        again = scripted(says.result(2), at=("127.0.0.3", found[0].port))
        while await one(caller, says) != 2:
            await asyncio.sleep(0.001)
        assert not caller.health.ailing
        assert caller.tallies["m:add"].resent == 1
        assert again.endpoint == found[1].endpoint
        await caller.transport.aclose()

    asyncio.run(main())


@pytest.mark.usefixtures("for_long")
def test_one_that_stands_still_is_left_out_by_hedged_calls(scripted: Any, says: Any, pods: Any) -> None:
    silent = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"
    service, found = scripted(says.result(0)), pods(says.result(1), silent, says.result(1))
    caller = caller_of(says, Zone(*addresses_of(found)), service.endpoint, found[0].port, idempotent=True)

    async def main() -> list[Any]:
        while len(known(caller)) != 3:
            await one(caller, says, hedge=0.02)
            await asyncio.sleep(0.005)
        return await in_turn(caller, says, 40, hedge=0.02)

    assert asyncio.run(main()) == [1] * 40
    assert caller.health.left_out() == [found[1].endpoint]
    assert len(found[1].requests) == 3


@pytest.mark.usefixtures("for_long")
def test_nobody_at_all_is_as_one_endpoint_alone(says: Any, folder: Any) -> None:
    """The breaker of an endpoint that has no other beside it, and the error that says so."""
    caller = caller_of(says, Zone("127.0.0.2"), f"unix://{folder}/none", 1)

    async def main() -> list[Any]:
        while not known(caller):
            await one(caller, says)
        return await in_turn(caller, says, 10, wait=0)

    ended = asyncio.run(main())
    assert {type(one) for one in ended} == {ConnectError}
    assert ended[-1].endpoint == f"unix://{folder}/none"
    assert "the next one is in " in str(ended[-1])
    assert sorted(caller.health.left_out()) == ["http://127.0.0.2:1", f"unix://{folder}/none"]
    with pytest.raises(ConnectError, match="left out for now"):
        caller.way("m:add")


def test_a_late_answer_says_nothing_against_the_endpoint_and_some_against_an_address(
    scripted: Any, says: Any, pods: Any
) -> None:
    silent = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"
    service, (pod,) = scripted(silent), pods(silent)
    zone = Zone()
    caller = caller_of(says, zone, service.endpoint, pod.port)

    async def main() -> None:
        for _ in range(4):
            assert isinstance(await one(caller, says, timeout=0.05), DeadlineExceeded)
        assert caller.health.left_out() == []
        zone.found = addresses_of([pod])
        each = caller.tables().route("m:add").each
        assert each is not None
        while not caller.health.left_out():
            caller.health.addresses.look_again(each)
            assert isinstance(await one(caller, says, timeout=0.05), DeadlineExceeded)
        assert caller.health.left_out() == [pod.endpoint]
        await caller.transport.aclose()

    asyncio.run(main())


@pytest.mark.usefixtures("for_long")
def test_a_table_that_moves_is_followed_and_one_that_does_not_is_no_news(
    scripted: Any, says: Any, pods: Any
) -> None:
    service, found = scripted(says.result(0)), pods(bad_steps(says, "draining"))
    caller = caller_of(says, Zone(*addresses_of(found)), service.endpoint, found[0].port)
    tables = [caller.tables()]
    caller.tables = caller.current = lambda: tables[-1]

    async def main() -> None:
        await meet(caller, says, 1)
        # One pod, which ends: the Service has had others for a moment.
        assert await one(caller, says) == 0
        moved = scripted(says.result(7))
        tables.append(parse_table(table_of(says, moved.endpoint, 80, replicas=[]), "test"))
        assert await one(caller, says) == 7
        await caller.transport.aclose()

    asyncio.run(main())


# Batches.


def test_batches_go_to_each(scripted: Any, says: Any, pods: Any) -> None:
    """Servers that know no batches: their calls go alone, by the same endpoints."""
    service, found = scripted(says.result(0)), pods(*[says.result(1)] * 2)
    caller = caller_of(says, Zone(*addresses_of(found)), service.endpoint, found[0].port, idempotent=True)
    got: list[tuple[int, Any, Exception | None]] = []

    async def main() -> None:
        await meet(caller, says, 2)
        assert caller.way("m:add").endpoint in known(caller)
        found[1].steps = [None]
        batches = Batches(caller, "m:add", says.contract)
        for number in range(20):
            await batches.run([(number, (number,))], lambda *row: got.append(row))
        await caller.transport.aclose()

    asyncio.run(main())
    assert [row[0] for row in got] == list(range(20))
    assert all(row[1] == 1 or isinstance(row[2], WireError) for row in got)


# Tables.


@pytest.mark.parametrize(
    ("endpoint", "each", "tls", "endpoint_tls"),
    [
        ("http://s.ns.svc:8080", "http://s-each.ns.svc:8080", None, None),
        ("https://s.ns.svc:8080", "https://s-each.ns.svc:8080", "s.ns.svc", "s.ns.svc"),
        ("http://s.ns.svc:8080", "https://s-each.ns.svc:8080", "s-each.ns.svc", None),
        ("https://s.ns.svc:8080", "http://s-each.ns.svc:8080", None, "s.ns.svc"),
    ],
)
def test_a_name_has_the_certificate_of_the_endpoint(
    says: Any, endpoint: str, each: str, tls: str | None, endpoint_tls: str | None
) -> None:
    named = {"server_name": endpoint_tls} if endpoint_tls else {}
    table = table_of(says, endpoint, 0, replicas=[f"{each}#each"], **named)
    route = parse_table(table, "test", "/folder").route("m:add")
    assert route.each is not None
    assert (route.each.name, route.each.endpoint, route.endpoint) == (each, endpoint, endpoint)
    found = [one and one.server_name for one in (route.each.tls, route.each.endpoint_tls, route.tls)]
    assert found == [tls, endpoint_tls, endpoint_tls]
    assert route.is_alone
    assert not route.is_one_of_each


@given(st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1", "10.0.0.3"]), max_size=8))
def test_law_each_address_is_one_endpoint_with_its_port(found: list[str]) -> None:
    route = Route("0", "https://s:1", "c", each=addresses.Each("https://h:8443", None, "https://s:1", None))
    zone = Addresses(lambda host, port: found)
    wanted = {f"https://[{one}]:8443" if ":" in one else f"https://{one}:8443" for one in found}
    end = time.monotonic() + 60
    zone.ways(route, 1)
    assert route.each is not None
    while set(zone.known(route.each)) != wanted:
        assert time.monotonic() < end
        time.sleep(0.0005)
    ways, _, count = zone.ways(route, 1)
    assert {one.endpoint for one in ways} == wanted
    assert count == len(wanted)


@pytest.mark.parametrize(
    "name", ["http://#each", "http://h:99999999#each", "http://[x#each", "http://h:1:2#each"]
)
def test_a_name_that_nobody_can_look_up_harms_nobody(scripted: Any, says: Any, name: str) -> None:
    service = scripted(says.result(0))
    caller = caller_of(says, Zone(), service.endpoint, 0, replicas=[name])
    assert asyncio.run(in_turn(caller, says, 5)) == [0] * 5


def test_the_systems_resolver_is_asked() -> None:
    assert "127.0.0.1" in addresses.resolve("localhost", 80)
    assert addresses.resolve("127.0.0.9", 80) == ["127.0.0.9"]
    with pytest.raises(socket.gaierror):
        addresses.resolve("no-such-name.invalid", 80)


def test_no_route_is_no_route(says: Any) -> None:
    caller = caller_of(says, Zone(), "http://s:1", 80)
    with pytest.raises(NotRoutedError):
        caller.way("m:other")
