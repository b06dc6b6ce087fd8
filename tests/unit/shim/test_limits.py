# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Limits: deadlines, cancellation, overload, sizes, purity."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from turbolift import DeadlineExceeded, MaybeExecuted, Overloaded, PayloadTooLarge

Standing = Callable[..., Any]


async def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.01)


def test_the_tags_timeout_ends_a_call_on_both_sides(standing: Standing, served: Any, tmp_path: Path) -> None:
    standing("served:brief")
    marker = tmp_path / "marker"

    async def main() -> None:
        # The connection and its pool are there when the clock starts.
        await served.brief.with_options(timeout=60)("echo")
        with pytest.raises(DeadlineExceeded) as caught:
            await served.brief("wait", str(marker), 600.0)
        assert caught.value.timeout == 1.0
        assert caught.value.function == "served:brief"
        assert isinstance(caught.value, TimeoutError)
        await wait_for(lambda: marker.read_text() == "cancelled")

    asyncio.run(main())


def test_a_calls_own_timeout(standing: Standing, served: Any, tmp_path: Path) -> None:
    standing("served:brief", "served:act")
    for seconds in (60, None):
        longer = served.brief.with_options(timeout=seconds)
        assert longer.call("wait", str(tmp_path / "a"), 1.2) == "waited"
    with pytest.raises(DeadlineExceeded):
        served.brief.with_options(timeout=0.05).call("wait", str(tmp_path / "b"), 600.0)
    with pytest.raises(DeadlineExceeded):
        served.act.with_options(timeout=0.1).call("sleep", str(tmp_path / "c"), 0.5)


def test_a_nested_call_inherits_the_deadline(standing: Standing, served: Any, tmp_path: Path) -> None:
    # The inner function has no timeout of its own: without the outer one's it would sleep on.
    standing("served:brief", "served:quick")
    with pytest.raises(DeadlineExceeded):
        served.brief.call("nested-sleep", str(tmp_path / "m"), 3.0)


def test_the_server_honours_a_deadline_by_itself(standing: Standing, http: Any, tmp_path: Path) -> None:
    shim = standing("served:brief")
    body = json.dumps({"args": {"what": "wait", "text": str(tmp_path / "m"), "seconds": 600}}).encode()
    post = http(shim.endpoint)
    status, problem = post(body, "application/json", "Turbolift-Deadline: 0.4", identity="served:brief")
    assert (status, problem["type"]) == (504, "urn:turbolift:problem:deadline")
    # Without the header the tag's own timeout holds.
    assert post(body, "application/json", identity="served:brief")[0] == 504
    assert (tmp_path / "m").read_text() == "cancelled"


def test_a_deadline_ends_a_worker_process(standing: Standing, served: Any, tmp_path: Path) -> None:
    standing("served:pact")

    async def main() -> None:
        before = {await served.pact("pid")}
        with pytest.raises(DeadlineExceeded):
            await served.pact.with_options(timeout=0.2)("sleep", str(tmp_path / "m"), 600.0)
        # A worker that slept for ten minutes would fill one of the two places.
        assert await asyncio.gather(*(served.pact("echo", str(i)) for i in range(6))) == list("012345")
        assert before

    asyncio.run(main())


def test_cancelling_the_caller_cancels_an_async_function(
    standing: Standing, served: Any, tmp_path: Path
) -> None:
    standing("served:aact")
    marker = tmp_path / "marker"

    async def main() -> None:
        task = asyncio.create_task(served.aact.with_options(timeout=60)("wait", str(marker), 600.0))
        await wait_for(marker.exists)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await wait_for(lambda: marker.read_text() == "cancelled")

    asyncio.run(main())


def test_the_first_error_of_a_map_cancels_the_rest(standing: Standing, served: Any, tmp_path: Path) -> None:
    standing("served:aact")
    markers = [tmp_path / str(i) for i in range(3)]
    longer = served.aact.with_options(timeout=60)

    async def main() -> None:
        async def rows() -> Any:
            for marker in markers:
                yield "wait", str(marker), 600.0
            await wait_for(lambda: all(marker.exists() for marker in markers))
            yield "value", "no", 0.0

        with pytest.raises(ValueError, match="no"):
            await longer.starmap(rows())
        await wait_for(lambda: {marker.read_text() for marker in markers} == {"cancelled"})

    asyncio.run(main())


def test_a_slot_of_a_thread_is_taken_until_it_ends(
    deployment: Any, served: Any, tmp_path: Path, get: Any
) -> None:
    shim = deployment.start("served:act")
    marker = tmp_path / "m"

    async def main() -> None:
        with pytest.raises(DeadlineExceeded):
            await served.act.with_options(timeout=0.5)("hold", str(marker))
        assert gauge(get, shim, "running") == 1
        go(marker)
        await wait_for(lambda: gauge(get, shim, "running") == 0)
        assert await served.act("echo", "x") == "x"

    asyncio.run(main())


def gauge(get: Any, shim: Any, name: str) -> float:
    text = get(shim.endpoint, "/metrics")[2].decode()
    return next(
        float(line.split()[1]) for line in text.splitlines() if line.startswith(f"turbolift_calls_{name}{{")
    )


def go(*markers: Path) -> None:
    for marker in markers:
        Path(f"{marker}.go").touch()


