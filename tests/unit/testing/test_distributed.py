# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""turbolift.testing: through the real wire in one process, recorded, with faults."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from turbolift import (
    ConfigurationError,
    ConnectError,
    DeadlineExceeded,
    DecodeError,
    EncodeError,
    MaybeExecuted,
    Overloaded,
    PayloadTooLarge,
    RemoteTraceback,
    TaggingError,
    UnsupportedTypeError,
    is_distributed,
)
from turbolift.testing import Distributed, Faults, distribute
from unit.testing import userland as u

pytest_plugins = ("turbolift.testing.plugin",)


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    u.RAN.clear()
    u.WARMED.clear()
    threads = set(threading.enumerate())
    yield
    # Those of the background loop live on, and pools' threads end soon after their loop.
    left = [t for t in set(threading.enumerate()) - threads if t.name == "turbolift-testing"]
    assert left == []
    assert not is_distributed()


def test_a_call_goes_through_the_wire(distributed: Distributed) -> None:
    items = [1, 2]
    assert u.append.call(items) == [1, 2, 0]
    assert items == [1, 2]  # the function had a copy
    (call,) = distributed.calls_of(u.append)
    assert call.function == "unit.testing.userland:append"
    assert call.arguments == {"items": [1, 2]}
    assert (call.result, call.error, call.done, call.parent) == ([1, 2, 0], None, True, None)
    (attempt,) = call.attempts
    assert (attempt.outcome, attempt.faults) == ("ok", ())


def test_defaults_and_every_way_to_call(distributed: Distributed) -> None:
    async def main() -> None:
        assert await u.add(1) == 2
        assert await u.add.remote(a=1, b=5) == 6
        assert await u.add.map([1, 2, 3], [1, 1, 1]) == [2, 3, 4]
        assert await u.Cart.total([1.5, 2.0]) == 3.5
        assert await u.working(1) == 2

    asyncio.run(main())
    assert u.add.map([5, 6]).call() == [6, 7]
    assert distributed.calls_of(u.add)[0].arguments == {"a": 1, "b": 1}
    assert len(distributed.calls_of(u.add)) == 7
    assert len(distributed.calls) == 9
    assert u.add.local(1) == 2
    assert len(distributed.calls) == 9


def test_calls_from_threads(distributed: Distributed) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(u.add.call, range(40))) == list(range(1, 41))
    assert sorted(call.result for call in distributed.calls_of(u.add)) == list(range(1, 41))


def test_errors_are_described_and_rebuilt(distributed: Distributed) -> None:
    with pytest.raises(u.Unknown, match="A-1") as caught:
        u.fail.call("A-1")
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "userland.py" in str(caught.value.__cause__)
    (call,) = distributed.calls
    assert call.error is caught.value
    assert call.attempts[0].outcome == "raised"


def test_what_cannot_travel_fails(distributed: Distributed) -> None:
    with pytest.raises(EncodeError):
        u.opaque.call(object())
    with pytest.raises(EncodeError):
        u.add.call("x")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedTypeError, match="lock"):
        u.untravelled.call(threading.Lock())
    with pytest.raises((EncodeError, DecodeError), match=r"result|returned"):
        u.wrong.call()
    with pytest.raises(TypeError, match="add"):
        u.add.call()  # type: ignore[call-arg]
    with pytest.raises(PayloadTooLarge):
        u.small.call("x" * 2000)
    assert [call.done for call in distributed.calls] == [True] * 5
    assert u.RAN == []


def test_nested_calls_have_a_parent(distributed: Distributed) -> None:
    assert u.outer.call(1) == 32
    first, inner, other = distributed.calls
    assert first.function.endswith(":outer")
    assert (first.parent, inner.parent, other.parent) == (None, first, first)
    assert u.outer_in_a_thread.call(2) == 32
    assert distributed.calls[-1].parent is distributed.calls[-2]


def test_another_context_and_thread(distributed: Distributed) -> None:
    u.REQUEST.set("mine")
    assert u.request_here.call() == "none"
    assert u.where.call() == "turbolift-testing"


