# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Values inside of exceptions: arguments and attributes, of which nobody has said the types.

JSON's own are written as they are; a few more of Python's as an object with one key that starts with ``$``. Whatever else there
is does not travel.
"""

from __future__ import annotations

import base64
import math
import pathlib
import re
from collections.abc import Iterable
from typing import Any

TEXT_LIMIT = 64 * 1024
"""Characters of a text that is for people: a message, a traceback, a repr, a note."""

DEPTH_LIMIT = 16
"""Levels of a value, and of groups in groups."""

_INT_BITS = 2048  # beyond them a decimal may be refused: sys.set_int_max_str_digits
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]")  # JSON joins them into one character
_PATHS = (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath)
_PATH_NAMES = {cls.__name__: cls for cls in _PATHS}


class NotPlainError(Exception):
    """A value that does not travel inside of an exception."""


class Budget:
    """What all values of one exception may take together: `text` characters and bytes, `items` values."""

    def __init__(self, text: int = 4 << 20, items: int = 100_000) -> None:
        self._text = text
        self._items = items

    def take(self, text: int = 0) -> None:
        """Take one value of `text` characters. Raises NotPlainError where there is not enough left."""
        if text > self._text or self._items <= 0:
            raise NotPlainError
        self._text -= text
        self._items -= 1


def plain(value: Any, budget: Budget, depth: int = 0) -> Any:
    """Return `value` as a JSON tree that ``unplain`` turns into an equal value of the same type. Raises NotPlainError."""
    kind = type(value)
    if value is None or kind is bool:
        budget.take()
        return value
    if kind is str:
        budget.take(len(value))
        if value.isascii() or _SURROGATES.search(value) is None:
            return value
        return {"$text": _base64(value.encode("utf-32-le", "surrogatepass"))}
    if kind is int:
        budget.take(value.bit_length() // 4)
        return value if value.bit_length() <= _INT_BITS else {"$int": hex(value)}
    if kind is float:
        budget.take()
        return value if math.isfinite(value) else {"$float": repr(value)}
    if kind is complex:
        budget.take()
        return {"$complex": [repr(value.real), repr(value.imag)]}
    if kind is bytes:
        budget.take(len(value))
        return {"$bytes": _base64(value)}
    if kind in _PATHS:
        budget.take(len(str(value)))
        return {"$path": [kind.__name__, str(value)]}
    if depth >= DEPTH_LIMIT:
        raise NotPlainError
    budget.take()
    if kind is list:
        return _all(value, budget, depth)
    if kind is tuple:
        return {"$tuple": _all(value, budget, depth)}
    if kind is set or kind is frozenset:
        return {f"${kind.__name__}": _all(value, budget, depth)}
    if kind is dict:
        if all(type(key) is str and not key.startswith("$") for key in value):
            for key in value:
                budget.take(len(key))
            return {key: plain(item, budget, depth + 1) for key, item in value.items()}
        return {"$dict": [_all(pair, budget, depth) for pair in value.items()]}
    raise NotPlainError


def _all(values: Iterable[Any], budget: Budget, depth: int) -> list[Any]:
    return [plain(item, budget, depth + 1) for item in values]


def shown(value: Any) -> str:
    """Return a text for people of what does not travel: its repr; the start of what is long."""
    try:
        if type(value) is str:
            return cut(value)
        if type(value) in (bytes, bytearray):
            return cut(repr(value[:TEXT_LIMIT]), len(value))
        return cut(exact(repr(value)))
    except Exception:
        return f"<{type(value).__qualname__}>"


def exact(text: str) -> str:
    """Return `text` as a str and no subclass of it, whatever a user's ``__str__`` returned."""
    return text if type(text) is str else str.__str__(text)


def cut(text: str, whole: int | None = None) -> str:
    """Return `text`, without its middle where it is long; `whole`: how long it was."""
    size = len(text) if whole is None else max(whole, len(text))
    if size <= TEXT_LIMIT:
        return text
    return f"{text[: TEXT_LIMIT // 2]}\n... {size - TEXT_LIMIT} characters ...\n{text[-TEXT_LIMIT // 2 :]}"


def unplain(tree: Any) -> Any:
    """Return the value of a tree of ``plain``. Raises ValueError, TypeError or KeyError for what is none."""
    if isinstance(tree, list):
        return [unplain(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        kind, inner = next(iter(tree.items()))
        if kind.startswith("$"):
            return _special(kind, inner)
    return {key: unplain(item) for key, item in tree.items()}


def _special(kind: str, inner: Any) -> Any:
    match kind:
        case "$tuple":
            return tuple([unplain(item) for item in inner])
        case "$bytes":
            return base64.b64decode(inner)
        case "$float":
            return float(inner)
        case "$int":
            return int(inner, 16)
        case "$complex":
            real, imaginary = inner
            return complex(float(real), float(imaginary))
        case "$text":
            return base64.b64decode(inner).decode("utf-32-le", "surrogatepass")
        case "$path":
            name, text = inner
            return _PATH_NAMES[name](text)
        case "$set":
            return {unplain(item) for item in inner}
        case "$frozenset":
            return frozenset([unplain(item) for item in inner])
        case "$dict":
            return {unplain(key): unplain(item) for key, item in inner}
        case _:
            raise ValueError(f"nothing is written as {kind}")


def identical(left: Any, right: Any) -> bool:
    """Whether two values of ``unplain`` are equal with the same types at every level; a NaN is itself."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(identical, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(identical(left[key], right[key]) for key in left)
    return bool(left == right) or left is right or (left != left and right != right)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
