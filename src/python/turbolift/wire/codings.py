# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Content codings: how bodies are compressed, and what is made of those that were.

``gzip`` is always there, ``zstd`` where Python has ``compression.zstd`` (3.14) or ``backports.zstd`` is installed. All
of it is work for a thread.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

from turbolift.wire.frames import Buffer, Frames
from turbolift.wire.receive import STEP, body_of

CONTENT_ENCODING = "Content-Encoding"
ACCEPT_ENCODING = "Accept-Encoding"

GZIP = "gzip"
ZSTD = "zstd"

COMPRESSED = 64 * 1024
"""Bytes from which on a body is compressed: smaller ones are sent sooner than they are made smaller."""

WORTH = 0.9
"""What is left of a body's first MiB, as a share, for it to be worth going on: pictures and the like are sent as they
are.
"""

_SLICE = 64 * 1024
# RFC 9659: what a decoder of the web must bear. Whoever asks for more asks for memory.
_WINDOW_LOG = 23
_GZIP_LEVEL = 1
_ZSTD_LEVEL = 1


class CodingError(ValueError):
    """A body is not what its coding says."""


class TooLargeError(ValueError):
    """A body unpacks to more than the limit."""


@functools.cache
def _zstd() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


@functools.cache
def codings() -> tuple[str, ...]:
    """Return the codings that are known here, the best first."""
    return (ZSTD, GZIP) if _zstd() is not None else (GZIP,)


def coding_of(headers: Mapping[str, str]) -> str:
    """Return the coding of a body, "" for none."""
    coding = headers.get(CONTENT_ENCODING, "").strip().lower()
    return "" if coding == "identity" else coding


def kind_of(headers: Mapping[str, str]) -> str | None:
    """Return the content type of a body that can be read as it comes in; None where it is compressed."""
    return None if headers.get(CONTENT_ENCODING) else headers.get("Content-Type")


def chosen(accepted: str) -> str:
    """Return the coding for an answer by what ``Accept-Encoding`` says, "" for none."""
    weights: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, _, parameters = part.partition(";")
        weight = 1.0
        for parameter in parameters.split(";"):
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        weights[name.strip()] = weight
    rest = weights.get("*", 0.0)
    best = max(codings(), key=lambda coding: weights.get(coding, rest))
    weight = weights.get(best, rest)
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else ""


def compress(coding: str, body: Iterable[Buffer]) -> list[Buffer] | None:
    """Return the pieces of a body, compressed; None where that does not pay."""
    machine: Any = _zstd().ZstdCompressor(level=_ZSTD_LEVEL) if coding == ZSTD else _gzip()
    pieces: list[Buffer] = []
    given = made = 0
    tried = False
    for piece in _sliced(body, STEP):
        if (made_of := machine.compress(piece)) != b"":
            pieces.append(made_of)
            made += len(made_of)
        given += len(piece)
        if not tried and given >= STEP:
            tried = True
            if made > given * WORTH:
                return None
    pieces.append(machine.flush())
    made += memoryview(pieces[-1]).nbytes
    return pieces if made < given * WORTH else None


def decompress(coding: str, body: Buffer | Frames, content_type: str, limit: int) -> bytearray | Frames:
    """Return a body as it was. Never more than `limit` bytes and a step are made of it.

    Raises TooLargeError, and CodingError where it is broken, or goes on after its end.
    """
    pieces = body.pieces() if isinstance(body, Frames) else [body]
    source = _sliced(pieces, _SLICE)
    made = body_of(content_type, limit, known=False)
    try:
        for piece in _unzstd(source) if coding == ZSTD else _gunzip(source):
            if made.put(piece) < len(piece):
                raise TooLargeError(f"it unpacks to more than {limit} bytes")
    except (CodingError, TooLargeError):
        raise
    except Exception as error:  # zlib.error, ZstdError
        raise CodingError(f"not {coding}: {error}") from None
    return made.whole()


def _gzip() -> Any:
    return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)


def _sliced(pieces: Iterable[Buffer], size: int) -> Iterator[memoryview]:
    for piece in pieces:
        view = memoryview(piece).cast("B")
        for at in range(0, len(view), size):
            yield view[at : at + size]


def _gunzip(source: Iterable[memoryview]) -> Iterator[bytes]:
    machine = zlib.decompressobj(31)
    for given in source:
        left: Buffer = given
        while True:
            if machine.eof:
                if not left:
                    break
                machine = zlib.decompressobj(31)  # a file of several members
            piece = machine.decompress(left, STEP)
            if piece:
                yield piece
            left = machine.unused_data if machine.eof else machine.unconsumed_tail
            if not left and len(piece) < STEP:
                break
    if not machine.eof:
        raise CodingError("it ends too early")


def _unzstd(source: Iterable[memoryview]) -> Iterator[bytes]:
    zstd = _zstd()
    options = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
    machine = zstd.ZstdDecompressor(options=options)
    for given in source:
        left: Buffer = given
        while True:
            if machine.eof:
                if not left:
                    break
                machine = zstd.ZstdDecompressor(options=options)
            piece = machine.decompress(left, STEP)
            if piece:
                yield piece
            left = machine.unused_data if machine.eof else b""
            if not left and (machine.eof or machine.needs_input):
                break
    if not machine.eof:
        raise CodingError("it ends too early")
