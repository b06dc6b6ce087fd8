# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One call against servers that misbehave: what is sent again, what is raised, what is on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from turbolift.client import Caller, Policy, default_transport, parse_table
from turbolift.errors import (
    ConnectError,
    DeadlineExceeded,
    DecodeError,
    MaybeExecuted,
    Overloaded,
    WireError,
)
from turbolift.wire import deadline_at, trace_of


def headers(request: tuple[bytes, bytes]) -> dict[str, str]:
    lines = request[0].decode().split("\r\n")[1:]
    return {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}


def test_what_is_on_the_wire(scripted: Any, call: Any, says: Any) -> None:
    server = scripted(says.result(3))
    assert call(server.endpoint, 1, 2, timeout=5) == 3
    head, body = server.requests[0]
    assert head.startswith(b"POST /v1/functions/m:add HTTP/1.1")
    assert json.loads(body) == {"args": {"a": 1, "b": 2}}
    sent = headers(server.requests[0])
    assert sent["turbolift-contract"] == says.contract.digest
    assert 0 < float(sent["turbolift-deadline"]) <= 5
    assert sent["traceparent"].startswith("00-")
    assert len(sent["idempotency-key"]) == 32
    assert sent["content-type"] == "application/json"
    assert sent.keys() == {
        "host",
        "content-type",
        "content-length",
        "turbolift-contract",
        "turbolift-deadline",
        "traceparent",
        "idempotency-key",
    }


def test_connections_are_kept(scripted: Any, call: Any, says: Any) -> None:
    server = scripted(says.result(1))
    call(server.endpoint, times=20)
    assert len(server.requests) == 20
    assert server.connections == 1
    assert len({headers(request)["idempotency-key"] for request in server.requests}) == 20
    assert headers(server.requests[0])["turbolift-deadline"] == "none"


def test_a_connection_that_the_server_closed_costs_no_call(scripted: Any, says: Any) -> None:
    server = scripted(says.last(says.result(4)))
    caller, _ = caller_of(server.endpoint, contract=says.contract.digest)

    async def main() -> None:
        for _ in range(5):
            assert await caller.call("m:add", says.contract, (1,), {}) == 4
            await asyncio.sleep(0.05)  # the end of the connection has arrived

    asyncio.run(main())
    assert server.connections == 5


@pytest.mark.parametrize("kind", ["overloaded", "draining", "not-ready"])
def test_a_refusal_is_sent_again(scripted: Any, call: Any, says: Any, kind: str) -> None:
    server = scripted(says.problem(kind), says.problem(kind, retry_after=0.01), says.result(7))
    assert call(server.endpoint) == 7
    assert len(server.requests) == 3
    # One call, one key.
    assert len({headers(request)["idempotency-key"] for request in server.requests}) == 1


def test_refusals_end(scripted: Any, call: Any, says: Any) -> None:
    server = scripted(says.problem("overloaded", retry_after=0.02))
    with pytest.raises(Overloaded) as caught:
        call(server.endpoint, policy=Policy(first=0.001, busy=1.0))
    assert caught.value.retry_after == 0.02
    assert len(server.requests) > 2


def test_the_server_says_how_long_to_wait(scripted: Any, call: Any, says: Any) -> None:
    server = scripted(says.problem("overloaded", retry_after=60))
    with pytest.raises(Overloaded):
        call(server.endpoint)
    assert len(server.requests) == 1


