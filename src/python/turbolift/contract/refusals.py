# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What to do instead, for the hints that cannot travel."""

from __future__ import annotations

from typing import Any

_GENERATORS = "a stream cannot travel; return a list (or split the work into several calls)"
_ASYNC = "write the type of the result itself, as for any `async def`"
_CALLABLE = "a function cannot travel; pass data that says what to do (a name, an Enum)"
_IO = "an open file cannot travel; pass bytes or a pathlib.Path"
_LOCK = "it belongs to one process; pass plain data"
_PATTERN = "pass the pattern as str"

_ADVICE = {
    "Callable": _CALLABLE,
    "function": _CALLABLE,
    "FunctionType": _CALLABLE,
    "MethodType": _CALLABLE,
    "BuiltinFunctionType": _CALLABLE,
    "builtin_function_or_method": _CALLABLE,
    "method": _CALLABLE,
    "partial": _CALLABLE,
    "Generator": _GENERATORS,
    "Iterator": _GENERATORS,
    "AsyncGenerator": _GENERATORS,
    "AsyncIterator": _GENERATORS,
    "AsyncIterable": _GENERATORS,
    "generator": _GENERATORS,
    "async_generator": _GENERATORS,
    "map": _GENERATORS,
    "filter": _GENERATORS,
    "zip": _GENERATORS,
    "Coroutine": _ASYNC,
    "Awaitable": _ASYNC,
    "coroutine": _ASYNC,
    "Future": _ASYNC,
    "Task": _ASYNC,
    "IO": _IO,
    "TextIO": _IO,
    "BinaryIO": _IO,
    "IOBase": _IO,
    "RawIOBase": _IO,
    "TextIOWrapper": _IO,
    "BytesIO": _IO,
    "StringIO": _IO,
    "BufferedReader": _IO,
    "BufferedWriter": _IO,
    "socket": _LOCK,
    "lock": _LOCK,
    "allocate_lock": _LOCK,
    "RLock": _LOCK,
    "Lock": _LOCK,
    "Condition": _LOCK,
    "Event": _LOCK,
    "Semaphore": _LOCK,
    "Thread": _LOCK,
    "Queue": _LOCK,
    "SimpleQueue": _LOCK,
    "local": _LOCK,
    "module": "a module cannot travel; pass its name",
    "ModuleType": "a module cannot travel; pass its name",
    "type": "a class cannot travel; pass its name, or an Enum that stands for it",
    "Pattern": _PATTERN,
    "Match": "pass the text that matched",
    "ellipsis": "`...` is no value; use None",
    "EllipsisType": "`...` is no value; use None",
    "memoryview": "pass bytes",
    "Buffer": "pass bytes",
    "ByteString": "pass bytes",
    "array": "pass a list, or a numpy array",
    "tzinfo": "pass zoneinfo.ZoneInfo",
    "DataFrame": "pass its columns as lists or numpy arrays, or its bytes (Parquet, Arrow)",
    "Series": "pass a list or a numpy array",
    "Tensor": "pass a numpy array",
    "Exception": "pass its message, or raise it",
    "BaseException": "pass its message, or raise it",
    "Hashable": "name the types that it may be",
    "Sized": "name the types that it may be",
}
_DEFAULT = "make it a dataclass, NamedTuple, TypedDict or Enum of types that travel, or pass plain data"


def advice(hint: Any) -> str:
    """One sentence that says what to do instead of `hint`."""
    name = getattr(hint, "__name__", None) or getattr(hint, "_name", None) or type(hint).__name__
    if name in _ADVICE:
        return _ADVICE[name]
    for base in getattr(hint, "__mro__", ())[1:-1]:
        if base.__name__ in _ADVICE:
            return _ADVICE[base.__name__]
    if getattr(hint, "_is_protocol", False):
        return "a Protocol says what a value can do, not what it is; name the types that it may be"
    return _DEFAULT
