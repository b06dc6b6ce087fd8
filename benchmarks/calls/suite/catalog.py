# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Which stacks there are, and what each needs to start."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.calls.suite.bytecode import compile_all
from benchmarks.calls.suite.peers import Unavailable, locked_version, python_of
from benchmarks.calls.suite.redis import redis_server
from benchmarks.calls.suite.stack import Stack

ROOT = Path(__file__).parents[3]
STACKS = "benchmarks.calls.suite.stacks"
PLAIN = "aiohttp"
OURS = {"turbolift": "tcp", "turbolift-unix": "unix", "turbolift-workers": "processes"}


@dataclass(frozen=True)
class Peer:
    """A stack in an environment of its own.

    `lock`: the list of its environment; `distribution`: what names its version; `folder`: whether both sides are given a folder;
    `drive`: further arguments of the driver; `shares`: the peer whose server it calls; `prepare`: whether something is done
    before both sides start; `redis`: whether it needs one.
    """

    lock: str
    module: str
    distribution: str
    folder: bool = False
    drive: tuple[str, ...] = ()
    shares: str = ""
    prepare: bool = False
    redis: bool = False


PEERS = {
    "uvloop": Peer("raw", "raw_frames", "uvloop"),
    "rpyc": Peer("rpyc", "rpyc_calls", "rpyc"),
    "grpc": Peer("grpc", "grpc_calls", "grpcio", prepare=True),
    "pyro5": Peer("pyro5", "pyro_calls", "pyro5"),
    "functions-framework": Peer("functions-framework", "functions_framework_calls", "functions-framework"),
    "fastapi": Peer("fastapi", "fastapi_calls", "fastapi"),
    "bentoml": Peer("bentoml", "bentoml_calls", "bentoml", folder=True),
    "kubetorch": Peer("kubetorch", "kubetorch_calls", "kubetorch"),
    "ray-task": Peer("ray", "ray_calls", "ray", folder=True, drive=("task",)),
    "ray-actor": Peer("ray", "ray_calls", "ray", folder=True, drive=("actor",), shares="ray-task"),
    "ray-serve": Peer("ray", "ray_calls", "ray", folder=True, drive=("handle",), shares="ray-task"),
    "ray-serve-http": Peer("ray", "ray_calls", "ray", folder=True, drive=("http",), shares="ray-task"),
    "dask": Peer("dask", "dask_calls", "distributed"),
    "celery": Peer("celery", "celery_calls", "celery", redis=True),
}
QUICK = ("uvloop", "rpyc")


def chosen(text: str) -> list[str]:
    """Return the peers that a list with commas names; a list's name (``ray``) stands for all of its stacks."""
    names: list[str] = []
    for word in filter(None, text.split(",")):
        found = [name for name, peer in PEERS.items() if word in (name, peer.lock)]
        if not found and word not in (PLAIN, *OURS):  # these always take part
            raise ValueError(f"no such peer: {word}; there are {', '.join(PEERS)}")
        names += [name for name in found if name not in names]
    owners = [PEERS[name].shares for name in names if PEERS[name].shares]
    return [name for name in PEERS if name in names or name in owners]


_PORTS = itertools.count(20_000 + os.getpid() % 8_000, 8)
"""Below the ports that the system gives to connections, so that none of these is taken before its server starts."""


def free_ports() -> int:
    """Return the first of eight TCP ports, one after another, that are free now."""
    for first in _PORTS:
        try:
            for port in range(first, first + 8):
                with socket.socket() as sock:
                    sock.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("unreachable")


class Catalog:
    """Makes stacks; `folder` is for what they write. ``versions``: peer -> version; ``unavailable``: peer -> why."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.versions: dict[str, str] = {}
        self.unavailable: dict[str, str] = {}
        self._made: dict[str, tuple[Stack, str]] = {}
        self._token = secrets.token_hex(32)
        self._path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
        compile_all(filter(None, sys.path))
        # Of this process' packages the peers get these sources alone.
        self._copy = folder / "peers"
        ignore = shutil.ignore_patterns("__pycache__", "results", "locks")
        shutil.copytree(ROOT / "benchmarks", self._copy / "benchmarks", dirs_exist_ok=True, ignore=ignore)
        compile_all([str(ROOT / "benchmarks"), str(self._copy)])

    def own(self, name: str) -> Stack:
        """Return plain aiohttp or a stack of turbolift, not started."""
        port, log, path = str(free_ports()), self.folder / f"{name}.log", {"PYTHONPATH": self._path}
        if name == PLAIN:
            return Stack(name, sys.executable, f"{STACKS}.plain_aiohttp", [port], path, log)
        return Stack(
            name, sys.executable, f"{STACKS}.turbolift_calls", [port, OURS[name]], path, log, launcher=True
        )

    def peer(self, name: str) -> Stack | None:
        """Return the stack of a peer, not started; None, with the reason in `unavailable`, where it cannot be had."""
        peer = PEERS[name]
        env = {"PYTHONPATH": str(self._copy)}
        try:
            python = python_of(peer.lock)
            if peer.redis:
                env |= redis_server()
        except Unavailable as error:
            self.unavailable[name] = str(error)
            return None
        # A throw-away cluster, on loopback, that nobody else may use.
        if peer.lock == "ray":
            env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self._token}
        env["PATH"] = os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", "")])
        owner = self._made.get(peer.shares)
        if peer.shares and owner is None:
            self.unavailable[name] = f"it calls the server of {peer.shares}, which is not there"
            return None
        port = owner[1] if owner else str(free_ports())
        args = [port]
        if peer.folder:
            args.append(str(self.folder / peer.lock))
            Path(args[-1]).mkdir(exist_ok=True)
        stack = Stack(
            name, python, f"{STACKS}.{peer.module}", args, env, self.folder / f"{name}.log",
            drive=peer.drive, shares=owner[0] if owner else None,
        )  # fmt: skip
        if peer.prepare:
            stack.prepare()
        self._made[name] = (stack, port)
        self.versions[name] = locked_version(peer.lock, peer.distribution)
        return stack
