# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Run stacks side by side, round by round, and reduce what was measured to ratios."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.calls.suite.stack import Stack

IDLE = 0.01
"""A stack that uses more of a core than this when nobody calls it is held while others are measured."""

MAP = 10_000
MAP_SECONDS = 8.0
"""A stack that would take longer for the whole map makes fewer calls: as many as it does in about this time."""

Rounds = list[dict[str, Any]]


@contextmanager
def turn(stack: Stack) -> Iterator[None]:
    """Let a stack that is held run for as long as it is its turn."""
    if stack.held:
        stack.let_go()
    try:
        yield
    finally:
        if stack.held:
            stack.hold()


def hold_restless(stacks: Sequence[Stack], seconds: float = 4.0) -> None:
    """Measure all stacks at rest, at once; hold those which do not rest."""
    before = {stack.name: stack.cpu_seconds() for stack in stacks}
    begin = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - begin
    for stack in stacks:
        if not stack.dead:
            stack.idle_cpu = (stack.cpu_seconds() - before[stack.name]) / took
    for stack in stacks:
        if not stack.dead and stack.idle_cpu > IDLE:
            stack.held = True
            stack.hold()
            _say(f"{stack.name} uses {stack.idle_cpu:.2f} of a core at rest: stopped between its own turns")


class Found:
    """What was measured: ``rounds`` (stack -> cell -> rounds), ``blanks`` (stack -> cell -> why there is nothing)."""

    def __init__(self, stacks: Sequence[Stack]) -> None:
        self.rounds: dict[str, dict[str, Rounds]] = {stack.name: {} for stack in stacks}
        self.blanks: dict[str, dict[str, str]] = {stack.name: {} for stack in stacks}

    def take(self, stack: Stack, cell: str, said: dict[str, Any]) -> None:
        """Keep a round, or why it is none."""
        if stack.dead:
            self.blanks[stack.name].setdefault(cell, stack.dead)
            _say(f"{stack.name} {cell}: {stack.dead}")
        elif why := said.get("lacks") or said.get("failed"):
            self.blanks[stack.name][cell] = why
            _say(f"{stack.name} {cell}: {why}")
        elif not said["calls"]:
            self.blanks[stack.name][cell] = said.get("error") or "no call came back within the round"
        else:
            self.rounds[stack.name].setdefault(cell, []).append(said)

    def takes_part(self, stack: Stack, cell: str) -> bool:
        """Return whether there is anything to measure."""
        return not stack.dead and cell not in self.blanks[stack.name]


def measure(
    stacks: Sequence[Stack], cells: Sequence[tuple[str, int]], rounds: int, seconds: float, budget: float
) -> Found:
    """Measure each cell in turns: all stacks take part in each round, in turns of the order.

    No further round begins once a cell has used its share of `budget` (seconds), three rounds apart.
    """
    found = Found(stacks)
    stop = time.monotonic() + budget
    for index, (payload, flight) in enumerate(cells):
        cell = f"{payload}/{flight}"
        end = time.monotonic() + (stop - time.monotonic()) / (len(cells) - index)
        order = {"do": "round", "payload": payload, "flight": flight, "seconds": seconds}
        for stack in stacks:
            if found.takes_part(stack, cell):
                with turn(stack):
                    said = stack.ask({**order, "seconds": seconds / 2})  # warm
                if stack.dead or "lacks" in said or "failed" in said:
                    found.take(stack, cell, said)
        number = 0
        while number < rounds and (number < 3 or time.monotonic() < end):
            for stack in stacks if number % 2 == 0 else reversed(stacks):
                if found.takes_part(stack, cell):
                    with turn(stack):
                        found.take(stack, cell, stack.ask(order))
            number += 1
        _say(f"{cell}: {number} rounds")
    return found


def measure_map(stacks: Sequence[Stack], found: Found, rounds: int, budget: float) -> None:
    """Measure many tiny calls, each stack by its own way for them, as the cell ``map/10000``."""
    cell = f"map/{MAP}"
    end = time.monotonic() + budget
    calls: dict[str, int] = {}
    for stack in stacks:
        if found.takes_part(stack, cell):
            with turn(stack):
                stack.ask({"do": "map", "calls": 64})
                said = {} if stack.dead else stack.ask({"do": "map", "calls": 320})
            if stack.dead or "lacks" in said:
                found.take(stack, cell, said)
            else:
                calls[stack.name] = max(200, min(MAP, int(said["calls"] / said["wall"] * MAP_SECONDS)))
    for number in range(rounds):
        if number and time.monotonic() > end:
            break
        for stack in stacks if number % 2 == 0 else reversed(stacks):
            if found.takes_part(stack, cell):
                with turn(stack):
                    found.take(stack, cell, stack.ask({"do": "map", "calls": calls[stack.name]}))
    _say(cell)


def reduced(rounds: Rounds) -> dict[str, float]:
    """Return ``cpu`` (seconds a call, both sides), ``client_cpu``, ``server_cpu``, ``throughput`` (calls a second: the median
    of the rounds), and where each call was timed ``p05``, ``p50``, ``p99`` (seconds).
    """
    calls = sum(said["calls"] for said in rounds)
    client = sum(said["cpu"] for said in rounds) / calls
    server = sum(said["server_cpu"] for said in rounds) / calls
    figures = {
        "cpu": client + server,
        "client_cpu": client,
        "server_cpu": server,
        "throughput": statistics.median(said["calls"] / said["wall"] for said in rounds),
    }
    latencies = sorted(latency for said in rounds for latency in said.get("latencies", ()))
    if latencies:
        quantiles = {"p05": 0.05, "p50": 0.5, "p99": 0.99}
        figures |= {key: latencies[int(len(latencies) * quantile)] for key, quantile in quantiles.items()}
    return figures


def ratios(found: Found, base: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return stack -> cell -> each figure as a ratio to that of the stack `base` in the same run.

    A cell has its ``errors`` and the first of them where there were any; that of the map has ``calls`` and
    ``calls_per_second``. A cell that could not be measured is ``{"blank": why}``.
    """
    bases = {cell: reduced(rounds) for cell, rounds in found.rounds[base].items()}
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for name, cells in found.rounds.items():
        result[name] = {cell: {"blank": why} for cell, why in found.blanks[name].items()}
        for cell, rounds in cells.items():
            if cell not in bases:
                continue
            own = reduced(rounds)
            facts: dict[str, Any] = {key: value / bases[cell][key] for key, value in own.items()}
            if errors := sum(said.get("errors", 0) for said in rounds):
                facts |= {"errors": errors, "error": next(said["error"] for said in rounds if said["error"])}
            if cell.startswith("map/"):
                facts |= {"calls": rounds[0]["calls"], "calls_per_second": own["throughput"]}
            result[name][cell] = facts
    return result


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
