# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Compressed bodies at the server: calls are unpacked before they are run, results are packed for whoever takes them."""

from __future__ import annotations

from collections.abc import Mapping

from turbolift.shim.servant import Answer, Received, problem_answer
from turbolift.wire import Problem
from turbolift.wire.aside import aside
from turbolift.wire.codings import (
    ACCEPT_ENCODING,
    COMPRESSED,
    CONTENT_ENCODING,
    CodingError,
    TooLargeError,
    chosen,
    coding_of,
    codings,
    compress,
    decompress,
)


def is_coded(headers: Mapping[str, str]) -> bool:
    """Whether the body is compressed, or the answer may be."""
    return CONTENT_ENCODING in headers or ACCEPT_ENCODING in headers


async def unpacked(headers: Mapping[str, str], body: Received, limit: int) -> Received | Answer:
    """Return the body of a call as it was before it was compressed, `limit` bytes at most, or why it cannot be had."""
    coding = coding_of(headers)
    if not coding:
        return body
    if coding not in codings():
        known = ", ".join(codings())
        problem = Problem(
            "unsupported-encoding",
            f"the body is compressed by {coding[:60]!r}, which is not known here: send it as it is, or by {known}",
            {"accepts": [*codings()]},
        )
        return problem_answer(problem, {ACCEPT_ENCODING: known})
    try:
        return await aside(decompress, coding, body, headers.get("Content-Type", ""), limit)
    except TooLargeError:
        problem = Problem(
            "payload-too-large",
            f"the body of {len(body)} bytes unpacks to more than this function takes, {limit} bytes (option "
            "max_payload)",
            {"size": None, "limit": limit},
        )
        return problem_answer(problem)
    except CodingError as error:
        return problem_answer(Problem("malformed", f"the compressed body is broken: {error}"))


async def packed(headers: Mapping[str, str], answer: Answer) -> Answer:
    """Return `answer` to a call with these headers, compressed where the caller takes that and it pays."""
    accepted = headers.get(ACCEPT_ENCODING)
    if accepted is None or answer.more is not None or answer.status != 200:
        return answer
    if sum(memoryview(piece).nbytes for piece in answer.body) < COMPRESSED:
        return answer
    coding = chosen(accepted)
    body = await aside(compress, coding, answer.body) if coding else None
    if body is None:
        return answer._replace(headers={**answer.headers, "Vary": ACCEPT_ENCODING})
    coded = {**answer.headers, CONTENT_ENCODING: coding, "Vary": ACCEPT_ENCODING}
    return answer._replace(headers=coded, body=body)
