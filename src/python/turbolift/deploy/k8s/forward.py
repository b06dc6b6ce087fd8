# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A socket here whose connections arrive at a function's pods: port-forwards, with kubeconfig alone."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from turbolift.deploy.k8s.cluster import ApiError, Cluster
from turbolift.deploy.k8s.pod import PORT
from turbolift.wire.problem import Problem

_CHUNK = 1 << 18
_KEPT = 1 << 20
"""Bytes of what a caller said that are kept until its pod answers: up to here it can be said to another pod."""

_TRIES = 8
_PATIENCE = 5.0
_TLS = b"\x16"
"""The first byte of a handshake."""

_NEVER_ARRIVED = ("connection refused", "failed to connect", "not found", "not running", "no such container")
"""What kubelets and their runtimes say, in lower case, where nothing has reached the pod's port."""


class Forward:
    """Listens, and hands each connection to one pod in turn.

    A pod that turns out to be gone before anything arrived there is passed over: the next one is told all that the
    caller has said. Where there is none, the caller is told that its call did not run (`not-ready`), and may try again.
    `path`: of a unix socket, which others on this machine cannot open; None: a port of the loopback interface, which
    they can, for pods that admit nobody without a certificate. `pods` gives the names of the pods that are ready, asked
    for each connection.
    """

    def __init__(self, cluster: Cluster, path: Path | None, pods: Callable[[], Sequence[str]]) -> None:
        self._cluster = cluster
        self._pods = pods
        self._turn = itertools.count()
        if path is None:
            self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
            self.endpoint = f"https://127.0.0.1:{self._socket.getsockname()[1]}"
        else:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.bind(str(path))
            self._socket.listen(128)
            self.endpoint = f"unix://{path}"
        self.error: ApiError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections; those that are open live on."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                here, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(here,), daemon=True).start()

    def _serve(self, here: socket.socket) -> None:
        said = bytearray()
        with here:
            for _ in range(_TRIES):
                forward = self._connect()
                if forward is None:
                    break
                there = forward.socket(PORT)
                try:
                    if _begin(here, there, said):
                        up = threading.Thread(target=_pump, args=(here, there), daemon=True)
                        up.start()
                        _pump(there, here)
                        up.join()
                        return
                    if not _never_arrived(forward.error(PORT)):
                        return
                finally:
                    there.close()
            _refuse(here, said, f"no pod can be reached{f': {self.error}' if self.error else ''}")

    def _connect(self) -> Any:
        try:
            pods = list(self._pods())
            first = next(self._turn)
            for number in range(len(pods)):
                try:
                    return self._cluster.open_forward(pods[(first + number) % len(pods)], PORT)
                except ApiError as error:
                    self.error = error
        except ApiError as error:
            self.error = error
        return None


def _begin(here: socket.socket, there: Any, said: bytearray) -> bool:
    """Pass on what was `said` before, and what the caller says, until the pod answers (True) or is gone (False).

    `said` holds all that the caller has said; one that says more than is kept gets no second pod.
    """
    try:
        there.sendall(bytes(said))
        while True:
            ready, _, _ = select.select([here, there], [], [])
            if there in ready:
                data = there.recv(_CHUNK)
                if not data:
                    return False
                here.sendall(data)
                return True
            data = here.recv(_CHUNK)
            if not data:
                return True
            said += data
            there.sendall(data)
            if len(said) > _KEPT:
                return True
    except OSError:
        return False


def _never_arrived(error: str | None) -> bool:
    return any(text in (error or "").lower() for text in _NEVER_ARRIVED)


def _refuse(here: socket.socket, said: bytearray, detail: str) -> None:
    """Answer the call that `said` begins: it did not run."""
    with contextlib.suppress(OSError):
        here.settimeout(_PATIENCE)
        while b"\r\n\r\n" not in said and not said.startswith(_TLS):
            data = here.recv(_CHUNK)
            if not data:
                return
            said += data
        if said.startswith(_TLS):
            # Without a handshake nothing ran, which the caller knows by itself.
            return
        body = Problem("not-ready", detail, {"retry_after": 0.25}).body()
        here.sendall(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
        )
        here.shutdown(socket.SHUT_WR)
        # Closing over what is still on its way would take the answer back.
        while here.recv(_CHUNK):
            pass


@contextlib.contextmanager
def socket_folder() -> Iterator[Path]:
    """Make a private folder for sockets: their paths must be short."""
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(
        tempfile.mkdtemp(prefix="tl-", dir=base if len(base) < 60 and os.path.isdir(base) else "/tmp")
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pump(source: Any, sink: Any) -> None:
    """Copy until the end of `source`, and tell `sink` of it."""
    try:
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    except OSError:
        pass
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
