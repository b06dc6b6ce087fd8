# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Batches against servers that misbehave, or are from before there were any: each call keeps its own end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from turbolift.client import Caller, Policy, default_transport, parse_table
from turbolift.client.batches import Batches
from turbolift.client.pace import Pace
from turbolift.errors import ConnectError, DecodeError, MaybeExecuted, Overloaded
from turbolift.wire import JSON, PROBLEM, Problem, deadline_at, trace_of
from turbolift.wire.batch import BATCH, NOT_BEGUN, join_answers, read_calls

TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def send(endpoint: str, says: Any, *rows: tuple[Any, ...], size: int | None = None, **route: Any) -> Any:
    """Call ``m:add`` for all rows in one batch (or of `size`); return results and errors."""
    entry = {"version": "0" * 64, "endpoint": endpoint, "contract": says.contract.digest, **route}
    table = parse_table(
        {"version": 1, "deployment": "d", "platform": "p", "generation": 1, "routes": {"m:add": entry}},
        "test",
    )

    async def main() -> list[Any]:
        caller = Caller(default_transport(), lambda: table, Policy(first=0.001, refused=0.3, busy=0.3))
        batches = Batches(caller, "m:add", says.contract, pace=Pace(size or len(rows)))
        found: dict[int, Any] = {}

        def settle(number: int, value: Any, error: Exception | None) -> None:
            assert number not in found, "settled twice"
            found[number] = value if error is None else error

        await batches.run(list(enumerate(rows)), settle)
        await caller.transport.aclose()
        return [found[number] for number in range(len(rows))]

    return asyncio.run(main())


def ended(says: Any, *answers: tuple[int, str, bytes]) -> bytes:
    made: bytes = says.answer(200, join_answers(answers, 0.001), BATCH)
    return made


def value(number: int) -> tuple[int, str, bytes]:
    return 200, JSON, b'{"result":%d}' % number


def problem(kind: str) -> tuple[int, str, bytes]:
    made = Problem(kind, "said the server")
    return made.status, PROBLEM, made.body()


def test_what_is_on_the_wire(scripted: Any, says: Any) -> None:
    server = scripted(ended(says, value(3), value(7)))
    with trace_of(TRACE):
        assert send(server.endpoint, says, (1, 2), (3, 4), timeout=5) == [3, 7]
    ((head, body),) = server.requests
    assert f"content-type: {BATCH}" in head.decode().lower()
    calls = read_calls(body)
    assert [call.body for call in calls] == [b'{"args":{"a":1,"b":2}}', b'{"args":{"a":3,"b":4}}']
    assert len({call.key for call in calls}) == 2
    assert len({call.trace for call in calls}) == 2, "each call has a span of its own"
    assert all(call.trace.startswith(b"00-" + b"a" * 32) for call in calls)
    assert all(call.remaining is not None and 0 < call.remaining <= 5 for call in calls)


def test_without_a_deadline(scripted: Any, says: Any) -> None:
    server = scripted(ended(says, value(3), value(7)))
    assert send(server.endpoint, says, (1, 2), (3, 4)) == [3, 7]
    assert [call.remaining for call in read_calls(server.requests[0][1])] == [None, None]


def test_a_call_that_cannot_be_sent_fails_alone(scripted: Any, says: Any) -> None:
    server = scripted(ended(says, value(3), value(7)))
    found = send(server.endpoint, says, (1, 2), ("x",), (1, 2, 3), (3, 4), size=4)
    assert (found[0], found[3]) == (3, 7)
    assert isinstance(found[1], TypeError)
    assert isinstance(found[2], TypeError)
    assert len(read_calls(server.requests[0][1])) == 2


def test_each_has_its_own_error(scripted: Any, says: Any) -> None:
    server = scripted(ended(says, value(3), problem("invalid-arguments"), value(5)))
    found = send(server.endpoint, says, (1, 2), (1, 3), (1, 4))
    assert (found[0], found[2]) == (3, 5)
    assert isinstance(found[1], DecodeError)
    assert len(server.requests) == 1


