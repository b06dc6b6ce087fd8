# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What was called: arguments, results, errors, and each try of a call."""

from __future__ import annotations

import inspect
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from turbolift.api import DistributedFunction
from turbolift.errors import TaggingError, TurboliftError

if TYPE_CHECKING:
    from turbolift.contract import Contract

sending: ContextVar[Call | None] = ContextVar("turbolift_testing_sending", default=None)
"""The call that this context makes."""

serving: ContextVar[Call | None] = ContextVar("turbolift_testing_serving", default=None)
"""The call that this context serves: the parent of those that it makes."""


class Attempt(NamedTuple):
    """One try of a call.

    ``outcome``: ``ok``; what the server said instead of a result, as in its metrics (``raised``, ``overloaded``,
    ``deadline`` ...); or what became of the connection: ``not-sent``, ``broken``, ``late``, ``cancelled``. ``faults``:
    the kinds of the faults that struck it, as ``("delay", "refuse")``. ``seconds``: how long it took.
    """

    outcome: str
    faults: tuple[str, ...]
    seconds: float


class Call:
    """One call that a program made.

    Attributes: ``function`` (its identity), ``arguments`` (by name, as they arrived, defaults included; a copy),
    ``done``, ``result`` (None until then, or where there is none), ``error`` (what was raised to the caller, or None),
    ``attempts`` (one Attempt for each try, as they ended), ``parent`` (the Call whose function made this one, or None).
    """

    def __init__(self, function: str, arguments: dict[str, Any], parent: Call | None) -> None:
        self.function = function
        self.arguments = arguments
        self.parent = parent
        self.attempts: list[Attempt] = []
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r:.60}" for name, value in self.arguments.items())
        if not self.done:
            ended = "running"
        elif self.error is not None:
            ended = f"raised {type(self.error).__qualname__}"
        else:
            ended = f"returned {self.result!r:.60}"
        return f"<call {self.function}({given}) {ended}, attempts: {len(self.attempts)}>"


class Recorder:
    """Keeps calls in the order in which they were made. Safe for threads."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._lock = threading.Lock()

    def begin(self, function: DistributedFunction[..., Any], args: Any, kwargs: Any) -> Call:
        """Note a call that begins."""
        call = Call(function.identity, _arrived(function, args, kwargs), serving.get())
        with self._lock:
            self._calls.append(call)
        return call

    def calls(self, function: str | None = None) -> list[Call]:
        """Return all calls, or those of one identity."""
        with self._lock:
            return [call for call in self._calls if function is None or call.function == function]

    def clear(self) -> None:
        """Forget all calls."""
        with self._lock:
            self._calls.clear()


def identity_of(function: object) -> str:
    """Return the identity of a tagged function. Raises TaggingError for anything else, naming its place."""
    if isinstance(function, DistributedFunction):
        return function.identity
    name = getattr(function, "__qualname__", None) or repr(function)
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    place = f"{code.co_filename}:{code.co_firstlineno}: " if code is not None else ""
    raise TaggingError(
        f"{place}{name} ({type(function).__name__}) is no tagged function: put @on(...) on it, and pass the function "
        "itself, not a call of it"
    )


def _arrived(function: DistributedFunction[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
    """Return the arguments as the function will see them; as they were given, where they cannot travel."""
    signature = inspect.signature(function.__wrapped__)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:  # the call itself will say so
        return {}
    try:
        contract: Contract = function.contract
        copied, named = contract.decode_args(contract.encode_args(contract.bind(args, kwargs)))
        bound = signature.bind(*copied, **named)
    except TurboliftError:
        pass  # likewise
    bound.apply_defaults()
    return dict(bound.arguments)
