# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One call from body to body: decode the arguments, run the function, encode the result or what went wrong.

Whatever the function does (SystemExit included) becomes an answer; only a cancellation of the call itself
goes through.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from turbolift.contract import Payload, is_heavy
from turbolift.errors import DecodeError, EncodeError
from turbolift.shim.load import Served
from turbolift.shim.purity import pure_call
from turbolift.wire import JSON, PROBLEM, Problem, decode_body, encode_body
from turbolift.wire.aside import LARGE, aside
from turbolift.wire.frames import Buffer, Frames

Received = Buffer | Frames
"""The body of a call: as it was sent, or taken apart as it came in."""


class More(Protocol):
    """Pieces of a body that are still to come."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def cancel(self) -> None:
        """End what they come from: nobody wants them. Without effect after the last one."""
        ...


class Answer(NamedTuple):
    """An HTTP answer; ``outcome`` is the label of the metrics: ``ok`` or a problem kind. ``more``: what comes after the
    body, in time.
    """

    status: int
    headers: Mapping[str, str]
    body: Sequence[Buffer]
    outcome: str
    more: More | None = None


POD = os.environ.get("TURBOLIFT_POD") or socket.gethostname()
"""Where this is: the pod's name; elsewhere the host's, which of a container is its id."""

USUAL: Mapping[str, str] = MappingProxyType({"Content-Type": JSON})
"""The headers of a result without raw parts: always this very mapping."""


_IN_PIECES: Mapping[str, str] = MappingProxyType({"Content-Type": JSON})
"""The same of a result in several pieces."""

_SHORT = frozenset({int, float, str, bool, type(None)})
"""Types of results that are sent in one piece."""

Given = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments, by position and by name."""


def problem_answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Answer:
    """Return `problem` as an answer."""
    return Answer(
        problem.status, {"Content-Type": PROBLEM, **(headers or {})}, [problem.body()], problem.kind
    )


class Servant:
    """Runs the calls of one function."""

    def __init__(self, served: Served) -> None:
        self.contract = served.contract
        self._quick = served.contract.quick
        self.identity = served.identity
        # What ``local`` calls.
        self.fn = served.function.__wrapped__
        self.pure = served.function.options.pure

    def run(self, content_type: str, body: Received) -> Answer:
        """Run a plain function here, on this thread."""
        given = self.arguments(content_type, body)
        return given if isinstance(given, Answer) else self.run_given(*given)

    def quick(self, body: bytes) -> bytes | Answer:
        """Run it with the arguments in a JSON body: the same as ``run``, in fewer steps, but that a result which is of the usual form
        is returned as its text alone.
        """
        kwargs = self._quick.arguments(body) if not self.pure else None
        if kwargs is None:
            return self.run(JSON, body)
        try:
            result = self.fn(**kwargs)
        except BaseException as error:
            return self._raised(error)
        if type(result) not in _SHORT:
            return self._result(result)
        return self._quick.returned(result) or self._result(result)

    def run_given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Answer:
        """Run it with these arguments."""
        try:
            if self.pure:
                with pure_call(self.identity, True):
                    result = self.fn(*args, **kwargs)
            else:
                result = self.fn(*args, **kwargs)
        except BaseException as error:
            return self._raised(error)
        return self._result(result)

    async def run_async(self, content_type: str, body: Received) -> Answer:
        """Run an async function here, in this task."""
        given = (
            self.arguments(content_type, body) if len(body) < LARGE else await self.aside(content_type, body)
        )
        if isinstance(given, Answer):
            return given
        args, kwargs = given
        del given
        task = asyncio.current_task()
        try:
            if self.pure:
                with pure_call(self.identity, True):
                    result = await self.fn(*args, **kwargs)
            else:
                result = await self.fn(*args, **kwargs)
        except asyncio.CancelledError as error:
            if task is not None and task.cancelling():
                raise
            return self._raised(error)
        except BaseException as error:
            return self._raised(error)
        return self._result(result) if not is_heavy(result) else await aside(self._result, result)

    async def aside(self, content_type: str, body: Received) -> Given | Answer:
        """Return the arguments in a large body; the loop goes on meanwhile."""
        return await aside(self.arguments, content_type, body)

    def arguments(self, content_type: str, body: Received) -> Given | Answer:
        """Return the arguments in a body, or what is wrong with it."""
        if content_type == JSON and not isinstance(body, (memoryview, Frames)):
            quick = self._quick.arguments(body)
            if quick is not None:
                return (), quick
        try:
            tree, parts = decode_body(content_type, body)
        except DecodeError as error:
            return problem_answer(Problem("malformed", f"the body is broken: {error}"))
        if not isinstance(tree, dict) or tree.keys() != {"args"} or not isinstance(tree["args"], dict):
            return problem_answer(
                Problem("malformed", 'the body must be {"args": {...}}, the arguments by name')
            )
        try:
            return self.contract.decode_args(Payload(tree["args"], parts))
        except DecodeError as error:
            return problem_answer(Problem("invalid-arguments", str(error), {"path": error.path}))

    def _raised(self, error: BaseException) -> Answer:
        from turbolift.wire.failure import encode_exception  # the server loads it when it has started

        node = encode_exception(error)
        said = f"{self.identity} raised {node['type'].partition(':')[2]}"
        return problem_answer(Problem("raised", said, {"exception": node, "pod": POD}))

    def _result(self, value: Any) -> Answer:
        pieces = self._quick.long_result(value)
        if pieces is not None:
            return Answer(200, _IN_PIECES, pieces, "ok")
        text = self._quick.returned(value)
        if text is not None:
            return Answer(200, USUAL, [text], "ok")
        try:
            payload = self.contract.encode_result(value)
            content_type, body = encode_body({"result": payload.json}, payload.parts)
        except EncodeError as error:
            return problem_answer(
                Problem("invalid-result", f"what the function returned: {error}", {"path": error.path})
            )
        return Answer(200, USUAL if content_type is JSON else {"Content-Type": content_type}, body, "ok")
