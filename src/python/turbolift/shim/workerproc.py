# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Worker processes, their side: the zygote that forks them, and the loop that each of them runs.

The zygote is forked from the server when the user's module is imported and warm, and before the server has
threads. It keeps nothing but that, so a worker is a fork away: milliseconds, and the imported modules are
shared memory. (Starting the interpreter again would import all of it again, and needs to know how it was
started.)

Server and zygote talk over a unix socket: four bytes, its place on the board, and a file descriptor ask for a worker on that descriptor;
lines of JSON come back, ``{"started": pid}`` in order of asking, and ``{"ended": pid, "status":
waitstatus}``.
"""

from __future__ import annotations

import contextvars
import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from turbolift.shim.board import Board
from turbolift.shim.messages import Request, Requests, send_answer, send_skipped
from turbolift.shim.servant import Answer, Servant
from turbolift.wire import deadline_at, new_traceparent
from turbolift.wire.context import serving
from turbolift.wire.tracing import tracer, worker_trace


def start_zygote(
    servant: Servant, places: int, close: Callable[[], None]
) -> tuple[int, socket.socket, Board]:
    """Fork the zygote; return its pid, the server's end of the socket, and the board that `places` workers share with the
    server. `close` closes what only the server may hold.

    Call it from a process with one thread.
    """
    ours, theirs = socket.socketpair()
    board = Board(places)
    sys.stdout.flush()
    sys.stderr.flush()
    gc.collect()
    # What exists now is shared with the workers; the collector would touch, and so copy, all of it.
    gc.freeze()
    pid = _fork()
    if pid == 0:
        status = 1
        try:
            ours.close()
            close()
            _zygote(servant, theirs, board)
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    gc.unfreeze()
    return pid, ours, board


def _fork() -> int:
    with warnings.catch_warnings():
        # Threads that the user's module started at import are the user's decision; they do not exist in a
        # worker.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _ignore(number: int, frame: Any) -> None:
    """A handler, not SIG_IGN: programs that user code starts must not inherit an ignored signal."""


def _zygote(servant: Servant, control: socket.socket, board: Board) -> None:
    # A terminal's ^C and a platform's SIGTERM may go to the whole group: it is the server that decides when
    # to end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore)
    wake, waker = socket.socketpair()
    for end in (wake, waker):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, _ignore)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    children: set[int] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if wake in ready:
                with suppress(BlockingIOError):
                    wake.recv(4096)
                for pid, status in _reap(children):
                    _say(control, {"ended": pid, "status": status})
            if control in ready:
                try:
                    asked, descriptors, _, _ = socket.recv_fds(control, 4, 1)
                except ConnectionResetError:
                    # A killed server that had not read all we said is no plain end of the stream.
                    asked, descriptors = b"", []
                if not asked:
                    break
                # Four bytes, one descriptor: messages with descriptors are never merged by the kernel.
                pid = _fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for end in (wake, waker, control):
                        end.close()
                    _worker(
                        servant, socket.socket(fileno=descriptors[0]), board, int.from_bytes(asked, "big")
                    )
                os.close(descriptors[0])
                children.add(pid)
                _say(control, {"started": pid})
    # The ends of the workers are news to nobody, and must find no closed socket to be written to.
    signal.set_wakeup_fd(-1)
    for end in (wake, waker, control):
        end.close()
    # The server is gone: so is whoever waits for what the workers do.
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _reap(children: set[int]) -> list[tuple[int, int]]:
    ended = []
    while children:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == 0:
            break
        if pid in children:
            children.remove(pid)
            ended.append((pid, status))
    return ended


def _say(control: socket.socket, message: dict[str, int]) -> None:
    with suppress(OSError):
        control.sendall(json.dumps(message).encode() + b"\n")


def _worker(servant: Servant, channel: socket.socket, board: Board, place: int) -> NoReturn:
    status = 1
    try:
        _serve(servant, channel, board, place)
        status = 0
    except (ConnectionError, EOFError):
        status = 0  # the server is gone
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _serve(servant: Servant, channel: socket.socket, board: Board, place: int) -> None:
    requests = Requests(channel)
    number = 0
    while True:
        request = requests.next()
        number += 1
        if not board.begin(place, number):
            send_skipped(channel)
            continue
        # What the function does to the context is gone after it.
        began = time.monotonic()
        answer = contextvars.copy_context().run(_run, servant, request)
        del request
        send_answer(channel, answer, time.monotonic() - began)
        del answer


def _run(servant: Servant, request: Request) -> Answer:
    trace = request.trace
    if request.is_callers:
        if tracer() is None:
            serving(request.deadline, trace)
            return servant.run(request.content_type, request.body)
        trace = new_traceparent(trace)
    with deadline_at(request.deadline), worker_trace(trace):
        return servant.run(request.content_type, request.body)
