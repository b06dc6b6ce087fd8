# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""``call``: one call by hand, as any HTTP client would make it, through the route table."""

from __future__ import annotations

import base64
import http.client
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from turbolift.deploy.http import Answer, request
from turbolift.deploy.names import resolve
from turbolift.deploy.platform import Reach
from turbolift.errors import ConfigurationError, DecodeError, DeployError
from turbolift.wire import DEADLINE, decode_body, function_path, write_deadline

_LATE = 5.0
"""Seconds after the deadline that the server's own word about it is waited for."""


def parse_arguments(text: str) -> dict[str, Any]:
    """Return the named arguments in the JSON `text`. Raises ConfigurationError with line and column."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"the arguments are not JSON: {error.msg} (line {error.lineno}, column {error.colno}): "
            f"{text[:200]}"
        ) from None
    if not isinstance(document, dict):
        raise ConfigurationError(
            f"the arguments must be a JSON object by name, as '{{\"quantity\": 3}}', not {text[:200]}"
        )
    return document


def call(
    function: str, route: dict[str, Any], arguments: dict[str, Any], reach: Reach, *, timeout: float | None
) -> int:
    """Call `function`, which has the `route`, by `reach`; print the JSON of its result, or the problem on stderr.
    Returns the exit code.
    """
    endpoint = reach.endpoint
    seconds = timeout if timeout is not None else route.get("timeout")
    headers = {"Content-Type": "application/json"}
    if seconds is not None:
        headers[DEADLINE] = write_deadline(seconds)
    try:
        answer = request(
            endpoint,
            "POST",
            function_path(function),
            body=json.dumps({"args": arguments}).encode(),
            headers=headers,
            timeout=None if seconds is None else seconds + _LATE,
            tls=reach.tls,
        )
    except TimeoutError:
        raise DeployError(
            f"{function}: no answer from {endpoint} within {seconds} s", function=function
        ) from None
    except ConnectionRefusedError:
        raise _unreachable(function, endpoint, "nobody listens there") from None
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(function, endpoint, str(error) or type(error).__name__) from None
    document = _document(answer, endpoint)
    if answer.status == 200 and isinstance(document, dict) and "result" in document:
        print(json.dumps(document["result"], ensure_ascii=False))
        return 0
    _complain(function, answer, document, endpoint)
    return 1


def run_checks(
    routes: dict[str, Any],
    checks: Sequence[tuple[str, str]],
    reach: Callable[[str], AbstractContextManager[Reach]],
) -> bool:
    """Call each of `checks` (function, JSON of its arguments), print what it gives; return whether all did.

    `reach` gives how this machine reaches a function.
    """
    failed = []
    for given, arguments in checks:
        function = resolve(given, routes)
        print(f"check {function}({arguments}):", end=" ", flush=True)
        with reach(function) as way:
            code = call(function, routes[function], parse_arguments(arguments), way, timeout=None)
        if code != 0:
            print("failed")
            failed.append(function)
    if failed:
        print(
            f"error: rolled out, but the checks of {', '.join(failed)} failed: 'rollback' goes back",
            file=sys.stderr,
        )
    return not failed


def _unreachable(function: str, endpoint: str, why: str) -> DeployError:
    return DeployError(
        f"{function}: cannot reach {endpoint}: {why}. Look with 'status' and 'logs'; deploy again to repair "
        "it",
        function=function,
    )


def _document(answer: Answer, endpoint: str) -> Any:
    """Return the JSON of an answer, raw parts as base64: a function takes bytes in the same form."""
    try:
        tree, parts = decode_body(answer.headers.get("Content-Type", ""), answer.body)
    except DecodeError:
        excerpt = answer.body[:200].decode("utf-8", "replace")
        raise DeployError(
            f"{endpoint} answered with status {answer.status}, and not as a function does: {excerpt!r}"
        ) from None
    return _with_parts(tree, [base64.b64encode(part).decode() for part in parts])


def _with_parts(tree: Any, parts: list[str]) -> Any:
    if isinstance(tree, dict):
        if tree.keys() == {"$part"}:
            return parts[tree["$part"]]
        return {name: _with_parts(value, parts) for name, value in tree.items()}
    return [_with_parts(one, parts) for one in tree] if isinstance(tree, list) else tree


def _complain(function: str, answer: Answer, document: Any, endpoint: str) -> None:
    problem = document if isinstance(document, dict) else {}
    raised = problem.get("exception")
    said = problem.get("detail") or problem.get("title") or f"status {answer.status} from {endpoint}"
    if isinstance(raised, dict):
        said = f"{said}: {raised['message']}" if raised.get("message") else said
        if isinstance(raised.get("traceback"), str):
            print(raised["traceback"].rstrip(), file=sys.stderr)
    print(f"error: {said if said.startswith(function) else f'{function}: {said}'}", file=sys.stderr)
