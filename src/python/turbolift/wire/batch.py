# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Many calls of one function in one request: each with its own key, trace, deadline and end.

A request is ``u32 n | n heads | n bodies``, an answer ``u32 n | f64 seconds | n heads | n bodies``, all big-endian: the
heads are of one size, and a body is what the call, or its answer, would have alone. ``seconds`` is how long the server
was at it, from which the caller learns how many calls the next request should have. Where some calls take longer than
others, an answer is several of these, one after the other, sent (chunked) as the calls end.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple

from turbolift.errors import DecodeError
from turbolift.wire.frames import FRAMES, JSON, PROBLEM, Buffer

BATCH = "application/vnd.turbolift.batch"

MOST = 4096
"""Calls that a batch may have."""

NOT_BEGUN = 0
"""In the place of a status: the server has not begun with this call, and leaves it to the caller to send it again."""

_COUNT = struct.Struct(">I")
_ANSWERS = struct.Struct(">Id")
# Idempotency key, traceparent (as in their headers), seconds until the deadline (infinite: none), content type, bytes.
_CALL = struct.Struct(">32s55sdBI")
# Which call, HTTP status, content type, bytes.
_ANSWER = struct.Struct(">IHBI")

_KINDS = (JSON, FRAMES, PROBLEM)
_CODES = {kind: code for code, kind in enumerate(_KINDS)}

CALL_HEAD = _CALL.size
"""Bytes that a call has beside its body."""

pack_call = _CALL.pack
"""The head of a call: key and traceparent (ASCII, 32 and 55 bytes), seconds or infinity, ``code_of`` its content type,
bytes of its body."""


class BatchCall(NamedTuple):
    """One call of a batch. ``remaining``: seconds from the arrival until its deadline, or None."""

    key: bytes
    trace: bytes
    remaining: float | None
    content_type: str
    body: bytes | bytearray


class BatchAnswer(NamedTuple):
    """One answer of a batch: to the call `number`, with an HTTP status, or NOT_BEGUN."""

    number: int
    status: int
    content_type: str
    body: bytes


def code_of(content_type: str) -> int:
    """Return how a content type is written in a head."""
    return _CODES[content_type]


def join_calls(heads: Sequence[bytes], bodies: Sequence[bytes]) -> bytes:
    """Return the body of a request, from heads by ``pack_call``."""
    return b"".join((_COUNT.pack(len(heads)), *heads, *bodies))


def read_calls(body: Buffer) -> list[BatchCall]:
    """Return the calls of a request. Raises DecodeError where its lengths do not add up, or a head is wrong."""
    if isinstance(body, memoryview):
        body = bytes(body)
    at, heads = _table(body)
    new = tuple.__new__  # half of what the class's own costs
    calls: list[BatchCall] = []
    for key, trace, remaining, code, size in heads:
        end = at + size
        if code > 1 or end > len(body):
            raise DecodeError(f"call {len(calls)} of a batch has no such content type or body")
        if not remaining >= 0 or not (key.isascii() and trace.isascii()):
            raise DecodeError(f"call {len(calls)} of a batch has a head that is none")
        calls.append(
            new(BatchCall, (key, trace, None if remaining == inf else remaining, _KINDS[code], body[at:end]))
        )
        at = end
    if at != len(body):
        raise DecodeError(f"a batch ends {len(body) - at} bytes after its last call")
    return calls


def join_answers(
    answers: Sequence[tuple[int, str, bytes]], seconds: float, numbers: Sequence[int] | None = None
) -> bytes:
    """Return an answer: status, content type and body of each call, after `seconds` of work; `numbers` says which calls
    they are (None: all, in order).
    """
    pack = _ANSWER.pack
    which = range(len(answers)) if numbers is None else numbers
    heads = [
        pack(i, status, _CODES[kind], len(body))
        for i, (status, kind, body) in zip(which, answers, strict=True)
    ]
    return b"".join((_ANSWERS.pack(len(heads), seconds), *heads, *(body for _, _, body in answers)))


def read_answers(body: bytes) -> tuple[float, list[BatchAnswer], int]:
    """Return the seconds of work, the answers, and where in `body` they end: the whole ones, of one answer or of several
    one after the other. Raises DecodeError where they are broken.
    """
    new = tuple.__new__
    answers: list[BatchAnswer] = []
    seconds, at = 0.0, 0
    while len(body) - at >= _ANSWERS.size:
        count, spent = _ANSWERS.unpack_from(body, at)
        start = at + _ANSWERS.size
        if count > MOST:
            raise DecodeError(f"an answer to a batch cannot have {count} calls")
        end = start + count * _ANSWER.size
        if end > len(body):
            break
        some: list[BatchAnswer] = []
        for number, status, code, size in _ANSWER.iter_unpack(memoryview(body)[start:end]):
            if code >= len(_KINDS):
                raise DecodeError(f"answer {number} of a batch has no such content type")
            some.append(new(BatchAnswer, (number, status, _KINDS[code], body[end : end + size])))
            end += size
        if end > len(body):
            break
        answers += some
        seconds, at = spent, end
    return seconds, answers, at


def _table(body: bytes | bytearray) -> tuple[int, list[tuple[Any, ...]]]:
    """Return where the bodies start, and the heads before them."""
    if len(body) < _COUNT.size:
        raise DecodeError(f"a batch of {len(body)} bytes is too short for its count")
    count = _COUNT.unpack_from(body)[0]
    start = _COUNT.size + count * _CALL.size
    if count > MOST or start > len(body):
        raise DecodeError(f"a batch of {len(body)} bytes cannot have {count} calls")
    return start, list(_CALL.iter_unpack(memoryview(body)[_COUNT.size : start]))
