# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Exceptions on the wire: described in JSON, rebuilt without pickle and without importing anything.

A described exception is ``{"type": "module:qualname", "message", "args", "call"?, "state"?, "lost"?,
"notes"?, "traceback"?, "exceptions"?}``. It is rebuilt only from a class that this process already knows
(``sys.modules``), that is an Exception, and whose constructor gives back the very arguments; anything else
becomes a RemoteError.
"""

from __future__ import annotations

import base64
import math
import os
import sys
import traceback
from typing import Any

from turbolift.errors import RemoteError, RemoteTraceback

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_TEXT_LIMIT = 64 * 1024
_DEPTH_LIMIT = 16
_ITEMS_LIMIT = 10_000
# Facts of builtin exceptions that are neither in args nor in __dict__.
_SLOTS: tuple[tuple[type[Exception], tuple[str, ...]], ...] = (
    (ImportError, ("name", "path")),
    (NameError, ("name",)),
    (AttributeError, ("name",)),
)


class _NotPlainError(Exception):
    """A value that does not travel inside an exception."""


def encode_exception(error: BaseException, *, traceback_text: bool = True) -> dict[str, Any]:
    """Describe `error` (its arguments, attributes, notes, members and traceback) as a JSON tree."""
    return _encode(error, traceback_text, 0)


def _encode(error: BaseException, with_traceback: bool, depth: int) -> dict[str, Any]:
    cls = type(error)
    node: dict[str, Any] = {
        "type": f"{cls.__module__}:{cls.__qualname__}",
        "message": _text_of(error),
    }
    if isinstance(error, BaseExceptionGroup):
        node["args"] = [_text_of(error.message)]
        if depth < _DEPTH_LIMIT:
            members = error.exceptions[:_ITEMS_LIMIT]
            node["exceptions"] = [_encode(member, False, depth + 1) for member in members]
    else:
        try:
            node["args"] = [_plain(value) for value in error.args]
            if isinstance(error, OSError) and error.filename is not None:
                node["call"] = [_plain(value) for value in error.__reduce__()[1]]
        except _NotPlainError:
            node["args"] = None
            node["partial"] = [_plain_or_repr(value) for value in error.args[:_ITEMS_LIMIT]]
    state, lost = _state_of(error)
    if state:
        node["state"] = state
    if lost:
        node["lost"] = lost
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, list) and notes:
        node["notes"] = [note for note in notes if isinstance(note, str)]
    if with_traceback:
        node["traceback"] = format_traceback(error)
    return node


def format_traceback(error: BaseException) -> str:
    """Return the traceback of `error` as Python prints it, from the first frame that is not turbolift's."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))
    except Exception as broken:  # a __str__, or a source line, of the user that raises
        text = f"{type(error).__qualname__} (its traceback cannot be formatted: {type(broken).__name__})\n"
    if len(text) > _TEXT_LIMIT:
        left_out = f"\n... {len(text) - _TEXT_LIMIT} characters ...\n"
        text = text[: _TEXT_LIMIT // 2] + left_out + text[-_TEXT_LIMIT // 2 :]
    return text


def _text_of(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__qualname__} whose str() fails>"


def _state_of(error: BaseException) -> tuple[dict[str, Any], list[str]]:
    state: dict[str, Any] = {}
    lost = []
    facts = {name: value for name, value in getattr(error, "__dict__", {}).items() if name != "__notes__"}
    for cls, names in _SLOTS:
        if isinstance(error, cls):
            facts.update({name: value for name in names if (value := getattr(error, name, None)) is not None})
    for name, value in facts.items():
        if not isinstance(name, str) or name.startswith("__"):
            continue
        try:
            state[name] = _plain(value)
        except _NotPlainError:
            lost.append(name)
    return state, lost


def _plain(value: Any, depth: int = 0) -> Any:
    """Return `value` as a JSON tree that `_unplain` turns into an equal value of the same type."""
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int and value.bit_length() <= 4096:
        return value
    if kind is float and math.isfinite(value):
        return value
    if kind is bytes:
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if depth >= _DEPTH_LIMIT:
        raise _NotPlainError
    if kind is list:
        return [_plain(item, depth + 1) for item in value]
    if kind is tuple:
        return {"$tuple": [_plain(item, depth + 1) for item in value]}
    if kind is dict and all(type(key) is str and not key.startswith("$") for key in value):
        return {key: _plain(item, depth + 1) for key, item in value.items()}
    raise _NotPlainError


def _plain_or_repr(value: Any) -> Any:
    try:
        return _plain(value)
    except _NotPlainError:
        try:
            return repr(value)[:_TEXT_LIMIT]
        except Exception:
            return f"<{type(value).__qualname__}>"


def _unplain(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_unplain(item) for item in tree]
    if isinstance(tree, dict):
        if tree.keys() == {"$tuple"} and isinstance(tree["$tuple"], list):
            return tuple(_unplain(item) for item in tree["$tuple"])
        if tree.keys() == {"$bytes"} and isinstance(tree["$bytes"], str):
            return base64.b64decode(tree["$bytes"])
        return {key: _unplain(item) for key, item in tree.items()}
    return tree


def rebuild_exception(node: Any, *, function: str = "", endpoint: str = "") -> Exception:
    """Return the exception that `node` describes, with its notes; its ``__cause__`` is the RemoteTraceback.

    Where the class is not known here, is no Exception, or would not hold the same arguments: a RemoteError.
    Never raises for what `node` holds.
    """
    if not isinstance(node, dict):
        node = {}
    error = _rebuild(node, function, endpoint, 0)
    text = node.get("traceback")
    if isinstance(text, str) and text:
        error.__cause__ = RemoteTraceback(text, function=function, endpoint=endpoint)
    return error


def _rebuild(node: dict[str, Any], function: str, endpoint: str, depth: int) -> Exception:
    error: Exception | None
    try:
        error = _same_class(node, function, endpoint, depth)
    except Exception:  # a constructor of the user's class that wants something else
        error = None
    if error is None:
        error = _remote_error(node, function, endpoint)
    for note in _strings(node.get("notes")):
        error.add_note(note)
    lost = _strings(node.get("lost"))
    if lost and not isinstance(error, RemoteError):
        error.add_note(f"turbolift: attributes that did not travel: {', '.join(lost)}")
    return error


def _same_class(node: dict[str, Any], function: str, endpoint: str, depth: int) -> Exception | None:
    cls = _known_class(node.get("type"))
    members = node.get("exceptions")
    if cls is None:
        return None
    if isinstance(members, list) and depth < _DEPTH_LIMIT:
        if not issubclass(cls, BaseExceptionGroup):
            return None
        inner = [_rebuild(m if isinstance(m, dict) else {}, function, endpoint, depth + 1) for m in members]
        message = _unplain(node.get("args"))[0]
        group: Any = cls
        error: Exception = group(message, inner)
        if type(error) is not cls or error.args[0] != message:
            return None
    else:
        args = node.get("args")
        if not isinstance(args, list):
            return None
        args = tuple(_unplain(args))
        call = node.get("call")
        error = cls(*(_unplain(call) if isinstance(call, list) else args))
        if type(error) is not cls or not _identical(error.args, args):
            return None
    state = node.get("state")
    if isinstance(state, dict):
        _restore(error, _unplain(state))
    return error


def _known_class(identity: Any) -> type[Exception] | None:
    """Return the class if it is in a module that is imported already; never imports, never runs a module's
    hooks.
    """
    if not isinstance(identity, str):
        return None
    name, _, qualname = identity.partition(":")
    if identity == "builtins:BaseExceptionGroup":
        qualname = "ExceptionGroup"  # its members are all Exceptions by now
    found: Any = sys.modules.get(name)
    for part in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(part)
        if found is None:
            return None
    if isinstance(found, type) and issubclass(found, Exception) and not issubclass(found, RemoteTraceback):
        return found
    return None


def _identical(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(_identical, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_identical(left[key], right[key]) for key in left)
    return bool(left == right)


def _restore(error: Exception, state: dict[str, Any]) -> None:
    for cls, names in _SLOTS:
        if isinstance(error, cls):
            for name in names:
                if name in state:
                    setattr(error, name, state.pop(name))
    error.__dict__.update({name: value for name, value in state.items() if not name.startswith("__")})


def _remote_error(node: dict[str, Any], function: str, endpoint: str) -> RemoteError:
    kind = node.get("type") if isinstance(node.get("type"), str) else "unknown"
    message = node.get("message") if isinstance(node.get("message"), str) else ""
    args = node.get("args") if isinstance(node.get("args"), list) else node.get("partial")
    text = node.get("traceback")
    return RemoteError(
        f"{function or 'the function'} raised {kind}" + (f": {message}" if message else ""),
        function=function,
        endpoint=endpoint,
        type=str(kind),
        remote_args=tuple(_unplain(args)) if isinstance(args, list) else (),
        traceback=text if isinstance(text, str) else "",
    )


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
