# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Admission: so many calls run at once, so many may wait, the rest is refused at once."""

from __future__ import annotations

import asyncio
from collections import deque


class FullError(Exception):
    """All slots and the whole queue are taken."""


class DrainingError(Exception):
    """No call is admitted any more."""


class Gate:
    """`concurrency` slots and a first-come queue of `queue` places. For one event loop; not for threads.

    Attributes: ``ahead`` (so many of those that wait may be handed to the runner, where they wait for a slot as well), ``draining``.
    """

    def __init__(self, concurrency: int, queue: int) -> None:
        self.concurrency = concurrency
        self.queue = queue
        self.ahead = 0
        self._held = 0
        self.draining = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._admitted = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def running(self) -> int:
        """Calls that have a slot."""
        return min(self._held, self.concurrency)

    @property
    def queued(self) -> int:
        """Calls that wait for a slot."""
        return len(self._waiting) + max(self._held - self.concurrency, 0)

    def is_open(self) -> bool:
        """Whether a call can be handed to the runner now. One that ends before anything else happens needs no place."""
        return self._held < self.concurrency + self.ahead and not self._waiting and not self.draining

    def admit(self) -> None:
        """Take a place (in a slot or in the queue), or raise FullError or DrainingError; ``leave`` gives it
        back.
        """
        if self.draining:
            raise DrainingError
        if self._held + len(self._waiting) >= self.concurrency + self.queue:
            raise FullError
        self._admitted += 1
        self._empty.clear()

    def take(self) -> None:
        """Take a place and a slot, where the gate is open; ``leave`` and ``exit`` give them back."""
        self._admitted += 1
        self._held += 1
        self._empty.clear()

    def hold(self) -> None:
        """Count an answer that is not ready to be sent yet; ``leave`` when it is."""
        self._admitted += 1
        self._empty.clear()

    def leave(self) -> None:
        """Give back the place of ``admit``: the answer is sent, or will not be."""
        self._admitted -= 1
        if not self._admitted and not self._held:
            self._empty.set()

    async def enter(self) -> None:
        """Wait for a slot; ``exit`` frees it. Cancelled, it leaves the queue."""
        if self._held < self.concurrency + self.ahead and not self._waiting:
            self._held += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.exit()  # the slot was handed over in the very moment of the cancellation
            elif place in self._waiting:
                self._waiting.remove(place)
            raise

    def exit(self) -> None:
        """Free a slot: hand it to the first that waits."""
        self._held -= 1
        while self._waiting and self._held < self.concurrency + self.ahead:
            place = self._waiting.popleft()
            if not place.done():
                self._held += 1
                place.set_result(None)
        if not self._admitted and not self._held:
            self._empty.set()

    def drain(self) -> None:
        """Admit nothing from now on; what waits already will still run."""
        self.draining = True

    async def empty(self) -> None:
        """Wait until no call is admitted and no slot is taken."""
        await self._empty.wait()
