# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What is done to servers, workers, sockets, disk, clock and network while calls run, and what calls may end in then."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from chaos.suite.scene import Scene, SceneError, Server, free_ports
from chaos.suite.userland import TIMEOUT

RESTART = 0.3
"""Seconds until somebody starts a dead server again."""

DISK = 2 * 1024 * 1024
"""Bytes of the small disk."""

FAKETIME = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
)
LOSS = 0.1

AWAY = frozenset({"DeadlineExceeded", "ConnectError", "Overloaded"})
"""What calls may end in, beside a result, where the endpoint is away for longer than they have time."""


class Disturbance(NamedTuple):
    """One of them.

    ``act(scene, seconds)`` disturbs for about so long and says what it did. ``place``: the kind of scene. ``steady``: what
    calls of an idempotent function may end in, beside a result; ``once``: those of others, beside that and MaybeExecuted.
    ``reruns``: a call of an idempotent function may run again on the server that has run it already.
    """

    name: str
    act: Callable[[Scene, float], str]
    place: str = "plain"
    steady: frozenset[str] = frozenset()
    once: frozenset[str] = frozenset()
    reruns: bool = False


def kill_servers(scene: Scene, seconds: float) -> str:
    """SIGKILL to one server after the other, each started again soon."""
    count = 0
    for server in _turns(scene, seconds):
        scene.kill(server)
        time.sleep(RESTART)
        scene.start(server)
        scene.wait_ready(server)
        count += 1
    return f"{count} servers killed and started again"


