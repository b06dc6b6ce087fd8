# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The first process of a node, in namespaces of its own: mounts, then the node's programs, which it starts again when they end.

When it ends, the kernel ends everything in its pid namespace: containers and their supervisors too.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from .files import record_process, write, write_json

_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 0x100000
_PR_SET_PDEATHSIG = 1
_SECONDS_TO_READY = 180.0
_SECONDS_TO_NETWORK = 30.0
# The kubelet sets these; they belong to the whole machine, so it gets files of its own to write to.
_MACHINE_SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
_NETWORK_SETTINGS = {
    "net/ipv4/ip_forward": 1,
    "net/ipv4/conf/all/rp_filter": 0,
    "net/ipv4/conf/default/rp_filter": 0,
    "net/bridge/bridge-nf-call-iptables": 1,
}
_libc = ctypes.CDLL(None, use_errno=True)


def main(specification: Path) -> None:
    """Run a node, from the file that the starting side wrote. Never returns unless a start fails."""
    node = _Node(json.loads(specification.read_text()))
    try:
        node.enter()
        node.start()
    except Exception as error:
        write(node.folder / "failed", f"{error}\n")
        raise SystemExit(1) from error
    node.supervise()


class _Node:
    def __init__(self, specification: dict[str, Any]) -> None:
        self.name: str = specification["name"]
        self.folder = Path(specification["folder"])
        self.processes: dict[str, dict[str, Any]] = {one["name"]: one for one in specification["processes"]}
        self.path: str = specification["path"]
        self.xtables: str = specification["xtables"]
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.restarts: dict[str, int] = {}
        self.begin = time.monotonic()

    def enter(self) -> None:
        """Make the namespaces fit for a node, and wait for the network that the starting side makes."""
        # /proc is still the machine's: the link says our pid there
        record_process(self.folder / "init", int(os.readlink("/proc/self")))
        _mount("none", "/", None, _MS_REC | _MS_SHARED)
        _mount("proc", "/proc", "proc", 0)
        for name, where in (("run", "/run"), ("lib", "/var/lib"), ("log", "/var/log")):
            (self.folder / "files" / name).mkdir(parents=True, exist_ok=True)
            _mount(str(self.folder / "files" / name), where, None, _MS_BIND)
        for folder in ("/var/lib/kubelet", "/var/lib/containerd", "/run/lock"):
            os.makedirs(folder, exist_ok=True)
        _mount("/var/lib/kubelet", "/var/lib/kubelet", None, _MS_BIND)
        for setting, value in _MACHINE_SETTINGS.items():
            file = self.folder / "files" / "settings" / setting.replace("/", "_")
            write(file, f"{value}\n")
            if os.path.exists(f"/proc/sys/{setting}"):
                _mount(str(file), f"/proc/sys/{setting}", None, _MS_BIND)
        socket.sethostname(self.name)
        for setting, value in _NETWORK_SETTINGS.items():
            try:
                Path(f"/proc/sys/{setting}").write_text(str(value))
            except OSError as error:
                print(f"{setting}: {error}", flush=True)
        write(self.folder / "entered", "")
        end = time.monotonic() + _SECONDS_TO_NETWORK
        while not (self.folder / "network").exists():
            if time.monotonic() > end:  # the starting side was killed: nobody knows of us
                raise RuntimeError(f"no network after {_SECONDS_TO_NETWORK:.0f} s")
            time.sleep(0.01)

    def start(self) -> None:
        """Start all programs, each once those that it needs answer, and wait until all are ready."""
        marks: dict[str, float] = {}
        waiting = list(self.processes)
        unready = list(self.processes)
        end = time.monotonic() + _SECONDS_TO_READY
        while waiting or unready:
            for name in list(waiting):
                if all(_answers(need) for need in self.processes[name]["after"]):
                    self._start(name)
                    waiting.remove(name)
            for name in list(unready):
                if name in waiting:
                    continue
                code = self.running[name].poll()
                if code is not None:
                    raise RuntimeError(f"{name} ended with {code}; its last words:\n{self._last_words(name)}")
                if _answers(self.processes[name]["ready"]):
                    marks[name] = round(time.monotonic() - self.begin, 2)
                    unready.remove(name)
                    write_json(self.folder / "progress.json", marks)
            if time.monotonic() > end:
                slow, words = ", ".join(unready), self._last_words(unready[0])
                raise RuntimeError(
                    f"{slow}: not ready in {_SECONDS_TO_READY:.0f} s; last words of {unready[0]}:\n{words}"
                )
            time.sleep(0.05)
        write_json(self.folder / "ready.json", marks)

    def supervise(self) -> None:
        """Reap children; start a program that ended again, as the manager of a real node would."""
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        while True:
            try:
                pid, _ = os.waitpid(-1, 0)
            except ChildProcessError:
                time.sleep(0.2)
                continue
            for name, process in list(self.running.items()):
                if process.pid == pid:
                    self.restarts[name] = self.restarts.get(name, 0) + 1
                    time.sleep(0.2)
                    self._start(name)
                    write_json(self.folder / "restarts.json", self.restarts)

    def _start(self, name: str) -> None:
        process = self.processes[name]
        env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        env |= {"PATH": self.path, "XTABLES_LIBDIR": self.xtables}
        if process["libraries"]:
            env["LD_LIBRARY_PATH"] = process["libraries"]
        with open(self.folder / f"{name}.log", "ab") as log:
            self.running[name] = subprocess.Popen(
                process["argv"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                preexec_fn=_die_with_parent,
            )
        pids = {one: running.pid for one, running in self.running.items()}
        write_json(self.folder / "processes.json", pids)

    def _last_words(self, name: str) -> str:
        try:
            return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]
        except OSError:
            return ""


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    encoded = None if kind is None else kind.encode()
    if _libc.mount(source.encode(), target.encode(), encoded, ctypes.c_ulong(flags), None):
        number = ctypes.get_errno()
        raise OSError(number, f"mount of {source} on {target}: {os.strerror(number)}")


def _answers(address: str) -> bool:
    """Whether a URL answers 200, something accepts connections at a socket's path, or a file (`file:PATH`) is there."""
    if address.startswith("file:"):
        return os.path.exists(address.removeprefix("file:"))
    if address.startswith("/"):
        with socket.socket(socket.AF_UNIX) as unix:
            unix.settimeout(2)
            return unix.connect_ex(address) == 0
    # Who it is does not matter here, only whether it is up.
    context = ssl._create_unverified_context() if address.startswith("https") else None
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False
    except Exception:  # a half-spoken answer of a server that is just starting
        return False


if __name__ == "__main__":
    main(Path(sys.argv[1]))
