# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Exceptions on the wire, at the caller: rebuilt without pickle, and without importing anything.

An exception is rebuilt only from a class that this process already knows (``sys.modules``) and that is an Exception. Of the
user's classes no constructor runs (it may want what was never kept): what BaseException, OSError and their like make of
the arguments is made, and then the attributes are set as they were. Whatever else there is becomes a RemoteError.
"""

from __future__ import annotations

import functools
import sys
from types import WrapperDescriptorType
from typing import Any

from turbolift.errors import RemoteCancelled, RemoteError, RemoteExit, RemoteInterrupt, RemoteTraceback
from turbolift.wire.failure import FACTS, slots_of
from turbolift.wire.plain import DEPTH_LIMIT, identical, unplain

_ARGS: Any = BaseException.__dict__["args"]
_CAUSE: Any = BaseException.__dict__["__cause__"]
# Py_TPFLAGS_HEAPTYPE: a class statement made it, or an extension that is not of the interpreter's own.
_HEAP_TYPE = 1 << 9

_ENDS: dict[object, tuple[type[RemoteError], str]] = {
    "program": (
        RemoteExit,
        "that ended the call, and neither the server nor this program; raise an exception of your own to say what is wrong",
    ),
    "key": (
        RemoteInterrupt,
        "by itself: nobody interrupted this program; raise another exception to say what is wrong",
    ),
    "task": (
        RemoteCancelled,
        "though nobody cancelled the call: something that it awaited was cancelled there; catch that in the function",
    ),
}


def rebuild_exception(node: Any, *, function: str = "", endpoint: str = "", pod: str = "") -> Exception:
    """Return the exception that `node` describes, with its notes; its ``__cause__`` is the RemoteTraceback.

    Where its class is not known here, or is no Exception: a RemoteError. Never raises for what `node` holds.
    """
    if not isinstance(node, dict):
        node = {}
    where = {"function": function, "endpoint": endpoint, "pod": pod}
    error = _rebuild(node, where, 0)
    text = node.get("traceback")
    if isinstance(text, str) and text:
        _CAUSE.__set__(error, RemoteTraceback(text, **where))
    return error


def _rebuild(node: dict[str, Any], where: dict[str, str], depth: int) -> Exception:
    notes = _strings(node.get("notes"))
    try:
        cls = None if node.get("broken") else _known_class(node.get("type"))
        error = None if cls is None else _made(cls, node, where, depth)
        if error is not None:
            _note(error, [*notes, *_told(node)])
            return error
    except Exception:  # a __new__, or a __str__, of the user's class that wants something else
        pass
    error = _remote_error(node, where)
    _note(error, notes)
    return error


def _note(error: Exception, notes: list[str]) -> None:
    if notes:
        _attributes_of(error)["__notes__"] = notes


def _told(node: dict[str, Any]) -> list[str]:
    """What is not as it was there, as notes."""
    told = []
    if isinstance(numbers := node.get("shown"), list):
        told.append(
            f"turbolift: arguments that did not travel, here as text: {', '.join(f'args[{n}]' for n in numbers)}"
        )
    if lost := _strings(node.get("lost")):
        told.append(f"turbolift: attributes that did not travel: {', '.join(lost)}")
    if isinstance(count := node.get("left_out"), int):
        told.append(f"turbolift: further exceptions of the group that did not travel: {count}")
    return told


def _made(cls: type[Exception], node: dict[str, Any], where: dict[str, str], depth: int) -> Exception | None:
    error = _same_class(cls, node, where, depth)
    if error is None or node.get("mute"):
        return error
    try:
        str(error)
    except Exception:
        # Its __str__ wants what did not travel: one that says what was said there.
        hashable: Any = cls  # which mypy doubts
        error = _same_class(_quoting(hashable), node, where, depth)
        if error is not None:
            _attributes_of(error)["_turbolift_message"] = str(node.get("message"))
    return error


@functools.lru_cache(maxsize=256)
def _quoting(cls: Any) -> Any:
    """Return a class like `cls` whose instances say what they are given to say."""
    names = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
        "__str__": _quote,
    }
    return type(cls)(cls.__name__, (cls,), names)


def _quote(error: BaseException) -> str:
    return str(_attributes_of(error).get("_turbolift_message", ""))


def _same_class(
    cls: type[Exception], node: dict[str, Any], where: dict[str, str], depth: int
) -> Exception | None:
    args = node.get("args")
    if not isinstance(args, list):
        return None
    args = tuple(unplain(args))
    members = node.get("exceptions")
    if isinstance(members, list) and depth < DEPTH_LIMIT:
        if not issubclass(cls, BaseExceptionGroup) or not isinstance(args[0], str):
            return None
        inner = [_rebuild(m if isinstance(m, dict) else {}, where, depth + 1) for m in members]
        error: Any = BaseExceptionGroup.__new__(cls, args[0], inner)
        BaseExceptionGroup.__init__(error, args[0], inner)
    else:
        call = node.get("call")
        error = _make(cls, tuple(unplain(call)) if isinstance(call, list) else args)
        if not identical(_ARGS.__get__(error), args):
            return None
    if type(error) is not cls:
        return None
    state = node.get("state")
    if isinstance(state, dict):
        _restore(error, {name: unplain(value) for name, value in state.items()})
    return error


def _make(cls: type[Exception], args: tuple[Any, ...]) -> Exception:
    """Return an instance of `cls` as its builtin base makes it of `args`."""
    made = [base for base in cls.__mro__ if base.__flags__ & _HEAP_TYPE]
    if not any("__new__" in base.__dict__ or _has_init(base) for base in made):
        return cls(*args)
    builtin: Any = next(base for base in cls.__mro__ if base not in made and issubclass(base, BaseException))
    error = builtin.__new__(cls, *args)
    builtin.__init__(error, *args)
    return error  # type: ignore[no-any-return]


def _has_init(cls: type) -> bool:
    """Whether `cls` has a constructor in Python."""
    return not isinstance(cls.__dict__.get("__init__", object.__init__), WrapperDescriptorType)


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


def _restore(error: Exception, state: dict[str, Any]) -> None:
    for cls, names in FACTS:
        if isinstance(error, cls):
            for name in names:
                if name in state:
                    getattr(cls, name).__set__(error, state.pop(name))
    slots = slots_of(type(error))
    attributes = _attributes_of(error)
    for name, value in state.items():
        if name in slots:
            slots[name].__set__(error, value)
        elif not name.startswith("__"):
            attributes[name] = value


def _attributes_of(error: BaseException) -> dict[str, Any]:
    """Return the attributes themselves: a class may forbid to set them, or hide them."""
    found: dict[str, Any] = object.__getattribute__(error, "__dict__")
    return found


def _remote_error(node: dict[str, Any], where: dict[str, str]) -> RemoteError:
    kind = str(node.get("type")) if isinstance(node.get("type"), str) else "unknown"
    message = node.get("message") if isinstance(node.get("message"), str) else ""
    ends = node.get("ends")
    cls, advice = _ENDS.get(ends if isinstance(ends, str) else "", (RemoteError, ""))
    text = node.get("traceback")
    try:
        args = tuple(unplain(node.get("args") or []))
    except Exception:
        args = ()
    said = f"{where['function'] or 'the function'} raised {kind}" + (f": {message}" if message else "")
    return cls(
        f"{said} ({advice})" if advice else said,
        **where,
        type=kind,
        remote_args=args,
        traceback=text if isinstance(text, str) else "",
    )


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