def test_pure_and_warm_hold(distributed: Distributed, tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="pure"):
        u.writes.call(str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()
    assert [u.warm.call(), u.warm.call()] == [1, 1]


def test_deadlines_and_cancellation(distributed: Distributed) -> None:
    with pytest.raises(DeadlineExceeded):
        u.hurried.call(30)
    assert distributed.calls[-1].attempts[-1].outcome in ("late", "deadline")

    async def main() -> None:
        task = asyncio.create_task(u.nap(30))
        while "nap" not in u.RAN:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while "cancelled" not in u.RAN:
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert distributed.calls[-1].attempts[-1].outcome == "cancelled"


def test_slots_and_queue_hold(distributed: Distributed) -> None:
    distributed.give_up_after(0)

    async def main() -> list[object]:
        return list(await asyncio.gather(*(u.narrow(0.2) for _ in range(5)), return_exceptions=True))

    found = asyncio.run(main())
    assert found.count(1) == 2
    assert sum(isinstance(one, Overloaded) for one in found) == 3


def test_some_are_distributed_alone(distributed: Distributed) -> None:
    distributed.only(u.append)
    items = [1]
    assert u.append.call(items) == [1, 0]
    assert items == [1]
    assert u.opaque.call(object()) == 1  # in process: anything goes
    assert asyncio.run(u.nap(0)) == "slept"
    assert [call.function for call in distributed.calls] == [u.append.identity]
    distributed.only(u.add)
    u.append.call(items)
    assert items == [1, 0]
    distributed.only()
    with pytest.raises(EncodeError):
        u.opaque.call(object())


def test_what_is_not_tagged(distributed: Distributed, faults: Faults) -> None:
    uses: list[Callable[[Any], object]] = [distributed.calls_of, distributed.only, faults.refuse, Distributed]
    for use in uses:
        with pytest.raises(TaggingError, match=r"userland.py:\d+: plain \(function\) is no tagged function"):
            use(u.plain)
    with pytest.raises(TaggingError, match=r"3 \(int\) is no tagged function"):
        distributed.calls_of(3)  # type: ignore[arg-type]


def test_refused(distributed: Distributed, faults: Faults) -> None:
    fault = faults.refuse(u.add, times=2)
    assert u.add.call(1) == 2
    assert [a.outcome for a in distributed.calls[0].attempts] == ["not-sent", "not-sent", "ok"]
    assert (fault.struck, fault.left) == (2, 0)
    distributed.give_up_after(0)
    with faults.refuse(u.add, times=None), pytest.raises(ConnectError, match="did not run"):
        u.add.call(1)
    assert u.add.call(1) == 2


def test_busy(distributed: Distributed, faults: Faults) -> None:
    faults.busy(times=1)
    assert u.add.call(1) == 2
    assert [a.outcome for a in distributed.calls[0].attempts] == ["overloaded", "ok"]
    distributed.give_up_after(0)
    with faults.busy(times=None, retry_after=3), pytest.raises(Overloaded) as caught:
        u.add.call(1)
    assert caught.value.retry_after == 3
    assert u.RAN == ["add 1 1"]


@pytest.mark.parametrize(("kind", "runs"), [("break_after_send", 0), ("lose_answer", 1), ("kill", 0)])
def test_maybe_executed(distributed: Distributed, faults: Faults, kind: str, runs: int) -> None:
    getattr(faults, kind)()
    with pytest.raises(MaybeExecuted):
        u.add.call(1)
    assert len(u.RAN) == runs
    (attempt,) = distributed.calls_of(u.add)[0].attempts
    assert (attempt.outcome, attempt.faults) == ("broken", (kind,))
    u.RAN.clear()
    getattr(faults, kind)(u.again)
    assert u.again.call(3) == 3
    assert len(u.RAN) == runs + 1
    assert [a.outcome for a in distributed.calls_of(u.again)[0].attempts] == ["broken", "ok"]


def test_a_kill_breaks_what_runs(distributed: Distributed, faults: Faults) -> None:
    async def main() -> None:
        running = asyncio.create_task(u.nap(30))
        while "nap" not in u.RAN:
            await asyncio.sleep(0.001)
        faults.kill(u.nap)
        with pytest.raises(MaybeExecuted):
            await u.nap(0)
        with pytest.raises(MaybeExecuted):
            await running
        assert u.RAN == ["nap", "cancelled"]
        assert await u.nap(0) == "slept"

    asyncio.run(main())


def test_a_delay_counts_against_the_deadline(distributed: Distributed, faults: Faults) -> None:
    faults.delay(u.hurried, seconds=30)
    with pytest.raises(DeadlineExceeded):
        u.hurried.call(0)
    assert u.hurried.call(0) == "slept"
    started = time.monotonic()
    faults.delay(u.add, seconds=0.05)
    faults.refuse(u.add)
    assert u.add.call(1) == 2
    assert time.monotonic() - started >= 0.05
    assert distributed.calls_of(u.add)[0].attempts[0].faults == ("delay", "refuse")


def test_a_fault_by_predicate(distributed: Distributed, faults: Faults) -> None:
    faults.break_after_send(u.add, times=None, when=lambda call: call.arguments["a"] == 7)
    faults.refuse(u.again, times=None, when=lambda call: len(call.attempts) < 3)

    async def main() -> list[object]:
        return list(await u.add.map(range(10), return_exceptions=True))

    found = asyncio.run(main())
    assert isinstance(found[7], MaybeExecuted)
    assert found[:7] + found[8:] == [1, 2, 3, 4, 5, 6, 7, 9, 10]
    assert u.again.call(1) == 1
    assert len(distributed.calls_of(u.again)[0].attempts) == 4
    distributed.clear()
    assert u.add.call(7) == 8
    assert len(distributed.calls) == 1


def test_faults_that_make_no_sense(faults: Faults) -> None:
    with pytest.raises(ConfigurationError, match="times"):
        faults.refuse(times=0)
    with pytest.raises(ConfigurationError, match="seconds"):
        faults.delay(seconds=-1)


def test_blocks_nest_and_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURBOLIFT", "off")
    with distribute() as outside:
        assert u.add.call(1) == 2
        with distribute(u.again) as inside:
            assert u.add.call(1) == 2
            assert u.again.call(1) == 1
        assert u.again.call(1) == 1
        assert os.environ["TURBOLIFT"] == "on"
    assert os.environ["TURBOLIFT"] == "off"
    assert (len(inside.calls), len(outside.calls)) == (1, 2)
    with pytest.raises(RuntimeError, match="make another"):
        outside.__enter__()
    assert u.add.call(1) == 2
    assert len(outside.calls) == 2


def test_a_call_that_outlives_its_block() -> None:
    async def main() -> None:
        with distribute() as run:
            task = asyncio.create_task(u.nap(30))
            while "nap" not in u.RAN:
                await asyncio.sleep(0.001)
        with pytest.raises(MaybeExecuted):
            await task
        assert isinstance(run.calls[0].error, MaybeExecuted)

    asyncio.run(main())
