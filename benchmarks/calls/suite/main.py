# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Calls, stack against stack: `./pants run benchmarks/calls -- [--quick] [--json FILE] [--picture FILE] [--peers LIST]`.

All figures are ratios to a plain aiohttp server and client in the same run: rounds of all stacks are interleaved, so that
what else the machine does falls on each of them alike. A stack that uses CPU while nobody calls it is stopped between its turns.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.calls.suite.catalog import OURS, PEERS, PLAIN, QUICK, Catalog, chosen
from benchmarks.calls.suite.measure import MAP, Found, hold_restless, measure, measure_map, ratios, reduced
from benchmarks.calls.suite.picture import picture
from benchmarks.calls.suite.report import machine, table
from benchmarks.calls.suite.stack import Stack
from benchmarks.calls.suite.workers import probes

CELLS = [
    ("tiny", 1),
    ("tiny", 64),
    ("medium", 1),
    ("medium", 64),
    ("large", 1),
    ("bytes", 1),
    ("array", 1),
]
WORKERS = "turbolift-workers"
RESTARTS = 4
QUICK_START = 1.0
"""Seconds: what starts quicker is started RESTARTS times more, in turns, since what else the machine does would be most of one start."""


def parsed() -> argparse.Namespace:
    """Return the options; ends the process where they are wrong."""
    names = [f"{payload}/{flight}" for payload, flight in CELLS] + [f"map/{MAP}"]
    parser = argparse.ArgumentParser(prog="./pants run benchmarks/calls --", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"few peers ({','.join(QUICK)}), fewer rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all ratios there")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the ratios there, as SVG")
    parser.add_argument("--peers", metavar="LIST", help=f"of {','.join(PEERS)} (default: all of them)")
    parser.add_argument("--cells", metavar="LIST", help=f"of {','.join(names)} (default: all of them)")
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="how often all stacks take their turn (default: 9)"
    )
    parser.add_argument(
        "--budget", type=float, default=720.0, metavar="SECONDS",
        help="begin no further round after that (default: %(default).0f; starts and ends come on top)",
    )  # fmt: skip
    options = parser.parse_args()
    try:
        options.peers = (
            list(QUICK if options.quick else PEERS) if options.peers is None else chosen(options.peers)
        )
    except ValueError as error:
        parser.error(str(error))
    wanted = names if options.cells is None else options.cells.split(",")
    if unknown := set(wanted) - set(names):
        parser.error(f"no such cell: {', '.join(sorted(unknown))}")
    options.map = f"map/{MAP}" in wanted
    options.cells = [cell for cell in CELLS if f"{cell[0]}/{cell[1]}" in wanted]
    options.rounds = options.rounds or (7 if options.quick else 9)
    return options


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Start all stacks, measure them, end them; return the document."""
    catalog = Catalog(folder)
    begin, load = time.time(), os.getloadavg()
    # Their environments first: nothing is installed beside what is measured.
    peers = [stack for name in options.peers if (stack := catalog.peer(name)) is not None]
    stacks = [*(catalog.own(name) for name in (PLAIN, *OURS)), *peers]
    started: list[Stack] = []
    try:
        for stack in stacks:
            started.append(stack)
            stack.start()
            print(
                f"  {stack.name}: {stack.dead or f'first answer after {stack.cold_s:.2f} s'}",
                file=sys.stderr,
                flush=True,
            )
        for _ in range(RESTARTS):
            for stack in stacks:
                if stack.cold_s < QUICK_START:
                    stack.restart()
        time.sleep(4.0)  # launchers go on with their other servers
        hold_restless(stacks)
        share = 0.75 if options.map else 1.0
        found = measure(
            stacks, options.cells, options.rounds, 0.25 if options.quick else 0.4, options.budget * share
        )
        if options.map:
            measure_map(stacks, found, 2 if options.quick else 3, options.budget * (1 - share))
        workers = next(stack for stack in stacks if stack.name == WORKERS)
        health = {"blank": workers.dead} if workers.dead else probes(workers, workers_port(workers), 10.0)
    finally:
        for stack in reversed(started):
            stack.stop()
    document = described(stacks, found, catalog)
    inline, out = document["turbolift"], document[WORKERS]
    document["workers"] = {
        "throughput": {
            cell: out[cell]["throughput"] / inline[cell]["throughput"]
            for cell in ("tiny/1", "tiny/64")
            if "throughput" in out.get(cell, {}) and "throughput" in inline.get(cell, {})
        },
        "healthz": health,
    }
    document["machine"] = {
        **machine(),
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin)),
        "seconds": time.time() - begin,
        "load at begin": load,
        "load at end": os.getloadavg(),
        "rounds": options.rounds,
        f"plain {PLAIN}": {cell: reduced(rounds) for cell, rounds in found.rounds[PLAIN].items()},
    }
    return document


def workers_port(stack: Stack) -> int:
    """Return the port of the server whose function computes: the second of the stack's."""
    return int(stack.args[0]) + 1


def described(stacks: list[Stack], found: Found, catalog: Catalog) -> dict[str, Any]:
    """Return an object a stack."""
    by_stack = ratios(found, PLAIN)
    document: dict[str, Any] = {}
    for stack in stacks:
        facts: dict[str, Any] = {"dead": stack.dead} if stack.dead else {}
        if stack.name in catalog.versions:
            facts["version"] = catalog.versions[stack.name]
        if stack.cold_s:
            facts |= {
                "cold_s": stack.cold_s,
                "idle_mb": stack.idle_mb,
                "idle_cpu": stack.idle_cpu,
                "held": stack.held,
            }
        document[stack.name] = {**facts, **by_stack[stack.name]}
    return document | {name: {"dead": why} for name, why in catalog.unavailable.items()}


def main() -> int:
    """Run the command line; return the exit status: 1 where a stack of this repository's own died."""
    options = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="tl-bench-", ignore_cleanup_errors=True) as folder:
        document = run(options, Path(folder))
        for name in (PLAIN, *OURS):
            if "dead" in document[name]:
                print((Path(folder) / f"{name}.log").read_text()[-2000:], file=sys.stderr)
    cells = [f"{payload}/{flight}" for payload, flight in options.cells] + [f"map/{MAP}"] * options.map
    print(table(document, PLAIN, cells))
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.picture is not None:
        options.picture.write_text(picture(document, PLAIN, cells))
    return 1 if any("dead" in document[name] for name in (PLAIN, *OURS)) else 0


if __name__ == "__main__":
    sys.exit(main())
