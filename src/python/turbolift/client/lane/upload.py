# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A large body on its way to a server: announced first, sent if it is wanted, no faster than it is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from turbolift.client.transport import NotSentError
from turbolift.wire.frames import Buffer
from turbolift.wire.send import Stream


class Upload:
    """Attribute ``unsent``: bytes of the body that the transport has not been given."""

    def __init__(self, loop: asyncio.AbstractEventLoop, body: Sequence[Buffer]) -> None:
        self._body = body
        self._size = sum(memoryview(piece).nbytes for piece in body)
        self._go: asyncio.Future[bool] = loop.create_future()
        self._stream: Stream | None = None

    @property
    def unsent(self) -> int:
        return self._size if self._stream is None else self._stream.unsent

    async def wanted(self, patience: float) -> bool:
        """Wait until the server has said whether it wants the body; one that knows no expectations says nothing, and
        gets it after `patience` seconds.
        """
        try:
            async with asyncio.timeout(patience):
                return await self._go
        except TimeoutError:
            return True

    def told(self, wanted: bool) -> None:
        """Something was heard that says whether it does; only the first counts."""
        if not self._go.done():
            self._go.set_result(wanted)

    def send(self, transport: asyncio.Transport) -> None:
        """Start to send."""
        self._stream = Stream(transport, self._body)
        self._stream.resume()

    def pause(self) -> None:
        """The transport wants no more for now."""
        if self._stream is not None:
            self._stream.pause()

    def resume(self) -> None:
        """It wants more."""
        if self._stream is not None:
            self._stream.resume()

    def stop(self) -> None:
        """Nobody wants the rest."""
        self.told(False)
        if self._stream is not None:
            self._stream.stop()

    def cut(self, reason: str) -> NotSentError | None:
        """Return what a connection's end means where the server cannot have the whole body: nobody runs half a call.
        None: it may have it.
        """
        if not self.unsent:
            return None
        said = f"{reason}, with {self.unsent} of {self._size} bytes of the call unsent"
        return NotSentError(said, connected=True)
