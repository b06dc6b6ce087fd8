# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A unix socket here whose connections arrive at a function's pods: port-forwards, with kubeconfig alone."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import select
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from turbolift.deploy.k8s.cluster import ApiError, Cluster
from turbolift.deploy.k8s.pod import PORT

_CHUNK = 1 << 18

_KEPT = 1 << 20
"""Bytes of a request that are kept until a pod has answered."""

_PATIENCE = 5.0
"""Seconds in which a connection finds a pod."""

_PAUSE = 0.05

_REFUSED = re.compile(r"connection refused|failed to connect to localhost", re.IGNORECASE)
"""What container runtimes say of a port that nobody listens on: nothing was sent to it."""


class Forward:
    """Listens on a unix socket and hands each connection to one pod in turn; to the next where one is gone.

    `pods` gives the names of the pods that are ready, asked for each connection.
    """

    def __init__(self, cluster: Cluster, path: Path, pods: Callable[[], Sequence[str]]) -> None:
        self._cluster = cluster
        self._pods = pods
        self._turn = itertools.count()
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
        with here:
            there = self._begin(here)
            if there is None:
                return
            up = threading.Thread(target=_pump, args=(here, there), daemon=True)
            up.start()
            _pump(there, here)
            up.join()
            there.close()

    def _begin(self, here: socket.socket) -> Any:
        """Return a connection to a pod that has taken what came from `here` until now; None where there is none.

        A port-forward is open before the pod is: where the shim of a pod has just died, the pod's end is refused once
        bytes are on their way. They have arrived nowhere then, and are sent to the next pod.
        """
        sent = bytearray()
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            forward = self._connect()
            if forward is not None:
                there = forward.socket(PORT)
                try:
                    there.sendall(sent)
                    if _is_taken(here, there, sent):
                        return there
                except OSError:
                    pass
                there.close()
                if not _REFUSED.search(forward.error(PORT) or ""):
                    return None
            time.sleep(_PAUSE)
        return None

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


def _is_taken(here: socket.socket, there: Any, sent: bytearray) -> bool:
    """Copy from `here`, and to `sent`, until `there` answers (True) or ends (False).

    What is too large to be kept, and a connection whose sender has nothing more to say, counts as taken.
    """
    while len(sent) < _KEPT:
        readable, _, _ = select.select([here, there], [], [])
        if there in readable:
            return bool(there.recv(1, socket.MSG_PEEK))
        data = here.recv(_CHUNK)
        if not data:
            return True
        sent += data
        there.sendall(data)
    return True


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
