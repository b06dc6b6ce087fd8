# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""JSON text: strict both ways, bounded in depth.

The standard library's ``json`` is the carrier: it keeps ints of any size, -0.0, the order of keys and lone
surrogates. It is also lax (NaN literals, doubled keys, keys that become strings), which this module is not.
Where msgspec is installed it is asked first: what it takes or gives is used only where both would do the same,
and whatever is wrong, or only may be, is left to ``json``, which also says where.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from turbolift.errors import DecodeError, EncodeError

MAX_DEPTH = 200
"""Levels of JSON arrays and objects that one argument or result may have."""

# An envelope (``{"args": {...}}``) around an argument has a few levels of its own.
_TEXT_DEPTH = MAX_DEPTH + 16

_TOO_DEEP = f"not JSON: nested more than {_TEXT_DEPTH} levels deep"

# Where a text is wrong is looked up at the speed of Python: only in a text that a person may have written.
_LONG_TEXT = 1_000_000

_LEAVES = frozenset({str, int, float, bool, type(None)})
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(i for i in range(256) if i not in b"[]{}")
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


class Payload(NamedTuple):
    """What travels: a JSON tree, and the raw parts that ``{"$part": n}`` in it stand for."""

    json: Any
    parts: Sequence[bytes | bytearray | memoryview]


def dumps(tree: Any) -> bytes:
    """Return `tree` (dict with str keys, list, str, int, float, bool, None) as compact JSON in ASCII.

    Raises EncodeError for anything else, for NaN and infinities, and for more than MAX_DEPTH (+16) levels.
    """
    _check(tree)
    quick = quick_encoder()
    if quick is not None:
        try:
            found = quick(tree)
        except Exception:  # a lone surrogate, a very long int: the carrier knows what to do
            found = None
        # msgspec writes NaN and infinities as null.
        if found is not None and found.isascii() and b"null" not in found:
            return found
    try:
        return _ENCODER.encode(tree).encode("ascii")
    except ValueError as error:  # NaN, infinities, an int beyond sys.set_int_max_str_digits
        raise EncodeError(f"not JSON: {error}") from None
    except RecursionError:
        raise EncodeError("nested too deeply for the stack that is left at this call") from None


_ENCODER = json.JSONEncoder(ensure_ascii=True, check_circular=False, allow_nan=False, separators=(",", ":"))


class _Quick:
    """msgspec, from the first text on: importing it is dear where nothing is ever sent."""

    encode: Callable[[Any], bytes] | None = None
    decode: Callable[[bytes | bytearray], Any] | None = None
    is_loaded = False

    @classmethod
    def load(cls) -> None:
        cls.is_loaded = True
        try:
            import msgspec
        except ImportError:
            return
        cls.encode = msgspec.json.Encoder().encode
        cls.decode = msgspec.json.Decoder().decode


def quick_encoder() -> Callable[[Any], bytes] | None:
    """Return msgspec's encoder, or None where msgspec is not installed.

    It writes a tree as ``dumps`` does, but for letters beyond ASCII, and it takes more than JSON.
    """
    if not _Quick.is_loaded:
        _Quick.load()
    return _Quick.encode


def _check(tree: Any) -> None:
    """Refuse what json would convert silently: keys that are not str, tuples, subclasses; and cycles by
    their depth.
    """
    level = [tree]
    depth = 0
    while level:
        deeper: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is list:
                inner = item
            elif kind is dict:
                if not {*map(type, item)} <= {str}:
                    raise EncodeError("not JSON: an object's keys must be str")
                inner = item.values()
            elif kind in _LEAVES:
                continue
            else:
                raise EncodeError(f"not JSON: {kind.__name__}")
            if not {*map(type, inner)} <= _LEAVES:
                deeper.extend([v for v in inner if type(v) not in _LEAVES])
        if deeper:
            depth += 1
            if depth >= _TEXT_DEPTH:
                raise EncodeError(f"nested more than {_TEXT_DEPTH} levels deep, or holds itself")
        level = deeper


def loads(data: bytes | bytearray | memoryview | str) -> Any:
    """Parse strict JSON (UTF-8). Raises DecodeError with line and column.

    Refused: NaN and Infinity literals, an object with the same key twice, more than MAX_DEPTH (+16) levels.
    """
    if not isinstance(data, str):
        if isinstance(data, memoryview):
            data = bytes(data)
        found = _loads_quickly(data)
        if found is not None:
            return found[0]
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError(f"not JSON: not UTF-8 at byte {error.start}") from None
    if text.count("[") + text.count("{") > _TEXT_DEPTH:
        _check_depth(text)
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise DecodeError(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except _Refused as error:
        raise DecodeError(f"not strict JSON: {error}{_position(text, error.token)}") from None
    except ValueError as error:  # an int beyond sys.set_int_max_str_digits
        raise DecodeError(f"not JSON: {error}") from None
    except RecursionError:
        raise DecodeError("not JSON: nested too deeply") from None


def _loads_quickly(data: bytes | bytearray) -> tuple[Any] | None:
    """Return the tree in a tuple, or None where it is not sure that the strict reading gives the same.

    Raises DecodeError where the text is nested too deeply.
    """
    if not _Quick.is_loaded:
        _Quick.load()
    decode = _Quick.decode
    if decode is None:
        return None
    if data.count(b"[") + data.count(b"{") > _TEXT_DEPTH and _depth(data) > _TEXT_DEPTH:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            return None
        raise DecodeError(_TOO_DEEP)
    try:
        tree = decode(data)
    except Exception:
        return None
    # Each key has a colon; where there are as many keys in the tree, none was there twice.
    colons = data.count(b":")
    if colons > 1:
        keys = _keys(tree, colons)
        if keys != colons and keys != _STRING.sub(b"", data).count(b":"):
            return None
    return (tree,)


def _keys(tree: Any, most: int) -> int:
    """Count the keys of all objects in `tree`, of which there can be at most `most`."""
    count = 0
    level = [tree] if type(tree) is dict or type(tree) is list else []
    while level and count < most:
        deeper: list[Any] = []
        for item in level:
            inside: Any = item
            if type(item) is dict:
                count += len(item)
                inside = item.values()
            deeper.extend([inner for inner in inside if type(inner) is dict or type(inner) is list])
        level = deeper
    return count


class _Refused(Exception):
    def __init__(self, message: str, token: str) -> None:
        super().__init__(message)
        self.token = token


def _position(text: str, token: str) -> str:
    """Where `token` (a literal, or a key that is there twice) is last written outside of other strings."""
    if len(text) > _LONG_TEXT:
        return ""
    at = -1
    for match in re.finditer(r'"(?:[^"\\]++|\\.)*+"|-?\b(?:NaN|Infinity)\b', text, re.DOTALL):
        written = match[0]
        if written == token or (written[0] == '"' and json.loads(written, strict=False) == token):
            at = match.start()
            if written[0] != '"':
                break
    if at < 0:
        return ""
    line = text.count("\n", 0, at) + 1
    return f" at line {line}, column {at - text.rfind(chr(10), 0, at)}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f"key {twice!r} twice in one object", twice)
    return result


def _constant(literal: str) -> Any:
    raise _Refused(f"{literal} is not JSON", literal)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def _check_depth(text: str) -> None:
    if _depth(text.encode("utf-8", "surrogatepass")) > _TEXT_DEPTH:
        raise DecodeError(_TOO_DEEP)


def _depth(data: bytes | bytearray) -> int:
    # At C speed: take out the strings, keep the brackets, and sum them up as +1 and -1.
    brackets = _STRING.sub(b"", data).translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(memoryview(brackets).cast("b")), default=0)
