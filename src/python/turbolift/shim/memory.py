# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What a server remembers of calls that may be sent to it again: the run they are in, or the answer it gave.

Only for functions that are declared idempotent: nothing else is ever sent again once it may have run. The call's
idempotency key is what it is known by. Bounded in bytes and seconds: what is forgotten runs again, which such a
function bears.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import NamedTuple

from turbolift.shim.servant import USUAL, Answer, Received
from turbolift.wire.frames import Buffer, Frames

BYTES = 16 * 1024 * 1024
"""Memory that kept calls may take, about: half of it is for the newest half of them."""

LARGEST = 1024 * 1024
"""Bytes that a kept answer may have."""

SECONDS = 60.0
"""For how long an answer is kept at most; for half of it at least, while there is room."""

LINGER = 0.08
"""Seconds for which a run whose caller's connection is gone waits for the call to be sent again: less than the tenth
of a second in which a caller that is really gone frees its place.
"""

_EACH = 512
"""Bytes that a kept call takes beside its body and its answer, about."""

_SMALL = 4096
_ENDS = 64 * 1024

Mark = bytes | bytearray | tuple[int, int, int]

KEPT = frozenset({"ok", "raised", "invalid-result"})
"""Outcomes of a run that came to its end: the same call would come to the same."""


def mark_of(body: Received) -> Mark:
    """Return what tells a body from others: itself if it is small, else its size and checksums of its ends."""
    size = len(body)
    if isinstance(body, Frames):
        pieces = body.pieces()
        return size, _checksum(pieces, _ENDS), _checksum(pieces, _ENDS, size - _ENDS)
    if size <= _SMALL:
        return body if isinstance(body, bytes) else bytes(body)
    view = memoryview(body)
    return size, zlib.crc32(view[:_ENDS]), zlib.crc32(view[-_ENDS:])


def _checksum(pieces: list[Buffer], size: int, start: int = 0) -> int:
    """Return the checksum of `size` bytes of `pieces`, from `start` on."""
    checksum = 0
    for piece in pieces:
        view = memoryview(piece).cast("B")
        taken = view[max(start, 0) :][:size]
        checksum = zlib.crc32(taken, checksum)
        start -= len(view)
        size -= len(taken)
    return checksum


class Known(NamedTuple):
    """A kept answer, and the mark of the body that it is to."""

    mark: Mark
    answer: Answer


class Run:
    """A call that runs, for all those that wait for its answer.

    Attributes: ``stays`` (it cannot be stopped any more), ``given_up`` (it was, for want of anybody that waits).
    """

    def __init__(self, mark: Mark) -> None:
        self.mark = mark
        self.task: asyncio.Task[Answer] | None = None
        self.stays = False
        self.given_up = False
        self._waiting = 0

    async def answer(self) -> Answer:
        """Wait for the answer. When the last that waits is cancelled, the run is given up soon."""
        task = self.task
        assert task is not None
        self._waiting += 1
        try:
            await asyncio.wait([task])
        finally:
            self._waiting -= 1
            if not self._waiting and not task.done():
                asyncio.get_running_loop().call_later(LINGER, self._give_up)
        return task.result()

    def _give_up(self) -> None:
        if not self._waiting and not self.stays and self.task is not None:
            self.given_up = self.task.cancel()

    async def over(self) -> None:
        """Wait until it has ended."""
        if self.task is not None:
            await asyncio.wait([self.task])


class Memory:
    """Runs and answers by key, for one event loop.

    Two generations: when the young one is full or old enough, it becomes the old one, and the old one is forgotten, all
    at once. So keeping an answer costs little more than one entry of a dictionary.
    """

    def __init__(self, *, most: int = BYTES, seconds: float = SECONDS) -> None:
        self._most = most // 2
        self._seconds = seconds / 2
        # Of the usual answers the body alone: plain tuples of bytes are nothing to the garbage collector.
        self._young: dict[bytes, tuple[Mark, bytes] | Known] = {}
        self._old: dict[bytes, tuple[Mark, bytes] | Known] = {}
        self._runs: dict[bytes, Run] = {}
        self._bytes = 0
        self._since = 0.0
        self._last = 0.0

    def __len__(self) -> int:
        """Return how many answers are kept."""
        return len(self._young) + len(self._old)

    def run(self, key: bytes) -> Run | None:
        """Return the run that the call is in."""
        return self._runs.get(key)

    def begin(self, key: bytes, run: Run) -> None:
        """Know a run, until ``end``."""
        self._runs[key] = run

    def end(self, key: bytes) -> None:
        """Forget a run."""
        del self._runs[key]

    def find(self, key: bytes, now: float) -> Known | None:
        """Return the answer that was kept. `now`: ``time.monotonic`` seconds."""
        if now - self._last > 2 * self._seconds:
            return None
        found = self._young.get(key) or self._old.get(key)
        if found is None or isinstance(found, Known):
            return found
        mark, body = found
        return Known(mark, Answer(200, USUAL, [body], "ok"))

    def keep(self, key: bytes, body: Received, answer: Answer, now: float, mark: Mark | None = None) -> None:
        """Keep an answer, given at `now`, if it is one to keep, and not too large. `mark`: of the body as it came, where
        the function may have changed it.
        """
        pieces = answer.body
        text = pieces[0]
        if answer.headers is USUAL and type(text) is bytes:
            size = len(text)
            if size > LARGEST:
                return
            # Small bodies of bytes are their own mark.
            if mark is None:
                mark = body if type(body) is bytes and len(body) <= _SMALL else mark_of(body)
            self._young[key] = mark, text
        elif answer.outcome in KEPT:
            size = sum(memoryview(piece).nbytes for piece in pieces)
            if size > LARGEST:
                return
            mark = mark or mark_of(body)
            self._young[key] = Known(mark, answer)
        else:
            return
        self._last = now
        self._bytes += size + len(mark) + len(key) + _EACH
        if self._bytes > self._most or now - self._since > self._seconds:
            self._old, self._young = self._young, {}
            self._bytes = 0
            self._since = now