@pytest.mark.parametrize("step", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n{", b"HTTP/1.1 2"])
def test_a_cut_connection(scripted: Any, call: Any, step: bytes | None) -> None:
    server = scripted(step if step != b"HTTP/1.1 2" else step + b"\r\nConnection: close")
    with pytest.raises(MaybeExecuted, match="may or may not have run") as caught:
        call(server.endpoint)
    assert caught.value.function == "m:add"
    assert caught.value.endpoint == server.endpoint
    assert len(server.requests) == 1


def test_a_cut_connection_of_an_idempotent_function(scripted: Any, call: Any, says: Any) -> None:
    server = scripted(None, None, says.result(5))
    assert call(server.endpoint, idempotent=True) == 5
    never = scripted(None)
    with pytest.raises(MaybeExecuted):
        call(never.endpoint, idempotent=True)
    assert len(never.requests) == 1 + Policy().resends


def test_a_dead_worker(scripted: Any, call: Any, says: Any) -> None:
    server = scripted(says.problem("worker-died"), says.result(5))
    with pytest.raises(MaybeExecuted, match="said the server"):
        call(server.endpoint)
    server = scripted(says.problem("worker-died"), says.result(5))
    assert call(server.endpoint, idempotent=True) == 5


def test_the_only_replica_is_waited_for_while_it_is_started_again(
    scripted: Any, folder: Path, call: Any, says: Any
) -> None:
    # As long as a kubelet has been seen to take from the death of a shim to its new one, and more.
    starting = threading.Timer(5.0, lambda: scripted(says.result(6)))
    starting.start()
    try:
        assert call(f"unix://{folder}/s0", policy=Policy()) == 6
    finally:
        starting.join()


def test_nobody_there(folder: Path, call: Any) -> None:
    with pytest.raises(ConnectError, match=r"cannot reach unix:///.*the function did not run"):
        call(f"unix://{folder}/none")
    with pytest.raises(ConnectError, match=r"cannot reach http://127\.0\.0\.1:1:"):
        call("http://127.0.0.1:1")


def test_nobody_accepts(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turbolift.client.lane.connect.CONNECT_TIME", 0.2)
    monkeypatch.setattr("turbolift.client.lane.pool.CONNECT_TIME", 0.2)
    monkeypatch.setattr("turbolift.client.aiohttp_transport.CONNECT_TIME", 0.2)
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        # The kernel answers no more once the queue is full.
        for _ in range(8):
            one = opened.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        with pytest.raises(ConnectError, match=r"no connection within 0\.2 s; the function did not run"):
            call(f"http://127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"hello", "text/html"),
        (200, b"{", "application/json"),
        (200, b'{"result": 1, "more": 2}', "application/json"),
        (200, b'{"args": 1}', "application/json"),
        (302, b"", "text/plain"),
        (404, b"not found", "text/plain"),
        (502, b"<html>bad gateway</html>", "text/html"),
        (500, b"{}", "application/problem+json"),
        (500, b"{", "application/problem+json"),
        (500, b'{"type": "about:blank"}', "application/problem+json"),
    ],
)
def test_something_else_answers(
    scripted: Any, call: Any, says: Any, status: int, body: bytes, kind: str
) -> None:
    server = scripted(says.answer(status, body, kind))
    with pytest.raises(WireError, match=f"answered with status {status}") as caught:
        call(server.endpoint)
    assert body.decode()[:10] in str(caught.value)
    assert len(server.requests) == 1


def test_a_result_of_another_type(scripted: Any, call: Any, says: Any) -> None:
    server = scripted(says.result("three"))
    with pytest.raises(DecodeError):
        call(server.endpoint)


def caller_of(*endpoints: str, contract: str, **route: Any) -> tuple[Caller, list[int]]:
    """A caller whose table leads to one endpoint after the other, a look-up each."""
    looked: list[int] = []

    def tables() -> Any:
        endpoint = endpoints[min(len(looked), len(endpoints) - 1)]
        looked.append(1)
        entry = {"version": "0" * 64, "endpoint": endpoint, "contract": contract, **route}
        return parse_table(
            {"version": 1, "deployment": "d", "platform": "p", "generation": 1, "routes": {"m:add": entry}},
            "t",
        )

    return Caller(default_transport(), tables, Policy(first=0.001)), looked


@pytest.mark.parametrize("kind", ["gone", "draining"])
def test_another_route_is_taken_at_once(scripted: Any, folder: Path, says: Any, kind: str) -> None:
    old = (
        f"unix://{folder}/gone"
        if kind == "gone"
        else scripted(says.problem("draining", retry_after=60)).endpoint
    )
    new = scripted(says.result(9))
    caller, _ = caller_of(old, new.endpoint, contract=says.contract.digest)
    assert asyncio.run(caller.call("m:add", says.contract, (1,), {})) == 9


def test_deadline_before_sending(scripted: Any, says: Any) -> None:
    server = scripted(says.result(1))
    caller, _ = caller_of(server.endpoint, contract=says.contract.digest)

    async def main() -> None:
        with deadline_at(time.monotonic() - 1), pytest.raises(DeadlineExceeded, match="before it was sent"):
            await caller.call("m:add", says.contract, (1,), {})
        # The tighter one holds, and the trace goes on.
        with deadline_at(time.monotonic() + 50), trace_of("00-" + "a" * 32 + "-" + "b" * 16 + "-01"):
            await caller.call("m:add", says.contract, (1,), {}, timeout=1000)
            await caller.call("m:add", says.contract, (1,), {}, timeout=10)
            await caller.call("m:add", says.contract, (1,), {}, timeout=None)

    asyncio.run(main())
    lefts = [float(headers(request)["turbolift-deadline"]) for request in server.requests]
    assert [left > 10 for left in lefts] == [True, False, True]
    assert {headers(request)["traceparent"].split("-")[1] for request in server.requests} == {"a" * 32}


def test_retries_end_with_the_deadline(scripted: Any, says: Any) -> None:
    server = scripted(says.problem("overloaded", retry_after=0.01))
    caller, _ = caller_of(server.endpoint, contract=says.contract.digest)
    with pytest.raises(DeadlineExceeded, match=r"the last of [0-9]+ tries: .*said the server") as caught:
        asyncio.run(caller.call("m:add", says.contract, (1,), {}, timeout=0.5))
    assert isinstance(caught.value.__cause__, Overloaded)
    assert caught.value.timeout == 0.5


def test_an_outer_timeout_is_not_ours(scripted: Any, says: Any) -> None:
    server = scripted(says.problem("overloaded", retry_after=0.01))
    caller, _ = caller_of(server.endpoint, contract=says.contract.digest)

    async def main() -> None:
        async with asyncio.timeout(0.1):
            await caller.call("m:add", says.contract, (1,), {}, timeout=50)

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(main())
    assert type(caught.value) is TimeoutError


LEAKS = """
import asyncio, gc, json, logging, os, sys, tracemalloc
# Of asyncio's log all but what it says of a slow machine.
logging.getLogger("asyncio").setLevel("ERROR")
tracemalloc.start(5)
from turbolift import Local, on
import leak_module as m
os.environ["TURBOLIFT"] = "on"
entry = {"version": "0" * 64, "endpoint": sys.argv[1], "contract": m.add.contract.digest}
os.environ["TURBOLIFT_ROUTES"] = json.dumps(
    {"version": 1, "deployment": "d", "platform": "p", "generation": 1, "routes": {"leak_module:add": entry}})

async def main():
    assert await m.add.map(range(8)) == [7] * 8

for _ in range(3):
    asyncio.run(main())
    gc.collect()
assert m.add.call(1) == 7
pid = os.fork()
assert m.add.call(1) == 7
asyncio.run(main())
if pid == 0:
    os._exit(0)  # as the children of multiprocessing end
assert os.waitpid(pid, 0)[1] == 0
gc.collect()
print("done")
"""


def test_no_leaks_across_loops_threads_and_forks(scripted: Any, says: Any, tmp_path: Path) -> None:
    server = scripted(says.result(7))
    (tmp_path / "leak_module.py").write_text(
        "from turbolift import Local, on\n\n@on(Local())\ndef add(a: int, b: int = 1) -> int:\n    return a + b\n"
    )
    # What is told about leaks: unclosed sockets, transports and sessions, coroutines that were never awaited.
    # From 3.12 on os.fork warns of the threads that exist, which is what is tested.
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", LEAKS,
         server.endpoint],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
        check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout == "done\n"
    assert done.returncode == 0
