# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Answers while the user's module is being imported: the process lives, the function is not ready.

The import needs the main thread (some libraries insist on it) and may take a minute. So a thread with nothing
but the standard library answers on the socket that the real server takes over: ``/healthz`` with 200, all
else with 503.
"""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress

from turbolift.wire.headers import PREFIX
from turbolift.wire.problem import Problem

QUIET = 0.25
"""Seconds in which nothing is answered yet: a start that takes no longer answers for itself, and has the processor for itself."""

_HEAD_LIMIT = 16 * 1024
_PATIENCE = 5.0


class WaitingRoom:
    """Serves a listening socket from a thread until ``close``; connections that nobody accepted yet stay in
    its queue. None: nothing is answered yet.
    """

    def __init__(self, listening: socket.socket | None) -> None:
        self._listening = listening
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="turbolift-waiting", daemon=True)
        if listening is not None:
            self._thread.start()

    def close(self) -> None:
        """Stop, and wait until the thread has ended."""
        self._waker.close()
        if self._listening is None:
            self._wake.close()
        else:
            self._thread.join()

    def _run(self) -> None:
        assert self._listening is not None
        with selectors.DefaultSelector() as selector, self._wake:
            selector.register(self._wake, selectors.EVENT_READ)
            if selector.select(QUIET):
                return
            selector.register(self._listening, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._wake in ready:
                    return
                with suppress(OSError):
                    connection, _ = self._listening.accept()
                    threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    """Answer one request and close."""
    with connection, suppress(OSError):
        connection.settimeout(_PATIENCE)
        head = b""
        while b"\r\n\r\n" not in head:
            received = connection.recv(4096)
            if not received or len(head) > _HEAD_LIMIT:
                return
            head += received
        connection.sendall(_response(head))
        # A body may still be on its way; closing over unread bytes would reset the answer away.
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


def _response(head: bytes) -> bytes:
    target = head.split(b" ", 2)[1] if head.count(b" ") >= 2 else b""
    if target == b"/healthz":
        status, kind, body = "200 OK", "text/plain; charset=utf-8", b"ok\n"
    elif target.startswith(PREFIX.encode()):
        problem = Problem("not-ready", "the function's module is still being imported", {"retry_after": 0.25})
        status, kind, body = "503 Service Unavailable", "application/problem+json", problem.body()
    else:
        status, kind, body = "503 Service Unavailable", "text/plain; charset=utf-8", b"starting\n"
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Retry-After: 1\r\nConnection: close\r\n\r\n"
    ).encode() + body
