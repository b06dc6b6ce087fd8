# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One run at a time changes a deployment. The kernel drops the lock of a run that is killed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from turbolift.deploy.files import is_at, private_dir
from turbolift.errors import DeployError

_POLL = 0.2


@contextlib.contextmanager
def exclusive(folder: Path, command: str, *, wait: float, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of the deployment `folder` for the block; `command` is what others are told.

    Waits `wait` seconds at most for another run, saying so once. Raises DeployError that names the holder.
    """
    path = folder / "lock"
    fd = _acquire(path, wait, say)
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "since": time.time(), "command": command}).encode(), 0)
        yield
    finally:
        os.close(fd)


def holder(path: Path) -> str:
    """Say who holds the lock file `path`, as far as it tells."""
    try:
        said = json.loads(path.read_text("utf-8"))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(said["since"]))
        return f"'{said['command']}' of process {said['pid']}, since {since}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another run"


def _acquire(path: Path, wait: float, say: Callable[[str], None]) -> int:
    until = time.monotonic() + wait
    told = False
    while True:
        private_dir(path.parent)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
        else:
            # `destroy` removes the folder while it holds the lock: what was locked must still be the file of
            # that name.
            if is_at(fd, path):
                return fd
            os.close(fd)
            continue
        if time.monotonic() >= until:
            raise DeployError(
                f"{path.parent} is being changed by {holder(path)}; "
                + (f"waited {wait:g} s for it. " if wait else "")
                + "Try again when it is done, or give --wait SECONDS"
            )
        if not told:
            say(f"waiting for {holder(path)} (up to {wait:g} s; --wait 0 does not wait)")
            told = True
        time.sleep(_POLL)
