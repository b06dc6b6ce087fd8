# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""`./pants run tests/chaos -- [--seconds N]`: calls through whatever can happen to processes, sockets, disk, clock, network.

Served functions of each kind of worker, idempotent and not, are called without a pause while servers and workers are killed
and stopped, connections cut, answers lost, the disk filled, the wall clock moved and packets lost. The law: every call ends in
its result or in its own clear error within its deadline; none runs twice unless it is declared idempotent, and then not on
the same server; calls of idempotent functions do not fail where the endpoint comes back in time. What is run is recorded by the
functions themselves. At last it is measured how soon each side is free when the other has gone (`--freeing`: that alone, see
`chaos.suite.freeing`). With `--overload` servers of each kind get more calls than they can answer instead (see
`chaos.suite.overload`). Exit status 0: every law was kept; 1: one was broken; 2: it could not be run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chaos.suite import disturb, freeing, overload, report
from chaos.suite.disturb import Disturbance
from chaos.suite.scene import Scene, SceneError, own_mounts
from chaos.suite.tally import Tally, Window
from chaos.suite.userland import TIMEOUT

QUIET = 0.5
"""Seconds between two disturbances."""


def main(argv: list[str]) -> int:
    """Run the program."""
    options = _parse(argv)
    # A run that is ended ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {text}", file=sys.stderr, flush=True)

    wanted = [one for one in disturb.ALL if not options.only or one.name in options.only]
    done: dict[str, Any] = {
        "calls": 0,
        "in_flight": options.in_flight,
        "disturbances": [],
        "skipped": {},
        "broken": [],
    }
    folder = options.folder or Path(tempfile.mkdtemp(prefix="tl-chaos-", dir="/tmp"))
    folder.mkdir(exist_ok=True)
    try:
        if options.overload:
            done = overload.run(folder, options.seconds, options.kind or tuple(overload.KINDS), say)
        elif options.freeing:
            done |= freeing.run(folder, options.kind or tuple(freeing.KINDS), say)
        plain = not options.overload and not options.freeing
        mounts = plain and own_mounts()
        for place in ("plain", "clock", "loss") if plain else ():
            mine = [one for one in wanted if one.place == place]
            if mine:
                _place(place, mine, folder / place, options, mounts, say, done)
        if plain and not options.only:
            freed = freeing.run(folder / "freeing", tuple(freeing.KINDS), say)
            done["freeing"] = freed["freeing"]
            done["broken"] += freed["broken"]
    except SceneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        if options.keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    done["seconds"] = round(time.monotonic() - begin, 1)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(done, indent=2) + "\n", "utf-8")
    if "freeing" in done:
        freeing.show(done)
    if options.overload:
        overload.show(done)
    else:
        report.show(done)
    return 1 if done["broken"] else 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./pants run tests/chaos --",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds", type=float, default=60.0, metavar="N", help="of disturbance, in all (60)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to this file")
    parser.add_argument("--in-flight", type=int, default=32, metavar="N", help="calls at any time (32)")
    parser.add_argument(
        "--only", action="append", choices=[one.name for one in disturb.ALL], help="this one (repeatable)"
    )
    parser.add_argument("--overload", action="store_true", help="more calls than servers can answer, instead")
    parser.add_argument(
        "--freeing", action="store_true", help="how soon each side is free when the other has gone, alone"
    )
    parser.add_argument(
        "--kind",
        action="append",
        choices=sorted({*overload.KINDS, *freeing.KINDS}),
        help="with --overload or --freeing: this kind of server (repeatable)",
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where to work: a new folder (one below /tmp)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the files at the end")
    options = parser.parse_args(argv)
    known = freeing.KINDS if options.freeing else overload.KINDS
    if options.kind and not {*options.kind} <= known.keys():
        parser.error(f"--kind can be {', '.join(known)} here")
    if not options.seconds > 0 or options.in_flight < 6:
        parser.error("--seconds must be more than 0, and --in-flight at least 6, one for each function")
    return options


def _place(
    place: str,
    wanted: list[Disturbance],
    folder: Path,
    options: argparse.Namespace,
    mounts: bool,
    say: Callable[[str], None],
    done: dict[str, Any],
) -> None:
    """Run the disturbances of one kind of scene."""
    total = len(options.only or disturb.ALL)
    with contextlib.ExitStack() as stack:
        try:
            scene = stack.enter_context(_scene(place, folder, options.in_flight, mounts, say))
        except SceneError as error:
            for one in wanted:
                done["skipped"][one.name] = str(error)
                say(f"left out: {one.name}: {error}")
            return
        scene.start_all()
        say(f"{place}: {len(scene.servers)} servers, calls are running")
        windows: list[Window] = []
        for one in wanted:
            if one.act is disturb.full_disk and not mounts:
                done["skipped"][one.name] = "a small disk needs root"
                say(f"left out: {one.name}: a small disk needs root")
                continue
            time.sleep(QUIET)
            begin = time.monotonic()
            note = one.act(scene, options.seconds / total)
            end = time.monotonic()
            say(f"{one.name}: {note}")
            windows.append(Window(one.name, begin, end, note, one.steady, one.once, one.reruns))
        time.sleep(QUIET)
        scene.stop_load()
        tally = Tally(scene.facts(), TIMEOUT)
    done["calls"] += len(tally.calls)
    done["disturbances"] += [
        {"name": one.name, "did": one.note, "seconds": round(one.end - one.begin, 1)}
        | {"streams": tally.counts(tally.during(one))}
        for one in windows
    ]
    done["broken"] += [f"{place}: {text}" for text in tally.broken(windows)]


@contextlib.contextmanager
def _scene(
    place: str, folder: Path, in_flight: int, mounts: bool, say: Callable[[str], None]
) -> Iterator[Scene]:
    """Yield a scene of a kind, and end all of it. Raises SceneError where this machine has none of the kind."""
    with contextlib.ExitStack() as stack:
        prefix: list[str] = []
        env: dict[str, str] | None = None
        network = ""
        if place == "loss":
            prefix, network = stack.enter_context(disturb.lossy_network())
        if place == "clock":
            folder.mkdir(parents=True)
            env = disturb.clock_env(folder)
            if env is None or not disturb.is_moved(env, folder):
                raise SceneError("the wall clock cannot be moved for single processes: install libfaketime")
        scene = Scene(place, folder, say, in_flight=in_flight, prefix=prefix, env=env, network=network)
        stack.callback(disturb.remove_disk, scene)
        stack.callback(scene.end)
        if place == "plain" and mounts:
            disturb.small_disk(scene)
        yield scene


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