def test_an_old_server_gets_calls_one_by_one(scripted: Any, says: Any) -> None:
    server = scripted(says.problem("malformed"), says.result(3))
    assert send(server.endpoint, says, (1, 2), (2, 1), (0, 3), size=3) == [3, 3, 3]
    assert [b'{"args"' in body[:8] for _, body in server.requests] == [False, True, True, True]


@pytest.mark.parametrize("kind", ["overloaded", "draining", "not-ready", "payload-too-large"])
def test_a_batch_that_is_refused_is_sent_one_by_one(scripted: Any, says: Any, kind: str) -> None:
    server = scripted(says.problem(kind), says.result(3))
    assert send(server.endpoint, says, (1, 2), (2, 1)) == [3, 3]
    assert len(server.requests) == 3


def test_a_refused_call_is_sent_again_alone(scripted: Any, says: Any) -> None:
    server = scripted(ended(says, value(3), problem("overloaded")), says.result(4))
    assert send(server.endpoint, says, (1, 2), (1, 3)) == [3, 4]
    key = read_calls(server.requests[0][1])[1].key
    assert b"Idempotency-Key: " + key in server.requests[1][0], "it is the same call"
    assert server.requests[1][1] == b'{"args":{"a":1,"b":3}}'


def test_refusals_end(scripted: Any, says: Any) -> None:
    server = scripted(ended(says, value(3), problem("overloaded")), says.problem("overloaded"))
    found = send(server.endpoint, says, (1, 2), (1, 3))
    assert found[0] == 3
    assert isinstance(found[1], Overloaded)


def test_what_was_not_begun_is_sent_again(scripted: Any, says: Any) -> None:
    back = (NOT_BEGUN, JSON, b"")
    server = scripted(ended(says, value(3), back, back), ended(says, value(4), back), ended(says, value(5)))
    assert send(server.endpoint, says, (1, 2), (1, 3), (1, 4)) == [3, 4, 5]


def test_a_cut_connection(scripted: Any, says: Any) -> None:
    server = scripted(None)
    found = send(server.endpoint, says, (1, 2), (1, 3))
    assert [type(error) for error in found] == [MaybeExecuted, MaybeExecuted]
    assert len(server.requests) == 1


def test_a_cut_connection_of_an_idempotent_function(scripted: Any, says: Any) -> None:
    server = scripted(None, says.result(9))
    assert send(server.endpoint, says, (1, 2), (1, 3), idempotent=True) == [9, 9]
    keys = {call.key for call in read_calls(server.requests[0][1])}
    again = {
        line for head, _ in server.requests[1:] for line in head.split(b"\r\n") if b"Idempotency" in line
    }
    assert again == {b"Idempotency-Key: " + key for key in keys}


@pytest.mark.parametrize("said", [b"", b"nonsense", b"\xff" * 20])
def test_a_broken_answer_says_nothing_about_any(scripted: Any, says: Any, said: bytes) -> None:
    server = scripted(says.answer(200, said, BATCH))
    found = send(server.endpoint, says, (1, 2), (1, 3))
    assert [type(error) for error in found] == [MaybeExecuted, MaybeExecuted]


def test_a_call_that_the_answer_leaves_out(scripted: Any, says: Any) -> None:
    server = scripted(ended(says, value(3)))
    found = send(server.endpoint, says, (1, 2), (1, 3))
    assert found[0] == 3
    assert isinstance(found[1], MaybeExecuted)


def test_nobody_there(says: Any, folder: Any) -> None:
    found = send(f"unix://{folder}/none", says, (1, 2), (1, 3))
    assert [type(error) for error in found] == [ConnectError, ConnectError]


def test_a_deadline_that_has_passed(scripted: Any, says: Any) -> None:
    server = scripted(says.result(3))
    with deadline_at(0.0):
        found = send(server.endpoint, says, (1, 2), (1, 3))
    assert {str(error).partition(": ")[2] for error in found} == {
        "its deadline had passed before it was sent"
    }
    assert not server.requests
