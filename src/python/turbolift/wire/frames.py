# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Bodies: plain JSON, or JSON followed by raw parts.

With raw parts the body is ``u32 n | JSON of n bytes | (u64 m | m bytes) ...``, all big-endian, so that bytes
and arrays travel as they are. The JSON refers to part `i` as ``{"$part": i}``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from turbolift.contract import dumps, loads
from turbolift.errors import DecodeError

JSON = "application/json"
FRAMES = "application/vnd.turbolift.frames"
PROBLEM = "application/problem+json"

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")

Buffer = bytes | bytearray | memoryview


def encode_body(tree: Any, parts: Sequence[Buffer] = ()) -> tuple[str, list[Buffer]]:
    """Return the content type and the pieces of the body, to be sent one after the other.

    The parts themselves are not copied. Raises EncodeError where `tree` is not JSON.
    """
    text = dumps(tree)
    if not parts:
        return JSON, [text]
    pieces: list[Buffer] = [_U32.pack(len(text)), text]
    for part in parts:
        pieces.append(_U64.pack(memoryview(part).nbytes))
        pieces.append(part)
    return FRAMES, pieces


def decode_body(content_type: str, body: Buffer) -> tuple[Any, list[memoryview]]:
    """Return the JSON tree and the raw parts of a body; the parts are views into `body`.

    Raises DecodeError where the content type is another one, lengths do not add up, or the JSON is broken.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind in (JSON, PROBLEM):
        return loads(bytes(body) if isinstance(body, memoryview) else body), []
    if kind != FRAMES:
        raise DecodeError(f"content type {content_type!r} is neither {JSON} nor {FRAMES}")
    view = memoryview(body)
    size = len(view)
    if size < 4:
        raise DecodeError(f"framed body of {size} bytes is too short for its first length")
    start = 4 + _U32.unpack_from(view)[0]
    if start > size:
        raise DecodeError(f"framed body ends inside its JSON ({start} bytes announced, {size} there)")
    tree = loads(bytes(view[4:start]))
    parts: list[memoryview] = []
    while start < size:
        if size - start < 8:
            raise DecodeError(f"framed body ends inside the length of part {len(parts)}")
        length = _U64.unpack_from(view, start)[0]
        start += 8
        if length > size - start:
            raise DecodeError(f"framed body ends inside part {len(parts)} ({length} bytes announced)")
        parts.append(view[start : start + length])
        start += length
    return tree, parts
