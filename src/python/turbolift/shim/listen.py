# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The listening socket: bound before anything heavy is imported, so that probes get answers early."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress

BACKLOG = 1024
_PATH_LIMIT = 107  # sun_path of Linux, less the closing zero


class ListenError(Exception):
    """The address cannot be listened on."""


class Listener:
    """A bound, listening socket. Attributes: ``socket``, ``endpoint`` (as route tables have it)."""

    def __init__(self, sock: socket.socket, endpoint: str, path: str = "") -> None:
        self.socket = sock
        self.endpoint = endpoint
        self._path = path
        self._inode = os.stat(path).st_ino if path else 0

    def remove(self) -> None:
        """Take the socket file away, unless another process has put its own in its place."""
        if self._path:
            with suppress(OSError):
                if os.stat(self._path).st_ino == self._inode:
                    os.unlink(self._path)


def listen_unix(path: str) -> Listener:
    """Listen on the unix socket `path`: mode 0600, in a folder that is made with mode 0700 if it is not
    there.

    A socket file that nobody listens on any more is replaced. Raises ListenError.
    """
    path = os.path.abspath(path)
    if len(os.fsencode(path)) > _PATH_LIMIT:
        raise ListenError(f"the socket path is longer than {_PATH_LIMIT} bytes: {path}")
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        _clear(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # bind() makes the file: with this mask, never readable by others for a moment.
        mask = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
        sock.listen(BACKLOG)
    except OSError as error:
        raise ListenError(f"cannot listen on {path}: {error.strerror}") from None
    sock.setblocking(False)
    return Listener(sock, f"unix://{path}", path)


def _clear(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"cannot listen on {path}: a file that is no socket is in the way")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            os.unlink(path)
            return
    raise ListenError(f"cannot listen on {path}: another server answers there")


def listen_tcp(host: str, port: int) -> Listener:
    """Listen on TCP; port 0 takes a free one. Raises ListenError."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    sock.setblocking(False)
    shown = f"[{host}]" if ":" in host else host
    return Listener(sock, f"http://{shown}:{sock.getsockname()[1]}")
