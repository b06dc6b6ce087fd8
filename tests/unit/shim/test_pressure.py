# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""More calls than a server can answer: those that would be late are refused before any work is spent on them."""

from __future__ import annotations

import asyncio
import importlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift.errors import DeadlineExceeded, Overloaded
from turbolift.shim.gate import Gate
from turbolift.shim.pressure import MARGIN, Pressure
from unit.shim.conftest import http_get

MODULE = """
import os, time
from turbolift import Local, on

def _note(n: int) -> None:
    with open(os.environ["RAN"], "a") as file:
        file.write(f"{n}\\n")

@on(Local(), workers="threads", concurrency=1)
def threads(n: int) -> int:
    _note(n)
    time.sleep(0.3)
    return n

@on(Local(), workers="processes", concurrency=1)
def processes(n: int) -> int:
    _note(n)
    time.sleep(0.3)
    return n

@on(Local(), workers="loop")
def inline(n: int) -> int:
    _note(n)
    time.sleep(0.05)
    return n
"""


@given(st.integers(1, 8), st.integers(0, 30), st.floats(0.001, 10), st.floats(0.001, 100))
def test_what_is_expected_of_a_queue(slots: int, queued: int, service: float, left: float) -> None:
    async def main() -> None:
        gate = Gate(slots, 100)
        pressure = Pressure(gate)
        pressure.learn(service)
        assert pressure.service == service
        for _ in range(slots):
            # While a slot is free, nothing is refused, however little time there is.
            assert not pressure.is_hopeless(1e-9)
            assert not pressure.is_hopeless(-1.0)
            await gate.enter()
        waiting = [asyncio.ensure_future(gate.enter()) for _ in range(queued)]
        await asyncio.sleep(0)
        assert gate.queued == queued
        assert pressure.expected() == pytest.approx(service * (queued + 1) / slots + service)
        assert pressure.is_hopeless(left) == (pressure.expected() > MARGIN * left)
        assert not pressure.is_hopeless(None)
        assert not pressure.gives_way(None)
        # A call whose turn it is gives way only to others.
        assert pressure.gives_way(left) == (queued > 0 and service > MARGIN * left)
        assert 0.05 <= pressure.retry_after() <= 5
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(main())


def test_nothing_is_refused_before_anything_is_known() -> None:
    async def main() -> None:
        gate = Gate(1, 10)
        await gate.enter()
        assert not Pressure(gate).is_hopeless(1e-9)

    asyncio.run(main())


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=50))
def test_the_mean_lies_between_the_least_and_the_most(times: list[float]) -> None:
    pressure = Pressure(Gate(1, 1))
    for seconds in times:
        pressure.learn(seconds)
    assert min(times) * 0.999 <= pressure.service <= max(times) * 1.001


@pytest.fixture
def user(modules: Path) -> Any:
    (modules / "served_pressed.py").write_text(MODULE)
    return importlib.import_module("served_pressed")


def ended(endpoint: str) -> dict[str, int]:
    text = http_get(endpoint, "/metrics")[2].decode()
    lines = [line for line in text.splitlines() if line.startswith("turbolift_calls_total{")]
    return {line.split('outcome="')[1].split('"')[0]: int(float(line.split()[-1])) for line in lines}


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_what_would_be_late_is_refused_and_does_not_run(
    deployment: Any, user: Any, tmp_path: Path, kind: str
) -> None:
    ran = tmp_path / "ran"
    shim = deployment.start(f"served_pressed:{kind}", RAN=str(ran))
    work = getattr(user, kind)

    async def main() -> list[Any]:
        assert await work.with_options(timeout=60)(-1) == -1  # from now on the server knows how long it takes
        hasty = work.with_options(timeout=1.0, wait=0)
        patient = work.with_options(timeout=120)
        calls = [*(hasty(n) for n in range(20)), *(patient(n) for n in range(20, 23))]
        return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(main())
    assert results[20:] == [20, 21, 22]
    refused = [one for one in results if isinstance(one, Overloaded)]
    # A second is no time for twenty calls of 0.3.
    assert len(refused) >= 5
    assert all(one.retry_after is not None and one.retry_after > 0 for one in refused)
    assert any("too long for a call with" in str(one) for one in refused)
    assert {type(one) for one in results} <= {int, Overloaded, DeadlineExceeded}
    # A refused call has certainly not run.
    numbers = set(map(int, ran.read_text().split()))
    assert not numbers & {n for n, one in enumerate(results) if isinstance(one, Overloaded)}
    assert ended(shim.endpoint)["overloaded"] == len(refused)
    # The queue is empty again, and nothing is left of it.
    assert asyncio.run(work.with_options(timeout=60)(99)) == 99


@pytest.mark.skipif(
    os.environ.get("TURBOLIFT_HTTP") == "aiohttp", reason="the lane alone knows when it has read"
)
def test_what_has_lain_unread_for_too_long_is_refused(deployment: Any, user: Any, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    shim = deployment.start("served_pressed:inline", RAN=str(ran))

    async def main() -> list[Any]:
        assert await user.inline.with_options(timeout=60)(-1) == -1
        hasty = user.inline.with_options(timeout=0.5, wait=0)
        found = await asyncio.gather(*(hasty(n) for n in range(60)), return_exceptions=True)
        # Whoever has time is served after them, whatever is said to the others.
        assert await user.inline.with_options(timeout=120)(99) == 99
        return found

    results = asyncio.run(main())
    assert {type(one) for one in results} <= {int, Overloaded, DeadlineExceeded}
    counted = ended(shim.endpoint)
    # Three seconds of work in half a second: most of it was not begun.
    assert counted["overloaded"] >= 10
    assert counted["ok"] == len(ran.read_text().split()) <= 30 + 2
