# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""``pure=True``, enforced: while a call runs, what reaches outside of the process is refused and named.

An audit hook of the interpreter sees each attempt to open a file for writing, change the file system, use a
socket or start a process, in the thread and context that make it. The hook cannot be taken out again, so it
is installed only where a pure function is served. Threads that the function starts by itself are not
followed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_running: ContextVar[list[str] | None] = ContextVar("turbolift_pure_call", default=None)
_installed = False

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_REFUSED = {
    "os.chmod": "change the mode of",
    "os.chown": "change the owner of",
    "os.exec": "replace the process by",
    "os.fork": "fork",
    "os.forkpty": "fork",
    "os.kill": "send a signal",
    "os.link": "link",
    "os.mkdir": "make the folder",
    "os.posix_spawn": "start the process",
    "os.putenv": "set the environment variable",
    "os.remove": "remove",
    "os.rename": "rename",
    "os.rmdir": "remove the folder",
    "os.spawn": "start the process",
    "os.symlink": "link",
    "os.system": "run the command",
    "os.truncate": "truncate",
    "os.unsetenv": "unset the environment variable",
    "os.utime": "change the times of",
    "pty.spawn": "start the process",
    "socket.__new__": "open a socket",
    "socket.bind": "bind a socket",
    "socket.connect": "connect a socket",
    "socket.getaddrinfo": "look up the host",
    "socket.gethostbyname": "look up the host",
    "socket.sendmsg": "send on a socket",
    "socket.sendto": "send on a socket",
    "subprocess.Popen": "start the process",
}
# Events whose first argument is no name worth saying.
_NAMELESS = frozenset({"os.fork", "os.forkpty", "os.kill"}) | {
    name for name in _REFUSED if name.startswith("socket._")
}


def install() -> None:
    """Install the hook, once."""
    global _installed
    if not _installed:
        _installed = True
        # A late import would write its byte code.
        sys.dont_write_bytecode = True
        sys.addaudithook(_hook)


@contextmanager
def pure_call(identity: str, pure: bool) -> Iterator[None]:
    """Refuse effects within the block if `pure`; raises PermissionError for one that the function caught and
    hid.
    """
    if not pure:
        yield
        return
    attempts: list[str] = []
    token = _running.set(attempts)
    try:
        yield
    finally:
        _running.reset(token)
    if attempts:
        raise PermissionError(f"pure function {identity} tried to {attempts[0]}, and caught the refusal")


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event == "open":
        attempts = _running.get()
        if attempts is None:
            return
        path, mode, flags = args
        writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(flags & _WRITING)
        if writes:
            _refuse(attempts, f"open {path!r} for writing")
    elif event in _REFUSED:
        attempts = _running.get()
        if attempts is not None:
            what = _REFUSED[event]
            named = "" if event in _NAMELESS or not args else f" {_subject(event, args)!r}"
            _refuse(attempts, what + named)


def _subject(event: str, args: tuple[Any, ...]) -> Any:
    if event == "socket.connect" or event == "socket.bind":
        return args[1]
    return args[0]


def _refuse(attempts: list[str], what: str) -> None:
    attempts.append(what)
    raise PermissionError(f"a pure function must not {what}: take pure=True away, or the effect")
