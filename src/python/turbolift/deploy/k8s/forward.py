# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A socket here whose connections arrive at a function's pods: port-forwards, with kubeconfig alone."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from turbolift.deploy.k8s.cluster import ApiError, Cluster
from turbolift.deploy.k8s.pod import PORT

_CHUNK = 1 << 18


class Forward:
    """Listens, and hands each connection to one pod in turn; to the next where one is gone.

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
        with here:
            there = self._connect()
            if there is None:
                return
            up = threading.Thread(target=_pump, args=(here, there), daemon=True)
            up.start()
            _pump(there, here)
            up.join()
            there.close()

    def _connect(self) -> Any:
        try:
            pods = list(self._pods())
            first = next(self._turn)
            for number in range(len(pods)):
                try:
                    return self._cluster.forward(pods[(first + number) % len(pods)], PORT)
                except ApiError as error:
                    self.error = error
        except ApiError as error:
            self.error = error
        return None


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
