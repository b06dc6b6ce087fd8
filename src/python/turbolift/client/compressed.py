# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Calls whose bodies are compressed on the way, beneath the logic of a call and above what moves its bytes."""

from __future__ import annotations

import asyncio
import time

from turbolift.client.transport import (
    AnswerTooLargeError,
    BrokenError,
    LateError,
    Request,
    Response,
    Tls,
    Transport,
)
from turbolift.errors import ConfigurationError, DecodeError
from turbolift.wire import PROBLEM, decode_body
from turbolift.wire.aside import aside
from turbolift.wire.codings import (
    ACCEPT_ENCODING,
    COMPRESSED,
    CONTENT_ENCODING,
    GZIP,
    CodingError,
    TooLargeError,
    coding_of,
    codings,
    compress,
    decompress,
)
from turbolift.wire.problem import problem_kind

Compress = bool | str
"""``True``: by the best coding that both sides know; ``gzip`` or ``zstd``: by that one; ``False``: not at all."""

_MOST = 1024

# (endpoint, coding): what a server has said that it does not know.
_unknown: set[tuple[str, str]] = set()


class CompressedTransport:
    """Implements Transport for one call: what is large enough is compressed, once for all tries."""

    def __init__(self, transport: Transport, how: Compress) -> None:
        """Raises ConfigurationError where `how` is a coding that this Python does not have."""
        if how is not True and how not in codings():
            raise ConfigurationError(
                f"option compress={how!r}: this Python knows {', '.join(codings())}; zstd comes with Python 3.14, or "
                "with the package backports.zstd"
            )
        self._transport = transport
        self._codings = codings() if how is True else (str(how),)
        self._made: dict[str, Request | None] = {}

    async def send(
        self,
        endpoint: str,
        request: Request,
        *,
        max_answer: int,
        deadline: float | None,
        tls: Tls | None = None,
    ) -> Response:
        """Send one request; see Transport."""
        scope = asyncio.timeout(None if deadline is None else deadline - time.monotonic())
        accept = f"{ACCEPT_ENCODING}: {', '.join(self._codings)}\r\n"
        try:
            async with scope:
                while True:
                    coding = self._coding(endpoint, request)
                    sent = await self._compressed(request, coding)
                    sent = sent._replace(lines=f"{accept}{sent.lines}")
                    response = await self._transport.send(
                        endpoint, sent, max_answer=max_answer, deadline=deadline, tls=tls
                    )
                    if coding and response.status == 415 and _is_unknown(response):
                        if len(_unknown) >= _MOST:
                            _unknown.clear()
                        _unknown.add((endpoint, coding))
                        continue
                    return await _plain(response, max_answer)
        except TimeoutError:
            if scope.expired():
                raise LateError from None
            raise

    def _coding(self, endpoint: str, request: Request) -> str:
        """Return the coding that `endpoint` may be sent this request by, "" for none."""
        if request.size < COMPRESSED:
            return ""
        return next((c for c in (*self._codings, GZIP) if (endpoint, c) not in _unknown), "")

    async def _compressed(self, request: Request, coding: str) -> Request:
        if not coding:
            return request
        if coding not in self._made:
            body = await aside(compress, coding, request.body)
            size = 0 if body is None else sum(memoryview(piece).nbytes for piece in body)
            self._made[coding] = None if body is None else request._replace(body=body, size=size)
        made = self._made[coding]
        if made is None:
            return request
        # Other tries have other headers.
        lines = f"{CONTENT_ENCODING}: {coding}\r\n{request.lines}"
        return made._replace(lines=lines, feed=request.feed)

    async def aclose(self) -> None:
        """Nothing of its own is open."""


def _is_unknown(response: Response) -> bool:
    if not response.headers.get("Content-Type", "").startswith(PROBLEM):
        return False
    try:
        return problem_kind(decode_body(PROBLEM, response.body)[0]) == "unsupported-encoding"
    except DecodeError:
        return False


async def _plain(response: Response, limit: int) -> Response:
    """Return an answer as it was before it was compressed."""
    coding = coding_of(response.headers)
    if not coding:
        return response
    if coding not in codings():
        raise BrokenError(f"the answer is compressed by {coding[:60]!r}, which was not asked for")
    kind = response.headers.get("Content-Type", "")
    try:
        body = await aside(decompress, coding, response.body, kind, limit)
    except TooLargeError:
        raise AnswerTooLargeError(limit, None) from None
    except CodingError as error:
        raise BrokenError(f"the compressed answer is broken: {error}") from None
    return response._replace(body=body)
