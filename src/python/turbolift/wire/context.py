# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What a call hands to the calls that it makes itself: the deadline and the trace."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token

from turbolift.wire.headers import new_traceparent


class _Span:
    """The span of a served call: most calls make no further ones, so it gets its name when that is asked for."""

    __slots__ = ("_name", "_parent")

    def __init__(self, parent: str | bytes | None) -> None:
        self._parent = parent
        self._name: str | None = None

    def name(self) -> str:
        if self._name is None:
            parent = self._parent
            self._name = new_traceparent(parent.decode("ascii") if isinstance(parent, bytes) else parent)
        return self._name


_deadline: ContextVar[float | None] = ContextVar("turbolift_deadline", default=None)
_trace: ContextVar[str | _Span | None] = ContextVar("turbolift_traceparent", default=None)


def current_deadline() -> float | None:
    """Return the deadline of the call that is being served here (``time.monotonic`` seconds), or None."""
    return _deadline.get()


def current_trace() -> str | None:
    """Return the ``traceparent`` of the call that is being served here, or None."""
    trace = _trace.get()
    return trace.name() if type(trace) is _Span else trace  # type: ignore[return-value]


def serving(deadline: float | None, traceparent: str | bytes | None) -> None:
    """From here on in this context, a call is served that has this deadline and came with this ``traceparent``."""
    _deadline.set(deadline)
    _trace.set(_Span(traceparent))


def begin_serving(
    deadline: float | None, traceparent: str | bytes | None, name: str | None
) -> tuple[Token[float | None], Token[str | _Span | None]]:
    """Do as ``serving``, until ``end_serving`` is given what this returns; `name`: the span's, where it has one."""
    return _deadline.set(deadline), _trace.set(name or _Span(traceparent))


def end_serving(tokens: tuple[Token[float | None], Token[str | _Span | None]]) -> None:
    """Make the context what it was before ``begin_serving``."""
    _deadline.reset(tokens[0])
    _trace.reset(tokens[1])


@contextmanager
def deadline_at(deadline: float | None) -> Iterator[None]:
    """Within the block, calls end at `deadline` (``time.monotonic`` seconds) at the latest."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


@contextmanager
def trace_of(traceparent: str | None) -> Iterator[None]:
    """Within the block, calls are spans below `traceparent`."""
    token = _trace.set(traceparent)
    try:
        yield
    finally:
        _trace.reset(token)


def remaining(deadline: float | None) -> float | None:
    """Return the seconds until `deadline` (negative once it has passed), or None without one."""
    return None if deadline is None else deadline - time.monotonic()
