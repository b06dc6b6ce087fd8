# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Long lists of plain values, from values to JSON text and back in many small steps.

A codec in C holds the interpreter for as long as it works: in a thread, one call of it for a hundred megabytes would stop
the event loop all the same. So long lists are encoded slice by slice, and long runs of numbers are taken out of a text,
and decoded slice by slice. As in ``quick``, None is the answer to everything that is unusual or wrong.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import EllipsisType, UnionType
from typing import Any, cast, get_args, get_origin

from turbolift.contract.codec import Node
from turbolift.contract.containers import ListNode, VariadicTupleNode

LONG = 100_000
"""Items from which on a list is worth the detour."""

TEXT = 2 * 1024 * 1024
"""Bytes from which on a text is."""

_ITEMS = 10_000
_SLICE = 128 * 1024
_WINDOW = 64 * 1024
_MISSES = 256
"""Short lists after which no further long one is looked for: the text is of another kind."""

_NUMBERS = b"0123456789+-.eE, \t\r\n"
_PLAIN = (int, int | float, bool, str)

Encode = Callable[[Any], bytes]


def is_long(value: Any) -> bool:
    """Whether a value is a list, or tuple, that takes long."""
    return (type(value) is list or type(value) is tuple) and len(value) > LONG


def is_flat(node: Node) -> bool:
    """Whether the values of a hint are lists, or tuples, of values that cannot change."""
    return isinstance(node, (ListNode, VariadicTupleNode)) and node.item.fast in _PLAIN


class LongList:
    """A long list as it was at the call, to be encoded later."""

    def __init__(self, node: ListNode | VariadicTupleNode, value: Sequence[Any]) -> None:
        self._item = node.item
        self._values = value[:]  # no copy where it is a tuple

    def pieces(self, encode: Encode) -> Iterator[bytes]:
        """Yield the text, once. Raises Mismatch, and ValueError where it is not ASCII."""
        start = b"["
        for some in self._slices():
            items: Any = self._item.encode_many(some, cast("Any", None), 1)
            text = encode(items)
            if not text.isascii():
                raise ValueError("letters beyond ASCII")
            yield start + text[1:-1]
            start = b","
        yield b"]"

    def _slices(self) -> Iterator[list[Any]]:
        values = self._values
        if not isinstance(values, list):
            for at in range(0, len(values), _ITEMS):
                yield [*values[at : at + _ITEMS]]
            return
        # Let go of slice by slice: to end a list of millions takes its time as well.
        values.reverse()
        while values:
            some = values[-_ITEMS:]
            del values[-_ITEMS:]
            some.reverse()
            yield some


class LateNode:
    """Stands for the node of a flat list in the maker of a call's tree: long lists are left for later."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def encode(self, value: Any, run: Any, depth: int) -> Any:
        node = self._node
        if (
            is_long(value)
            and isinstance(node, (ListNode, VariadicTupleNode))
            and type(value) in (node.types or ())
        ):
            return LongList(node, value)
        return node.encode(value, run, depth)


def object_pieces(envelope: str, tree: Mapping[str, Any], encode: Encode) -> list[bytes]:
    """Return ``{"<envelope>": {...}}`` in pieces. Raises ValueError where it is not ASCII."""
    pieces: list[bytes] = []
    start = b'{"%b":{' % envelope.encode()
    for name, value in tree.items():
        start += encode(name) + b":"
        if isinstance(value, LongList):
            pieces.append(start)
            pieces += value.pieces(encode)
            start = b","
        else:
            start += encode(value) + b","
    if start.endswith(b","):
        start = start[:-1]
    pieces.append(start + b"}}")
    if not all(map(bytes.isascii, pieces)):
        raise ValueError("letters beyond ASCII")
    return pieces


class Runs:
    """The long runs of numbers of a JSON text, and the text without them, in which each stands as one odd number."""

    def __init__(self, text: bytes | bytearray) -> None:
        self._text = text
        self._places: dict[int, tuple[int, int]] = {}
        parts: list[bytes | bytearray] = []
        kept = at = misses = 0
        while misses < _MISSES and (at := text.find(b"[", at)) >= 0:
            end = self._end(at + 1)
            if end:
                odd = random.getrandbits(52)
                self._places[odd] = at + 1, end
                parts += text[kept : at + 1], b"%d" % odd
                kept = at = end
            else:
                at += 1
                misses += 1
        parts.append(text[kept:])
        self.skeleton = b"".join(parts)

    def __len__(self) -> int:
        return len(self._places)

    def _end(self, start: int) -> int:
        """Return where the run ends that starts there, 0 where there is none that is long."""
        text = self._text
        at = start
        # Of what is no run, not much more is looked at than what looks like one.
        size = 64
        while window := text[at : at + size]:
            rest = window.translate(None, _NUMBERS)
            if rest:
                at += window.index(rest[:1])
                return at if text[at : at + 1] == b"]" and at - start >= _WINDOW else 0
            at += len(window)
            size = min(4 * size, _WINDOW)
        return 0

    def fill(self, value: Any, hint: Any) -> Any:
        """Return `value`, which was decoded from the skeleton by `hint`, with the numbers. Raises what decoding does."""
        kind = type(value)
        if not self._places or (kind is not list and kind is not tuple):
            return value
        if isinstance(hint, UnionType):
            hint = next(one for one in get_args(hint) if get_origin(one) is kind)
        inner = get_args(hint)
        if len(value) == 1 and type(value[0]) is int and value[0] in self._places:
            numbers = self._decoded(self._places.pop(value[0]), inner[0])
            return numbers if kind is list else tuple(numbers)
        if kind is tuple and not (len(inner) == 2 and isinstance(inner[1], EllipsisType)):
            return tuple(map(self.fill, value, inner))
        return kind(self.fill(item, inner[0]) for item in value)

    def _decoded(self, place: tuple[int, int], hint: Any) -> list[Any]:
        import msgspec

        decode: Callable[[bytes], list[Any]] = msgspec.json.Decoder(list[hint]).decode
        at, end = place
        values: list[Any] = []
        while at < end:
            cut = self._text.find(b",", at + _SLICE, end)
            cut = end if cut < 0 else cut
            some = decode(b"[%b]" % bytes(self._text[at:cut]))
            if not some:
                raise ValueError("a comma too many")
            values += some
            at = cut + 1
            if at == end:
                raise ValueError("a comma too many")
        return values


def arguments(
    body: bytes | bytearray, decode: Callable[[Any], Any], hints: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the arguments in a large ``{"args": {...}}``, or None."""
    runs = Runs(body)
    if not runs:
        return None
    try:
        values: dict[str, Any] = decode(runs.skeleton).args
        if runs.skeleton.count(b":") != len(values) + 1:
            return None
        for name, value in values.items():
            values[name] = runs.fill(value, hints[name])
    except Exception:
        return None
    return None if runs else values


def result(body: bytes | bytearray, decode: Callable[[Any], Any], hint: Any) -> tuple[Any] | None:
    """Return what is in a large ``{"result": ...}``, in a tuple, or None."""
    runs = Runs(body)
    if not runs or runs.skeleton.count(b":") != 1:
        return None
    try:
        value = runs.fill(decode(runs.skeleton).result, hint)
    except Exception:
        return None
    return None if runs else (value,)


def late_nodes(signature: inspect.Signature, nodes: Mapping[str, Node]) -> dict[str, Any] | None:
    """Return nodes that leave long lists for later, or None where no argument is one that may be long."""
    if not any(is_flat(nodes[name]) for name in signature.parameters):
        return None
    return {name: LateNode(node) if is_flat(node) else node for name, node in nodes.items()}
