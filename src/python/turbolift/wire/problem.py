# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Problem documents (RFC 9457): what the server says instead of a result, what the caller raises for it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from turbolift.contract import dumps
from turbolift.errors import (
    CallError,
    ContractMismatchError,
    DeadlineExceeded,
    DecodeError,
    EncodeError,
    FunctionNotFound,
    Overloaded,
    PayloadTooLarge,
    TlsError,
    WireError,
    WorkerDied,
)

TYPE_PREFIX = "urn:turbolift:problem:"

# kind -> (HTTP status, title). The kind is what a client decides by; the status is for everybody else.
KINDS: dict[str, tuple[int, str]] = {
    "malformed": (400, "The request is not a well-formed call"),
    "tls-required": (400, "This port speaks TLS; the function did not run"),
    "not-found": (404, "No such function is served here"),
    "contract-mismatch": (409, "Caller and server were built from different signatures"),
    "payload-too-large": (413, "The request is larger than the limit"),
    "unsupported-encoding": (415, "The content coding is not known here; the function did not run"),
    "key-reused": (422, "The idempotency key is that of another call; the function did not run"),
    "invalid-arguments": (422, "The arguments do not fit the function's parameters"),
    "raised": (500, "The function raised an exception"),
    "invalid-result": (500, "What the function returned does not fit its result type"),
    "worker-died": (502, "The process that ran the function died"),
    "not-ready": (503, "The function is still starting"),
    "draining": (503, "The server is shutting down; the function did not run"),
    "overloaded": (503, "All slots and the queue are full; the function did not run"),
    "deadline": (504, "The deadline of the call passed"),
}

NOT_RUN = frozenset({"not-ready", "draining", "overloaded"})
"""Kinds after which the same call can be sent again: it never ran."""


class Problem(NamedTuple):
    """One problem: its kind (a key of ``KINDS``), a sentence about this occurrence, and facts as further
    members.
    """

    kind: str
    detail: str
    facts: Mapping[str, Any] = MappingProxyType({})

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.kind][0]

    def body(self) -> bytes:
        """Return the ``application/problem+json`` document."""
        status, title = KINDS[self.kind]
        return dumps(
            {
                "type": TYPE_PREFIX + self.kind,
                "title": title,
                "status": status,
                "detail": self.detail,
                **self.facts,
            }
        )


def problem_kind(document: Any) -> str:
    """Return the kind of a parsed problem document, or "" where it is none of ours."""
    kind = document.get("type") if isinstance(document, dict) else None
    if isinstance(kind, str) and kind.startswith(TYPE_PREFIX) and kind[len(TYPE_PREFIX) :] in KINDS:
        return kind[len(TYPE_PREFIX) :]
    return ""


def problem_to_exception(
    document: Mapping[str, Any], *, function: str, endpoint: str, timeout: float | None = None
) -> Exception:
    """Return the exception to raise at the caller for a parsed problem document of ours."""
    kind = problem_kind(document)
    detail = document.get("detail")
    said = detail if isinstance(detail, str) else KINDS[kind][1] if kind else "unknown problem"
    where: dict[str, Any] = {"function": function, "endpoint": endpoint}
    message = f"{function} at {endpoint}: {said}"
    match kind:
        case "raised":
            from turbolift.wire.rebuild import rebuild_exception  # what no failed call needs is not loaded

            return rebuild_exception(document.get("exception"), **where, pod=_text(document, "pod"))
        case "not-found":
            return FunctionNotFound(message, **where)
        case "contract-mismatch":
            return ContractMismatchError(
                message, **where, ours=_text(document, "caller"), theirs=_text(document, "server")
            )
        case "payload-too-large":
            return PayloadTooLarge(
                message, **where, size=_whole(document, "size"), limit=_whole(document, "limit")
            )
        case "malformed" | "invalid-arguments":
            return DecodeError(message, path=_text(document, "path"))
        case "invalid-result":
            return EncodeError(message, path=_text(document, "path"))
        case "key-reused" | "unsupported-encoding":
            return CallError(message, **where)
        case "worker-died":
            return WorkerDied(
                message,
                **where,
                pod=_text(document, "pod"),
                pid=_whole(document, "pid"),
                signal=_text(document, "signal"),
                status=_whole(document, "exit"),
            )
        case "not-ready" | "draining" | "overloaded":
            return Overloaded(message, **where, retry_after=_number(document, "retry_after"))
        case "tls-required":
            return TlsError(message, **where, reason="needs-tls")
        case "deadline":
            return DeadlineExceeded(message, **where, timeout=timeout)
        case _:
            return WireError(f"{message} (problem type {document.get('type')!r} is not turbolift's)", **where)


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _whole(document: Mapping[str, Any], name: str) -> int | None:
    value = document.get(name)
    return value if type(value) is int else None


def _number(document: Mapping[str, Any], name: str) -> float | None:
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)