def test_past_the_queue_calls_are_refused(
    deployment: Any, served: Any, tmp_path: Path, http: Any, get: Any
) -> None:
    shim = deployment.start("served:act")  # two slots, two places
    post = http(shim.endpoint)
    markers = [tmp_path / str(i) for i in range(4)]
    bodies = [json.dumps({"args": {"what": "hold", "text": str(m)}}).encode() for m in markers]
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda b=b: statuses.append(post(b, "application/json")[0])) for b in bodies
    ]
    for thread in threads:
        thread.start()
    asyncio.run(wait_for(lambda: (gauge(get, shim, "running"), gauge(get, shim, "queued")) == (2, 2)))
    status, problem = post(b'{"args": {"what": "echo"}}', "application/json")
    assert (status, problem["type"]) == (503, "urn:turbolift:problem:overloaded")
    assert problem["retry_after"] > 0
    # A caller of ours waits as it is told, and gets through.
    patient: list[str] = []
    waiting = threading.Thread(target=lambda: patient.append(served.act.call("echo", "patient")))
    waiting.start()
    asyncio.run(wait_for(lambda: b'outcome="overloaded"} 1.0' not in get(shim.endpoint, "/metrics")[2]))
    go(*markers)
    for thread in (*threads, waiting):
        thread.join()
    assert patient == ["patient"]
    assert statuses == [200] * 4


def test_a_caller_gives_up_on_a_full_server(deployment: Any, served: Any, tmp_path: Path) -> None:
    from turbolift.client import Caller, Policy, default_transport

    deployment.start("served:act")
    impatient = Caller(default_transport(), policy=Policy(busy=0.0))
    markers = [tmp_path / str(i) for i in range(12)]

    async def main() -> None:
        contract = served.act.contract
        calls = [
            asyncio.ensure_future(impatient.call("served:act", contract, ("hold", str(m)), {}))
            for m in markers
        ]
        await wait_for(lambda: sum(call.done() for call in calls) == 8)
        go(*markers)
        results = await asyncio.gather(*calls, return_exceptions=True)
        refused = [r for r in results if isinstance(r, Overloaded)]
        assert len(refused) == 8
        assert refused[0].retry_after
        assert results.count("held") == 4

    asyncio.run(main())


@pytest.mark.parametrize("size", [(1 << 20) + 1, 30 << 20])
def test_a_request_over_the_limit(standing: Standing, served: Any, size: int) -> None:
    standing("served:act")
    with pytest.raises(PayloadTooLarge) as caught:
        served.act.call("echo", "x" * size)
    assert caught.value.limit == 1 << 20
    assert caught.value.size is not None
    assert caught.value.size > size
    assert "max_payload" in str(caught.value)
    assert served.act.call("echo", "small") == "small"


def test_an_answer_over_the_limit(standing: Standing, served: Any) -> None:
    from turbolift.client import Caller, Policy, default_transport

    standing("served:flip")
    caller = Caller(default_transport(), policy=Policy(max_answer=1000))

    async def main() -> None:
        contract = served.flip.contract
        assert await caller.call("served:flip", contract, (b"ab",), {}) == b"ba"
        with pytest.raises(PayloadTooLarge) as caught:
            await caller.call("served:flip", contract, (b"x" * 2000,), {})
        assert caught.value.limit == 1000

    asyncio.run(main())


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("write", "must not open '{}' for writing"),
        ("socket", "must not open a socket"),
        ("process", "must not start the process '{}'"),
        ("hide", "tried to open '{}' for writing, and caught the refusal"),
    ],
)
def test_a_pure_function_has_no_effects(
    standing: Standing, served: Any, tmp_path: Path, what: str, said: str
) -> None:
    standing("served:pure")
    with pytest.raises(PermissionError) as caught:
        served.pure.call(what, str(tmp_path / "f"))
    assert said.format(tmp_path / "f") in str(caught.value)
    assert not (tmp_path / "f").exists()


def test_a_pure_function_may_read_and_import(standing: Standing, served: Any) -> None:
    standing("served:pure")
    assert served.pure.call("read", "") == "\n"
    assert served.pure.call("import", "") == "\n"


def test_health_while_every_slot_is_busy(standing: Standing, served: Any, tmp_path: Path, get: Any) -> None:
    for name in ("act", "pact"):
        shim = standing(f"served:{name}")

        async def main(name: str, shim: Any) -> None:
            markers = [tmp_path / f"{name}{i}" for i in range(2)]
            calls = [asyncio.create_task(getattr(served, name)("hold", str(m))) for m in markers]
            await wait_for(lambda: all(m.exists() for m in markers))
            assert (await asyncio.to_thread(get, shim.endpoint, "/healthz"))[0] == 200
            assert not any(call.done() for call in calls)
            go(*markers)
            await asyncio.gather(*calls)

        asyncio.run(main(name, shim))


def test_maybe_executed_is_a_connection_error() -> None:
    assert issubclass(MaybeExecuted, ConnectionError)


def test_a_caller_that_asks_first_sends_nothing_in_vain(standing: Standing, get: Any) -> None:
    shim = standing("served:act")

    def asked(size: int, expectation: str) -> tuple[int, bytes]:
        head = (
            f"POST /v1/functions/served:act HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {size}\r\nExpect: {expectation}\r\nConnection: close\r\n\r\n"
        )
        status, _, body = get(shim.endpoint, "", raw=head.encode())
        return status, body

    status, body = asked(1 << 30, "100-continue")
    assert status == 413
    assert json.loads(body)["size"] == 1 << 30
    assert asked(10, "a miracle")[0] == 417
