# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Exceptions on the wire, at the server: described in JSON, whatever they are. (``rebuild`` is the other side.)

A described exception is ``{"type": "module:qualname", "message", "args", "shown"?, "call"?, "state"?, "lost"?, "mute"?,
"ends"?, "notes"?, "traceback"?, "exceptions"?, "left_out"?}``. ``args`` are those that BaseException keeps; of those whose numbers are
in ``shown`` the repr. ``state``: attributes; ``lost``: the names of those that cannot travel. ``mute``: its str() fails.
``ends``: what it means to end, where it is no Exception (``program``, ``key``, ``task``).
"""

from __future__ import annotations

import os
import traceback
from asyncio import CancelledError
from collections.abc import Iterator
from types import MemberDescriptorType
from typing import Any

from turbolift.wire.plain import DEPTH_LIMIT, Budget, NotPlainError, cut, exact, plain, shown

MEMBERS_LIMIT = 10_000
"""Members of a group that travel; more are counted."""

NOTES_LIMIT = 1_000
"""Notes that travel, in the order in which they were added."""

FACTS: tuple[tuple[type[BaseException], tuple[str, ...]], ...] = (
    (ImportError, ("name", "path")),
    (NameError, ("name",)),
    (AttributeError, ("name",)),
    (OSError, ("errno", "strerror", "characters_written")),
    (SyntaxError, ("msg", "filename", "lineno", "offset", "text", "end_lineno", "end_offset")),
)
"""Facts of builtin exceptions that are neither in args nor in ``__dict__``, or may have been changed since."""

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_ARGS: Any = BaseException.__dict__["args"]
_ENDS = ((SystemExit, "program"), (KeyboardInterrupt, "key"), (CancelledError, "task"))


def encode_exception(error: BaseException, *, traceback_text: bool = True) -> dict[str, Any]:
    """Describe `error` (its arguments, attributes, notes, members and traceback) as a JSON tree. Never raises: of an
    exception that resists to be looked at, its type and its traceback are left.
    """
    try:
        node = _encode(error, Budget(), 0)
    except BaseException as broken:  # properties, metaclasses, a __getattribute__ of the user's; no memory
        node = {
            "type": _name_of(type(error)),
            "message": f"(it cannot be described: {_name_of(type(broken))})",
        }
        node |= {"args": [], "broken": True}
    if traceback_text:
        node["traceback"] = format_traceback(error)
    return node


def _encode(error: BaseException, budget: Budget, depth: int) -> dict[str, Any]:
    node: dict[str, Any] = {"type": _name_of(type(error))}
    try:
        node["message"] = cut(exact(str(error)))
    except BaseException as broken:  # a __str__ of the user's may do anything
        node |= {"message": f"(its str() fails: {_name_of(type(broken))})", "mute": True}
    for kind, what in _ENDS:
        if isinstance(error, kind):
            node["ends"] = what
    if isinstance(error, BaseExceptionGroup):
        node["args"] = [cut(exact(error.message))]
        if depth < DEPTH_LIMIT:
            members = error.exceptions[:MEMBERS_LIMIT]
            node["exceptions"] = [_encode(member, budget, depth + 1) for member in members]
            if len(error.exceptions) > len(members):
                node["left_out"] = len(error.exceptions) - len(members)
    else:
        _put_args(node, "args", _ARGS.__get__(error), budget)
        if isinstance(error, OSError) and error.filename is not None:
            # What it was called with: it takes names of files out of its arguments.
            _put_args(node, "call", OSError.__reduce__(error)[1], budget)  # type: ignore[arg-type]
    state, lost = _state_of(error, budget)
    if state:
        node["state"] = state
    if lost:
        node["lost"] = lost
    notes = [cut(exact(note)) for note in _notes_of(error) if isinstance(note, str)][:NOTES_LIMIT]
    if notes:
        node["notes"] = notes
    return node


def _put_args(node: dict[str, Any], name: str, args: tuple[Any, ...], budget: Budget) -> None:
    trees = []
    for number, value in enumerate(args):
        try:
            trees.append(plain(value, budget))
        except (NotPlainError, RecursionError):
            trees.append(shown(value))
            if name == "args":
                node.setdefault("shown", []).append(number)
    node[name] = trees


def _state_of(error: BaseException, budget: Budget) -> tuple[dict[str, Any], list[str]]:
    state: dict[str, Any] = {}
    lost: list[str] = []
    for name, value in _attributes(error):
        try:
            state[name] = plain(value, budget)
        except (NotPlainError, RecursionError):
            lost.append(name)
    return state, lost


def _attributes(error: BaseException) -> Iterator[tuple[str, Any]]:
    for cls, names in FACTS:
        if isinstance(error, cls):
            for name in names:
                try:
                    value = getattr(cls, name).__get__(error)
                except AttributeError:  # the bytes that a BlockingIOError has not counted
                    continue
                if value is not None:
                    yield name, value
    for name, value in list(object.__getattribute__(error, "__dict__").items()):
        if type(name) is str and not name.startswith("__"):
            yield name, value
    for name, slot in slots_of(type(error)).items():
        try:
            yield name, slot.__get__(error)
        except AttributeError:  # it was never set
            continue


def slots_of(cls: type) -> dict[str, Any]:
    """Return the descriptors of the ``__slots__`` of `cls`, by the names of the attributes."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else tuple(names):
            if name.startswith("__") and not name.endswith("__"):
                name = f"_{base.__name__.lstrip('_')}{name}"
            slot = base.__dict__.get(name)
            if isinstance(slot, MemberDescriptorType):
                found.setdefault(name, slot)
    return found


def _notes_of(error: BaseException) -> list[Any]:
    notes = object.__getattribute__(error, "__dict__").get("__notes__")
    return list(notes) if isinstance(notes, (list, tuple)) else []


def _name_of(cls: type) -> str:
    # Whatever a metaclass makes of these.
    module = type.__dict__["__module__"].__get__(cls)
    name = type.__dict__["__qualname__"].__get__(cls)
    return f"{module if isinstance(module, str) else '?'}:{name}"


def format_traceback(error: BaseException) -> str:
    """Return the traceback of `error` as Python prints it, from the first frame that is not turbolift's."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    frames = frames or error.__traceback__
    try:
        return cut("".join(traceback.format_exception(type(error), error, frames)))
    except BaseException as broken:  # a __str__, or a source line, of the user that raises
        said = f"{_name_of(type(error))} (its message cannot be formatted: {_name_of(type(broken))})\n"
    try:
        return cut("".join(["Traceback (most recent call last):\n", *traceback.format_tb(frames), said]))
    except BaseException:
        return said
