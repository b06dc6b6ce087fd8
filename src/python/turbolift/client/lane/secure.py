# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A connection of the lane over TLS."""

from __future__ import annotations

import asyncio
import socket

from turbolift.client import tls as secured
from turbolift.client.lane.connection import Connection
from turbolift.client.lane.state import Feed
from turbolift.client.transport import NotSentError, Response, Tls
from turbolift.wire.tls import HANDSHAKE_TIME, SHUTDOWN_TIME


class SecureConnection(Connection):
    """A connection whose server must show the certificate that `tls` says."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, tls: Tls) -> None:
        super().__init__(loop, sock)
        self._tls = tls
        self._refusal: NotSentError = NotSentError("the server closed it")

    async def shake_hands(self) -> None:
        """Secure the connected socket. Raises InsecureError."""
        try:
            await self._loop.create_connection(
                lambda: self,
                sock=self._sock,
                ssl=secured.context(self._tls),
                server_hostname=self._tls.server_name,
                ssl_handshake_timeout=HANDSHAKE_TIME,
                ssl_shutdown_timeout=SHUTDOWN_TIME,
            )
        except OSError as error:
            raise secured.failed(error, self._tls) from None

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed (Protocol); where the server has refused us, it says so, and has read nothing."""
        told = secured.refused(exc, self._tls)
        if told is not None:
            self._refusal = told
            self._settle(told)
        super().connection_lost(exc)

    def _expect(
        self, limit: int, deadline: float | None, feed: Feed | None = None
    ) -> asyncio.Future[Response]:
        if not self.is_over:
            return super()._expect(limit, deadline, feed)
        # It was closed before anything was written: in TLS 1.3 a refusal may come that early, and no earlier.
        answer: asyncio.Future[Response] = self._loop.create_future()
        answer.set_exception(self._refusal)
        return answer
