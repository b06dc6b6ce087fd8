# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""``map`` against real servers: batches change how calls travel, and nothing that a user can tell."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turbolift import DeadlineExceeded
from turbolift.client import aclose, default_caller
from turbolift.client.batches import Batches
from turbolift.client.pace import Pace

Standing = Callable[..., Any]

OF_EACH_KIND = ["inline", "quick", "aact", "pact"]


async def stream(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item


def all_in_one(function: Any, *rows: tuple[Any, ...], **options: Any) -> list[Any]:
    """Call for all rows in one batch; return results and errors."""

    async def main() -> list[Any]:
        batches = Batches(
            default_caller(), function.identity, function.contract, pace=Pace(len(rows)), **options
        )
        found: dict[int, Any] = {}

        def settle(number: int, value: Any, error: Exception | None) -> None:
            assert number not in found, "settled twice"
            found[number] = value if error is None else error

        await batches.run(list(enumerate(rows)), settle)
        await aclose()
        return [found[number] for number in range(len(rows))]

    return asyncio.run(main())


def calls(get: Any, shim: Any) -> dict[str, int]:
    """Return how the server's calls ended so far."""
    text = get(shim.endpoint, "/metrics")[2].decode()
    found = re.findall(r'turbolift_calls_total\{.*outcome="([^"]+)"\} ([0-9.]+)', text)
    return {outcome: int(float(count)) for outcome, count in found}


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_the_law_of_map(standing: Standing, served: Any, name: str) -> None:
    function = getattr(served, name)
    standing(f"served:{name}")
    items = st.lists(
        st.tuples(st.sampled_from(["echo", "echo", "echo", "value", "wrong"]), st.text(max_size=5)),
        max_size=60,
    )

    async def alone(what: str, text: str) -> tuple[type, str]:
        try:
            return str, await function(what, text)
        except Exception as error:
            return type(error), str(error)

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(items, st.integers(1, 70), st.booleans(), st.booleans(), st.booleans())
    def law(
        rows: list[tuple[str, str]], concurrency: int, ordered: bool, asynchronous: bool, iterate: bool
    ) -> None:
        async def main() -> None:
            results = function.starmap(
                stream(rows) if asynchronous else rows,
                concurrency=concurrency,
                ordered=ordered,
                return_exceptions=True,
            )
            got = [r async for r in results] if iterate else await results
            told = [(str, r) if isinstance(r, str) else (type(r), str(r)) for r in got]
            expected = [await alone(*row) for row in rows]
            if not ordered:
                told, expected = sorted(told, key=str), sorted(expected, key=str)
            assert told == expected
            await aclose()

        asyncio.run(main())

    law()


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_one_batch_counts_as_its_calls(standing: Standing, served: Any, get: Any, name: str) -> None:
    shim = standing(f"served:{name}")
    before = calls(get, shim)
    tally = default_caller().tally(getattr(served, name).identity)
    counted = dict(tally.outcomes)
    found = all_in_one(getattr(served, name), ("echo", "a"), ("value", "b"), ("echo", "c"))
    assert (found[0], found[2]) == ("a", "c")
    assert isinstance(found[1], ValueError)
    after = calls(get, shim)
    assert {k: v - before.get(k, 0) for k, v in after.items() if v != before.get(k, 0)} == {
        "ok": 2,
        "raised": 1,
    }
    assert tally.in_flight == 0
    told = {k: v - counted.get(k, 0) for k, v in tally.outcomes.items() if v != counted.get(k, 0)}
    assert told == {"ok": 2, "raised": 1}


def test_a_map_of_quick_calls_goes_in_few_requests(
    standing: Standing, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    standing("served:inline")
    # As quick as on a machine that does nothing else.
    learn = Pace.learn
    monkeypatch.setattr(Pace, "learn", lambda self, count, _, size: learn(self, count, count * 20e-6, size))
    monkeypatch.setattr("turbolift.client.batches.FIRST_LOOK", 30.0)

    async def main() -> None:
        transport = default_caller().transport
        sent = 0
        send = transport.send

        async def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal sent
            sent += 1
            return await send(*args, **kwargs)

        monkeypatch.setattr(transport, "send", counted)
        texts = [str(i) for i in range(2000)]
        assert await served.inline.map(["echo"] * 2000, texts, concurrency=100) == texts
        assert sent < 200
        await aclose()

    asyncio.run(main())


def test_a_late_call_is_late_alone(standing: Standing, served: Any, tmp_path: Path) -> None:
    standing("served:brief")  # has a second
    found = all_in_one(served.brief, ("echo", "a"), ("wait", str(tmp_path / "marker"), 60.0), ("echo", "b"))
    assert (found[0], found[2]) == ("a", "b")
    assert isinstance(found[1], DeadlineExceeded)
    assert (tmp_path / "marker").read_text() == "cancelled"


def test_a_worker_that_is_ended_for_a_late_call_is_that_calls_alone(
    standing: Standing, served: Any, tmp_path: Path
) -> None:
    standing("served:pact")
    found = all_in_one(
        served.pact, ("echo", "a"), ("sleep", str(tmp_path / "marker"), 60.0), ("echo", "b"), timeout=1.0
    )
    assert (found[0], found[2]) == ("a", "b")
    assert isinstance(found[1], DeadlineExceeded)


def test_calls_that_hold_the_loop_are_given_back_and_sent_again(
    standing: Standing, served: Any, get: Any, tmp_path: Path
) -> None:
    shim = standing("served:inline")
    before = calls(get, shim).get("ok", 0)
    rows = [("sleep", str(tmp_path / str(i)), 0.02) for i in range(6)]
    assert all_in_one(served.inline, *rows) == ["slept"] * 6
    assert calls(get, shim)["ok"] - before == 6, "each ran once"


def test_a_full_server_refuses_calls_not_batches(
    deployment: Any, served: Any, get: Any, tmp_path: Path
) -> None:
    shim = deployment.start("served:act")  # two slots, two places
    rows = [("sleep", str(tmp_path / str(i)), 0.05) for i in range(9)]
    assert all_in_one(served.act, *rows) == ["slept"] * 9
    ended = calls(get, shim)
    assert ended["ok"] == 9
    assert ended["overloaded"] >= 5


def test_calls_of_any_size(standing: Standing, served: Any) -> None:
    standing("served:quick")
    texts = ["x" * size for size in (1, 70_000, 10, 20_000, 2_000_000, 0)] + ["y" * 5000] * 30
    found = all_in_one(served.quick, *[("echo", text) for text in texts])
    assert found == texts


def test_raw_parts_in_a_batch(standing: Standing, served: Any) -> None:
    standing("served:flip")
    assert all_in_one(served.flip, (b"ab",), (b"",), (b"\xff\x00",)) == [b"ba", b"", b"\x00\xff"]


def test_more_bytes_than_the_function_takes(standing: Standing, served: Any) -> None:
    from turbolift import PayloadTooLarge

    standing("served:act")  # takes a megabyte
    found = all_in_one(served.act, ("echo", "a"), ("echo", "x" * 2_000_000), ("echo", "b"))
    assert (found[0], found[2]) == ("a", "b")
    assert isinstance(found[1], PayloadTooLarge)


@pytest.mark.parametrize("name", ["aact", "pact"])
def test_leaving_a_map_frees_the_server(standing: Standing, served: Any, tmp_path: Path, name: str) -> None:
    standing(f"served:{name}")
    marker = tmp_path / "marker"

    async def main() -> None:
        async def rows() -> AsyncIterator[tuple[str, str, float]]:
            for i in range(40):
                yield "echo", str(i), 0.0
            yield ("wait" if name == "aact" else "sleep"), str(marker), 60.0

        results = getattr(served, name).starmap(rows(), concurrency=8)
        got = 0
        async for _ in results:
            got += 1
            if got == 40:
                break
        while not marker.exists():
            await asyncio.sleep(0.01)
        await results.aclose()
        # Its slot is free again.
        assert await getattr(served, name).map(["echo"] * 4, "abcd") == list("abcd")
        await aclose()

    asyncio.run(main())
    if name == "aact":
        end = time.monotonic() + 20
        while marker.read_text() != "cancelled" and time.monotonic() < end:
            time.sleep(0.01)
        assert marker.read_text() == "cancelled"


def test_a_nested_call_in_a_batch_inherits_its_own_deadline(
    standing: Standing, served: Any, tmp_path: Path
) -> None:
    standing("served:aact", "served:quick")
    began = time.monotonic()
    found = all_in_one(served.aact, ("nested", "a"), ("nested-sleep", str(tmp_path / "m"), 3.0), timeout=0.5)
    assert found[0] == "a"
    assert isinstance(found[1], DeadlineExceeded)
    assert time.monotonic() - began < 2.9
