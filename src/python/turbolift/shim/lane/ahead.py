# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Calls that were sent ahead of the answers to others: one after the other on the loop, or beside each other in workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from turbolift.shim.lane.answers import JOINED
from turbolift.shim.lane.limits import IN_A_ROW
from turbolift.shim.posted import Dispatched, Posted
from turbolift.shim.servant import Answer, Received
from turbolift.wire import CONTRACT, DEADLINE, IDEMPOTENCY_KEY, JSON, TRACEPARENT, write_deadline
from turbolift.wire.http1 import HEAD_LIMIT, CallHead, common_start, next_call, our_call, read_call

if TYPE_CHECKING:
    from turbolift.shim.lane.lane import Lane


def call_head(lane: Lane, data: bytes, end: int) -> tuple[CallHead | None, bytes]:
    """Return the head that ends at `end`, if it is one of a plain call, and how each further call of this client will start, if it is
    turbolift's own.
    """
    start = len(lane.first_line)
    if not data.startswith(lane.first_line) or not 0 <= end <= HEAD_LIMIT:
        return None, b""
    common = b""
    head = our_call(data, start, end)
    if head is None:
        head = read_call(data[start:end])
    elif (lane.dispatcher.is_inline or lane.dispatcher.posts) and lane.is_ours(head.headers):
        common = common_start(data, 0, end)
    return head if head is not None and head.size <= lane.dispatcher.max_payload else None, common


def usual_calls(
    lane: Lane, data: bytes, common: bytes, read: float
) -> tuple[int, list[bytes], Answer | None]:
    """Answer the calls at the start of `data` that start with `common`, as long as each can be answered at once; they were read
    then (``time.monotonic`` seconds).

    Returns where the next request starts, what to write, and an answer that is not of the usual form, to be sent after that.
    """
    dispatcher = lane.dispatcher
    inline, whole, most = dispatcher.inline, lane.heads.whole, dispatcher.max_payload
    at, size, unsent = 0, len(data), 0
    answers: list[bytes] = []
    while at < size and len(answers) < IN_A_ROW:
        call = next_call(data, at, common)
        if call is None or call.end > size or call.end - call.start > most:
            break
        _, end, remaining, trace, key = call
        answer = inline(JSON, data[call.start : end], remaining, trace, key)
        if answer is None:
            break
        at = end
        text = whole(answer) if isinstance(answer, bytes) and not lane.closing else None
        if text is None or dispatcher.gate.draining:
            return at, answers, dispatcher.whole(answer)
        answers.append(text)
        unsent += len(text)
        if unsent > JOINED or dispatcher.took_long(read):
            break
    return at, answers, None


class Row:
    """Calls of one connection that run beside each other. They are answered in the order in which they came."""

    def __init__(self, lane: Lane, ready: Callable[[], None]) -> None:
        """`ready` is called, soon, when there are answers."""
        self._lane = lane
        self._ready = ready
        self._calls: deque[Posted | Dispatched] = deque()
        self._told = False

    def __len__(self) -> int:
        return len(self._calls)

    def post(self, data: bytes, common: bytes) -> int:
        """Have the calls at the start of `data` run that start with `common`; return where the next request starts."""
        dispatcher, calls = self._lane.dispatcher, self._calls
        post, most = dispatcher.post, dispatcher.max_payload
        at, size = 0, len(data)
        while at < size and len(calls) < IN_A_ROW:
            call = next_call(data, at, common)
            if call is None or call.end > size or call.end - call.start > most:
                break
            _, end, remaining, trace, key = call
            body = data[call.start : end]
            calls.append(
                post(body, remaining, trace, key, self._tell)
                or Dispatched(dispatcher, self._headers(remaining, trace, key), body, self._tell)
            )
            at = end
        if at:
            dispatcher.flush()
        return at

    def add(self, headers: Mapping[str, str], body: Received) -> None:
        """Have a call run whose body came in pieces."""
        self._calls.append(Dispatched(self._lane.dispatcher, headers, body, self._tell))
        self._tell()  # others may have come behind it

    def ready(self) -> tuple[list[bytes], Answer | None, bool]:
        """Take the answers whose turn it is: return what to write, an answer that is not of the usual form, to be sent after that, and
        whether the connection ends with it.
        """
        calls, lane = self._calls, self._lane
        usual = lane.heads.usual
        texts: list[bytes] = []
        while calls and (answer := calls[0].answer) is not None:
            calls.popleft()
            # What was refused for a drain is followed by nothing that has run.
            ends = answer.headers.get("Connection") == "close" or (not calls and lane.is_ending())
            text = None if ends else usual(answer)
            if text is None:
                return texts, answer, ends
            texts.append(text)
        return texts, None, False

    def cancel(self, key: bytes) -> bool:
        """Cancel the call that has this key; return whether it is here, and has no answer yet."""
        for call in self._calls:
            if call.key == key and call.answer is None:
                call.give_up()
                return True
        return False

    def abandon(self) -> None:
        """The caller is gone, and so is the reason for all of them."""
        while self._calls:
            self._calls.pop().abandon()

    def _headers(self, remaining: float | None, trace: bytes, key: bytes) -> dict[str, str]:
        return {
            "Content-Type": JSON,
            CONTRACT: self._lane.dispatcher.served.contract.digest,
            TRACEPARENT: trace.decode("ascii"),
            IDEMPOTENCY_KEY: key.decode("ascii"),
            DEADLINE: write_deadline(remaining),
        }

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._lane.loop.call_soon(self._soon)

    def _soon(self) -> None:
        self._told = False
        self._ready()
