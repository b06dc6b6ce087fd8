# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The logs of functions: a file a version, with one older file beside it once it has grown large."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from turbolift.deploy.names import slug

_TAIL_BYTES = 1 << 20
_POLL = 0.2


def log_path(state: Path, function: str, version: str) -> Path:
    """Return the log file of a function's version."""
    return state / "logs" / slug(function) / f"{version[:12]}.log"


def tail(path: Path, lines: int) -> list[str]:
    """Return the last `lines` lines of a log; none where there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return [plain(line) for line in text.splitlines()[-lines:]] if lines else []


def read_log(path: Path, *, lines: int, follow: bool) -> Iterator[str]:
    """Yield the last `lines` lines of `path`, older files of it included; with `follow`, go on as it grows."""
    older = path.with_name(f"{path.name}.1")
    recent = tail(path, lines)
    if len(recent) < lines:
        yield from tail(older, lines - len(recent))
    yield from recent
    if follow:
        yield from _follow(path)


def _follow(path: Path) -> Iterator[str]:
    file = path.open("rb") if path.is_file() else None
    if file is not None:
        file.seek(0, os.SEEK_END)
    pending = b""
    try:
        while True:
            data = file.read() if file is not None else b""
            if data:
                *whole, pending = (pending + data).split(b"\n")
                yield from (plain(line.decode("utf-8", "replace")) for line in whole)
                continue
            if (file is None or _replaced(path, file.fileno())) and path.is_file():
                if file is not None:
                    file.close()
                file = path.open("rb")
                continue
            time.sleep(_POLL)
    finally:
        if file is not None:
            file.close()


def _replaced(path: Path, fd: int) -> bool:
    try:
        return path.stat().st_ino != os.fstat(fd).st_ino
    except FileNotFoundError:
        return False


def plain(line: str) -> str:
    """Return a line that cannot steer a terminal."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]", "\ufffd", line.rstrip("\r"))
