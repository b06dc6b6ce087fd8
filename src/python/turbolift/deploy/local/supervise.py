# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Keep one function's process running: ``python supervise.py RECORD``.

This file runs by itself, on the base image's own Python, from a copy in the deployment's state folder: the
standard library alone, nothing of turbolift. RECORD is the JSON file of an instance, which the deploy writes
before it starts this program: ``argv``, ``env``, ``cwd``, ``log``, ``socket``, ``grace`` (seconds). Beside it
are

- ``<id>.live``, written here: this process, its child, how often the child was restarted and how it last
  ended;
- ``<id>.ready``, made by the deploy once the function answers: from then on a child that ends is started
  again.

The lock on RECORD is held for life. A RECORD that is gone, because a later run cleaned up after a killed one,
ends this program before it starts anything.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

LOG_LIMIT = 8 << 20
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 30.0
STEADY = 60.0
"""Seconds that a child must live for its end to be no longer a part of a series of failures."""

_PR_SET_PDEATHSIG = 1
_STOP = {signal.SIGTERM, signal.SIGINT}


def identity(pid: int) -> dict[str, object]:
    """Return what tells the process `pid` from any other that has or will have its number."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        start = file.read().rpartition(b")")[2].split()[19]
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as text:
        return {"pid": pid, "start": int(start), "boot": text.read().strip()}


class Supervisor:
    """Runs the child of one record until it is told to stop."""

    def __init__(self, record: str) -> None:
        with open(record, "rb") as file:
            document = json.load(file)
        self.argv: list[str] = document["argv"]
        self.env: dict[str, str] = document["env"]
        self.cwd: str = document["cwd"]
        self.log: str = document["log"]
        self.socket: str = document["socket"]
        self.grace: float = document["grace"]
        stem = record.removesuffix(".json")
        self.live = f"{stem}.live"
        self.ready = f"{stem}.ready"
        self.restarts = 0
        self.last: dict[str, object] | None = None
        self.child: subprocess.Popen[bytes] | None = None
        self.since = 0.0
        self._prctl = _find_prctl()

    def run(self) -> int:
        """Run until stopped, or until the child ends before the function was ever ready. Returns the exit
        status.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, {*_STOP, signal.SIGCHLD})
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        pause = FIRST_PAUSE
        while True:
            self._start()
            stopped = self._wait_for_child()
            if stopped:
                return self._stop()
            self._ended()
            if not os.path.exists(self.ready):
                self._event("not started again: it was never ready")
                return 1
            if time.time() - self.since >= STEADY:
                pause = FIRST_PAUSE
            self._event(f"is started again in {pause:g} s")
            if signal.sigtimedwait(_STOP, pause) is not None:
                self._event("stopped")
                return 0
            pause = min(pause * 2, LONGEST_PAUSE)
            self.restarts += 1

    def _start(self) -> None:
        self._rotate()
        # What a killed child leaves would keep the next one from listening.
        _unlink(self.socket)
        parent = os.getpid()

        def in_child() -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            if self._prctl is not None:
                # A child must not outlive the one that would restart it: the next deploy would start a
                # second.
                self._prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
                if os.getppid() != parent:
                    os._exit(1)

        self.since = time.time()
        self.child = subprocess.Popen(
            self.argv,
            env=self.env,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=in_child,
        )
        self._event(f"process {self.child.pid} started")
        self._write()

    def _wait_for_child(self) -> bool:
        """Return True when told to stop, False when the child has ended."""
        assert self.child is not None
        while self.child.poll() is None:
            got = signal.sigwait({*_STOP, signal.SIGCHLD})
            if got in _STOP:
                return True
        return False

    def _stop(self) -> int:
        assert self.child is not None
        self.child.terminate()
        until = time.monotonic() + self.grace
        while self.child.poll() is None:
            left = until - time.monotonic()
            if left <= 0:
                self._event(f"still runs {self.grace:g} s after SIGTERM: killed")
                self._kill_group()
                self.child.wait()
                break
            signal.sigtimedwait({signal.SIGCHLD}, left)
        self._ended()
        return 0

    def _ended(self) -> None:
        assert self.child is not None
        code = self.child.returncode
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            self.last = {"signal": name, "at": time.time()}
            self._event(f"process {self.child.pid} was ended by {name}")
        else:
            self.last = {"code": code, "at": time.time()}
            self._event(f"process {self.child.pid} ended with exit code {code}")
        self._kill_group()
        self.child = None
        self._write()

    def _kill_group(self) -> None:
        """Kill what the child leaves behind: its workers are in its process group."""
        assert self.child is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, signal.SIGKILL)

    def _write(self) -> None:
        document = {
            "supervisor": identity(os.getpid()),
            "child": identity(self.child.pid) if self.child is not None else None,
            "since": self.since,
            "restarts": self.restarts,
            "exit": self.last,
        }
        part = f"{self.live}.part"
        with open(part, "w", encoding="utf-8") as file:
            json.dump(document, file)
        os.replace(part, self.live)

    def _event(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        os.write(2, f"[turbolift] {stamp} {text}\n".encode())

    def _rotate(self) -> None:
        """Begin a new log file where the old one is over the limit; one old one is kept."""
        try:
            if os.stat(self.log).st_size > LOG_LIMIT:
                os.replace(self.log, f"{self.log}.1")
        except FileNotFoundError:
            pass
        fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.close(fd)


def _find_prctl() -> Callable[..., int] | None:
    try:
        import ctypes

        found: Callable[..., int] = ctypes.CDLL(None).prctl
        return found
    except (ImportError, OSError, AttributeError):
        return None


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def main(record: str) -> int:
    """Run the program; returns its exit status."""
    # Nothing that the deploy was given (Pants' pipes, a terminal) may be held open for the life of a
    # function.
    os.closerange(3, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 1 << 20 else 1 << 16)
    try:
        fd = os.open(record, os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.stat(record).st_ino != os.fstat(fd).st_ino:
            return 0
    except FileNotFoundError:
        return 0
    return Supervisor(record).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