def kill_workers(scene: Scene, seconds: float) -> str:
    """SIGKILL to worker processes."""
    count = 0
    for _ in _until(seconds, 0.2):
        for server in scene.servers:
            for worker in server.workers()[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
                    count += 1
    return f"{count} workers killed"


def stop_servers(scene: Scene, seconds: float) -> str:
    """SIGSTOP to all servers, SIGCONT in time."""
    pause = min(max(seconds / 2, 0.5), TIMEOUT / 3)
    with _stopped([server.process.pid for server in scene.servers if server.process]):
        time.sleep(pause)
    time.sleep(max(seconds - pause, 0.0))
    return f"stopped for {pause:.1f} s"


def stop_servers_long(scene: Scene, seconds: float) -> str:
    """SIGSTOP to all servers until every call in flight is late."""
    pause = TIMEOUT + 1.0
    with _stopped([server.process.pid for server in scene.servers if server.process]):
        time.sleep(pause)
    return f"stopped for {pause:.1f} s"


def stop_workers(scene: Scene, seconds: float) -> str:
    """SIGSTOP to all worker processes, SIGCONT in time."""
    pause = min(max(seconds / 2, 0.5), TIMEOUT / 3)
    with _stopped([pid for server in scene.servers for pid in server.workers()]):
        time.sleep(pause)
    time.sleep(max(seconds - pause, 0.0))
    return f"stopped for {pause:.1f} s"


def cut_sockets(scene: Scene, seconds: float) -> str:
    """Resets of all connections."""
    _through_proxy(scene, "cut", seconds)
    return "all connections reset every 50 ms"


def lose_answers(scene: Scene, seconds: float) -> str:
    """Resets amid answers."""
    _through_proxy(scene, "lose", seconds)
    return "connections reset before or amid every tenth answer"


def full_disk(scene: Scene, seconds: float) -> str:
    """Fill the disk of logs and temporary files, and start servers again meanwhile."""
    _fill(scene.log / "filler")
    count = 0
    try:
        for server in _turns(scene, seconds):
            scene.kill(server)
            time.sleep(RESTART)
            scene.start(server)
            scene.wait_ready(server)
            count += 1
    finally:
        (scene.log / "filler").unlink()
    return f"disk full, {count} servers killed and started again on it"


def clock_jumps(scene: Scene, seconds: float) -> str:
    """Have the wall clock of all processes jump, forth and back, by up to a day."""
    count = 0
    for _ in _until(seconds, 0.3):
        set_clock(scene.folder, random.choice([3600, -3600, 86400, -86400, 1, -1]))
        count += 1
    set_clock(scene.folder, 0)
    return f"{count} jumps of up to a day"


def packet_loss(scene: Scene, seconds: float) -> str:
    """Leave it to the network."""
    time.sleep(seconds)
    return scene.network


ALL = (
    Disturbance("kill servers", kill_servers),
    Disturbance("kill workers", kill_workers, reruns=True),
    Disturbance("stop servers", stop_servers),
    Disturbance("stop workers", stop_workers),
    Disturbance("cut sockets", cut_sockets, steady=frozenset({"MaybeExecuted"})),
    Disturbance("lose answers", lose_answers, steady=frozenset({"MaybeExecuted"})),
    Disturbance("full disk", full_disk),
    Disturbance(
        "stop servers beyond the deadline", stop_servers_long, steady=AWAY | {"MaybeExecuted"}, once=AWAY, reruns=True
    ),
    Disturbance("clock jumps", clock_jumps, "clock"),
    Disturbance(
        "packet loss", packet_loss, "loss", steady=AWAY | {"MaybeExecuted"}, once=AWAY,
    ),
)  # fmt: skip


# Where they happen.


def small_disk(scene: Scene) -> None:
    """Put a small disk where the scene's logs go. Raises SceneError."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs", str(scene.log)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SceneError(f"cannot mount a small disk: {done.stderr.strip()}")


def remove_disk(scene: Scene) -> None:
    """Take the small disk away, where there is one."""
    if os.path.ismount(scene.log):
        subprocess.run(["umount", "--lazy", str(scene.log)], check=True)


def clock_env(folder: Path) -> dict[str, str] | None:
    """Return the environment of processes whose wall clock `set_clock` moves; None where that cannot be had."""
    library = next((one for one in FAKETIME if os.path.exists(one)), None)
    if library is None:
        return None
    return {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def set_clock(folder: Path, seconds: int) -> None:
    """Move the wall clock to so many seconds from the true time."""
    beside = folder / "clock.new"
    beside.write_text(f"{seconds:+d}\n")
    beside.replace(folder / "clock")


def is_moved(env: dict[str, str], folder: Path) -> bool:
    """Whether a program under `env` sees another wall clock than this one, and the same monotonic one."""
    set_clock(folder, 7200)
    asked = "import time; print(time.time(), time.monotonic())"
    done = subprocess.run(
        [sys.executable, "-c", asked], env={**os.environ, **env}, check=False, capture_output=True, text=True
    )
    set_clock(folder, 0)
    if done.returncode:
        return False
    wall, monotonic = map(float, done.stdout.split())
    return abs(wall - time.time() - 7200) < 60 and abs(monotonic - time.monotonic()) < 60


@contextmanager
def lossy_network() -> Iterator[tuple[list[str], str]]:
    """Yield what a command line starts with that runs in a network of its own, whose loopback loses one packet in ten,
    and what that network does. Raises SceneError. The network is gone with its last process.
    """
    if os.geteuid() != 0:
        raise SceneError("a network of its own needs root")
    from chaos.suite.scene import end_with_parent

    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 86400"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=end_with_parent,
        start_new_session=True,
    )
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != "up\n":
            raise SceneError("no network namespace can be made here")
        prefix = ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
        netem = [
            "tc",
            "qdisc",
            "add",
            "dev",
            "lo",
            "root",
            "netem",
            "loss",
            f"{LOSS:.0%}",
            "delay",
            "5ms",
            "2ms",
        ]
        rule = ["iptables", "-A", "INPUT", "-m", "statistic", "--mode", "random", "--probability", str(LOSS)]
        lost = f"{LOSS:.0%} of all packets lost"
        ways = {
            f"{lost}, the others 5 ms late": netem,
            f"{lost}, none late: no netem here": [*rule, "-j", "DROP"],
        }
        does = next((does for does, command in ways.items() if _succeeds([*prefix, *command])), None)
        if does is None:
            raise SceneError("this kernel has neither netem nor iptables' statistic: no packets can be lost")
        yield prefix, does
    finally:
        holder.kill()
        holder.wait()
        for pipe in (holder.stdout, holder.stderr):
            if pipe is not None:
                pipe.close()


def _succeeds(command: list[str]) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    return False


def _turns(scene: Scene, seconds: float) -> Iterator[Server]:
    """Yield one server after the other, at least two, until the time is over."""
    until = time.monotonic() + seconds
    servers = random.sample(scene.servers, len(scene.servers))
    for number in range(1000):
        if number >= 2 and time.monotonic() > until:
            return
        yield servers[number % len(servers)]


def _until(seconds: float, every: float) -> Iterator[None]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield
        time.sleep(every)


@contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _through_proxy(scene: Scene, mode: str, seconds: float) -> None:
    """Lead all calls through the proxy for so long."""
    fronts = dict(zip((server.port for server in scene.servers), free_ports(len(scene.servers)), strict=True))
    pairs = [str(port) for back, front in fronts.items() for port in (front, back)]
    proxy = scene.spawn(sys.executable, "-m", "chaos.suite.proxy", mode, *pairs)
    assert proxy.stdout is not None
    if proxy.stdout.readline() != b"ready\n":
        raise SceneError("the proxy does not start")
    scene.publish(fronts)
    time.sleep(seconds)
    scene.publish()
    # What went that way comes to its end, as in a rollout.
    time.sleep(0.5)
    proxy.kill()
    proxy.wait()


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (65536, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    free = shutil.disk_usage(path.parent).free
    if free >= 4096:
        raise OSError(errno.EIO, f"{free} bytes are left on the disk that was filled")
