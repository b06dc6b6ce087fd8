# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Calls, stack against stack: `./pants run benchmarks/calls -- [--quick] [--json FILE] [--peers LIST]`.

All figures are ratios to a plain aiohttp server and client in the same run: rounds of all stacks are interleaved, so that
what else the machine does falls on each of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.calls.suite.measure import Stack, measure, ratios, reduced
from benchmarks.calls.suite.peers import python_of

ROOT = Path(__file__).parents[3]
PLAIN = "aiohttp"
OURS = {"turbolift": ["tcp"], "turbolift-unix": ["unix"]}
PEERS = {"raw": "raw_frames", "rpyc": "rpyc_calls"}
CELLS = [("tiny", 1), ("tiny", 64), ("medium", 1), ("medium", 64), ("large", 1), ("bytes", 1)]


def free_port() -> int:
    """Return the first of a few TCP ports that are free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def stack(name: str, folder: Path) -> Stack:
    """Return the stack `name`, not started."""
    port = str(free_port())
    log = folder / f"{name}.log"
    if name in OURS:
        path = {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
        module = "benchmarks.calls.suite.stacks.turbolift_calls"
        return Stack(name, sys.executable, module, [port, *OURS[name]], path, log, servers=3)
    if name == PLAIN:
        path = {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
        return Stack(
            name, sys.executable, "benchmarks.calls.suite.stacks.plain_aiohttp", [port], path, log, servers=1
        )
    module = f"benchmarks.calls.suite.stacks.{PEERS[name]}"
    # Of this process' packages the peer gets these sources alone.
    copy = folder / "peers"
    shutil.copytree(
        ROOT / "benchmarks",
        copy / "benchmarks",
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return Stack(name, python_of(name), module, [port], {"PYTHONPATH": str(copy)}, log, servers=1)


def machine() -> dict[str, Any]:
    """Say what ran where."""
    versions = {}
    for name in ("aiohttp", "uvloop", "msgspec"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        **versions,
    }


def table(document: dict[str, Any], cells: list[str]) -> str:
    """Return the ratios as text: p05 / CPU / throughput a cell."""
    lines = [
        f"{'ratios to ' + PLAIN + ': p05 / CPU / throughput':44}" + "".join(f"{cell:>22}" for cell in cells)
    ]
    for name, facts in document["stacks"].items():
        if "dead" in facts:
            lines.append(f"{name}: {facts['dead']}")
            continue
        row = f"{name:16} cold {facts['cold_s']:.2f} s, idle {facts['idle_mb']:.0f} MB"
        shown = []
        for cell in cells:
            found = facts.get(cell)
            shown.append(
                f"{found['p05']:.3f} /{found['cpu']:.3f} /{found['throughput']:.2f}" if found else "-"
            )
        lines.append(f"{row:44}" + "".join(f"{text:>22}" for text in shown))
    figures = document["plain"]
    row = f"{PLAIN} itself, microseconds: p05 / CPU"
    lines.append(
        f"{row:44}"
        + "".join(f"{figures[c]['p05'] * 1e6:.0f} / {figures[c]['cpu'] * 1e6:.0f}".rjust(22) for c in cells)
    )
    return "\n".join(lines)


def main() -> int:
    """Run the command line; return the exit status: 1 where a stack died."""
    parser = argparse.ArgumentParser(prog="./pants run benchmarks/calls --", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all ratios there")
    parser.add_argument("--peers", metavar="LIST", help=f"of {','.join(PEERS)} (default: all of them)")
    parser.add_argument("--cells", metavar="LIST", help="of " + ",".join(f"{p}/{f}" for p, f in CELLS))
    parser.add_argument("--rounds", type=int, metavar="N", help="how often all stacks take their turn")
    options = parser.parse_args()
    peers = list(PEERS) if options.peers is None else [name for name in options.peers.split(",") if name]
    if unknown := set(peers) - PEERS.keys():
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    cells = [
        cell for cell in CELLS if options.cells is None or f"{cell[0]}/{cell[1]}" in options.cells.split(",")
    ]
    rounds = options.rounds or (7 if options.quick else 25)
    with tempfile.TemporaryDirectory(prefix="tl-bench-") as folder:
        stacks = [stack(name, Path(folder)) for name in (PLAIN, *OURS, *peers)]
        started = []
        try:
            for each in stacks:
                each.start()
                started.append(each)
            found = measure(stacks, cells, rounds, 0.25 if options.quick else 0.4)
        finally:
            for each in started:
                each.stop()
        for each in stacks:
            if each.dead:
                print((Path(folder) / f"{each.name}.log").read_text()[-2000:], file=sys.stderr)
    by_stack = ratios(found, PLAIN)
    plain = {cell: reduced(rounds) for cell, rounds in found[PLAIN].items()}
    document = {
        "machine": machine(),
        "plain": plain,
        "stacks": {
            each.name: {"dead": each.dead}
            if each.dead
            else {"cold_s": each.cold_s, "idle_mb": each.idle_mb, **by_stack[each.name]}
            for each in stacks
        },
    }
    print(table(document, [f"{payload}/{flight}" for payload, flight in cells]))
    if options.json is not None:
        flat = {**document["stacks"], "machine": {**document["machine"], "plain aiohttp": document["plain"]}}
        options.json.write_text(json.dumps(flat, indent=1) + "\n")
    return 1 if any(each.dead for each in stacks) else 0


if __name__ == "__main__":
    sys.exit(main())
