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

HEAD = struct.Struct(">I")
"""How a framed body starts: the length of its JSON."""

LENGTH = struct.Struct(">Q")
"""What stands before each raw part: its length."""

Buffer = bytes | bytearray | memoryview


class Frames:
    """A framed body that was taken apart as it came in: ``text`` (its JSON; None where it ends before that), ``parts``,
    each in memory of its own, and ``broken``, what is wrong with its lengths. ``len`` is the bytes of the whole.
    """

    __slots__ = ("_size", "broken", "parts", "text")

    def __init__(
        self, text: bytes | bytearray | None, parts: Sequence[Buffer], size: int, broken: str = ""
    ) -> None:
        self.text = text
        self.parts = parts
        self.broken = broken
        self._size = size

    def __len__(self) -> int:
        return self._size

    def pieces(self) -> list[Buffer]:
        """Return the body as it was, to be sent one piece after the other."""
        return _pieces(self.text or b"", self.parts)


def truncated(where: str, part: int, announced: int, size: int) -> str:
    """Say where a framed body of `size` bytes ends too early: in its ``start``, its ``json``, the ``length`` of raw part
    number `part`, or in that ``part`` itself, which should have `announced` bytes.
    """
    match where:
        case "start":
            return f"framed body of {size} bytes is too short for its first length"
        case "json":
            return f"framed body ends inside its JSON ({announced + HEAD.size} bytes announced, {size} there)"
        case "length":
            return f"framed body ends inside the length of part {part}"
        case _:
            return f"framed body ends inside part {part} ({announced} bytes announced)"


def encode_body(tree: Any, parts: Sequence[Buffer] = ()) -> tuple[str, list[Buffer]]:
    """Return the content type and the pieces of the body, to be sent one after the other.

    The parts themselves are not copied. Raises EncodeError where `tree` is not JSON.
    """
    text = dumps(tree)
    if not parts:
        return JSON, [text]
    return FRAMES, _pieces(text, parts)


def _pieces(text: bytes | bytearray, parts: Sequence[Buffer]) -> list[Buffer]:
    pieces: list[Buffer] = [HEAD.pack(len(text)), text]
    for part in parts:
        pieces.append(LENGTH.pack(memoryview(part).nbytes))
        pieces.append(part)
    return pieces


def decode_body(content_type: str, body: Buffer | Frames) -> tuple[Any, Sequence[Buffer]]:
    """Return the JSON tree and the raw parts of a body; the parts are views into `body`, or its own.

    Raises DecodeError where the content type is another one, lengths do not add up, or the JSON is broken.
    """
    if isinstance(body, Frames):
        tree = None if body.text is None else loads(body.text)
        if body.broken:
            raise DecodeError(body.broken)
        return tree, body.parts
    kind = content_type.partition(";")[0].strip().lower()
    if kind in (JSON, PROBLEM):
        return loads(bytes(body) if isinstance(body, memoryview) else body), []
    if kind != FRAMES:
        raise DecodeError(f"content type {content_type!r} is neither {JSON} nor {FRAMES}")
    view = memoryview(body)
    size = len(view)
    if size < HEAD.size:
        raise DecodeError(truncated("start", 0, 0, size))
    length = HEAD.unpack_from(view)[0]
    start = HEAD.size + length
    if start > size:
        raise DecodeError(truncated("json", 0, length, size))
    tree = loads(bytes(view[HEAD.size : start]))
    parts: list[memoryview] = []
    while start < size:
        if size - start < LENGTH.size:
            raise DecodeError(truncated("length", len(parts), 0, size))
        length = LENGTH.unpack_from(view, start)[0]
        start += LENGTH.size
        if length > size - start:
            raise DecodeError(truncated("part", len(parts), length, size))
        parts.append(view[start : start + length])
        start += length
    return tree, parts
