# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Import the user's module and find the tagged function in it."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import sys
import traceback
from types import TracebackType
from typing import Any, NamedTuple

from turbolift.api import DistributedFunction
from turbolift.contract import Contract
from turbolift.errors import TurboliftError, UnsupportedTypeError

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class LoadError(Exception):
    """The function cannot be served; the message is the whole story for the user, several lines of it
    perhaps.
    """


class Served(NamedTuple):
    """A function that is ready to be served."""

    identity: str
    function: DistributedFunction[..., Any]
    contract: Contract


def load(identity: str) -> Served:
    """Import the module of `identity` (``module:qualname``) and compile the function's contract.

    Raises LoadError, which holds the user's traceback where the user's code failed, and UnsupportedTypeError.
    """
    function = find(identity)
    if not isinstance(function, DistributedFunction):
        raise LoadError(
            f"turbolift: {identity} is a {type(function).__name__}, no tagged function: put @on(...) on it"
        )
    if function.identity != identity:
        raise LoadError(
            f"turbolift: {identity} is another name of {function.identity}: serve it by that name"
        )
    try:
        contract = function.contract
    except UnsupportedTypeError:
        raise
    except TurboliftError as error:
        raise LoadError(f"turbolift: {identity}: {error}") from None
    return Served(identity, function, contract)


def find(identity: str) -> Any:
    """Import the module of `identity` and return what its qualname names, without wrappers around a tagged
    function.
    """
    module_name, _, qualname = identity.partition(":")
    if not module_name or not qualname:
        raise LoadError(
            f"turbolift: {identity!r} is no identity: it must be module:function or module:Class.method"
        )
    try:
        found: Any = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise LoadError(_story(f"cannot import {module_name}", error)) from None
    for part in qualname.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise LoadError(
                f"turbolift: module {module_name} ({_file(module_name)}) has no {qualname}"
            ) from None
    seen: set[int] = set()
    inner = found
    while inner is not None and not isinstance(inner, DistributedFunction) and id(inner) not in seen:
        seen.add(id(inner))
        inner = getattr(inner, "__wrapped__", None)
    return inner if isinstance(inner, DistributedFunction) else found


def _file(module_name: str) -> str:
    return str(getattr(sys.modules.get(module_name), "__file__", None) or "built in")


def warm_up(served: Served) -> None:
    """Run the function that the tag's ``warm`` option names. Raises LoadError with its traceback."""
    identity = served.function.options.warm
    if identity is None:
        return
    warm = find(identity)
    if isinstance(warm, DistributedFunction):
        warm = warm.local
    try:
        result = warm()
        if inspect.isawaitable(result):
            asyncio.run(_wait(result))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise LoadError(_story(f"cannot warm up {served.identity}: {identity} failed", error)) from None


async def _wait(awaitable: Any) -> None:
    await awaitable


def _story(what: str, error: BaseException) -> str:
    """The user's traceback, then one clear line."""
    text = "".join(traceback.format_exception(type(error), error, _user_frames(error.__traceback__)))
    last = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()
    return f"{text}turbolift: {what}: {last[-1] if last else type(error).__name__}"


def _user_frames(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None:
        name = frames.tb_frame.f_code.co_filename
        if not (name.startswith((_OURS, "<frozen importlib")) or name == importlib.__file__):
            break
        frames = frames.tb_next
    return frames
