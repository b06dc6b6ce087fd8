# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Problem documents: each kind has its status and its exception."""

from __future__ import annotations

import pytest

from turbolift import errors
from turbolift.contract import loads
from turbolift.wire import Problem, problem_to_exception
from turbolift.wire.problem import KINDS, NOT_RUN, problem_kind

EXCEPTIONS = {
    "malformed": errors.DecodeError,
    "not-found": errors.FunctionNotFound,
    "contract-mismatch": errors.ContractMismatchError,
    "payload-too-large": errors.PayloadTooLarge,
    "invalid-arguments": errors.DecodeError,
    "raised": errors.RemoteError,
    "invalid-result": errors.EncodeError,
    "worker-died": errors.WorkerDied,
    "not-ready": errors.Overloaded,
    "draining": errors.Overloaded,
    "overloaded": errors.Overloaded,
    "deadline": errors.DeadlineExceeded,
    "unsupported-encoding": errors.CallError,
    "key-reused": errors.CallError,
    "tls-required": errors.TlsError,
}


def test_every_kind_has_an_exception() -> None:
    assert set(EXCEPTIONS) == set(KINDS)
    assert set(KINDS) > NOT_RUN


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind: str) -> None:
    facts = {"limit": 3, "size": 4, "retry_after": 1.5, "path": "a.b", "caller": "x", "server": "y"}
    facts |= {"pod": "p", "pid": 7, "signal": "SIGKILL", "exit": 5}
    problem = Problem(kind, "what happened", facts)
    document = loads(problem.body())
    assert document["status"] == problem.status == KINDS[kind][0]
    assert document["type"] == f"urn:turbolift:problem:{kind}"
    assert problem_kind(document) == kind
    error = problem_to_exception(document, function="m:f", endpoint="unix:///s", timeout=2.0)
    assert type(error) is EXCEPTIONS[kind]
    if kind != "raised":
        assert "what happened" in str(error)
        assert "m:f" in str(error)
    by_kind: dict[str, dict[str, object]] = {
        "payload-too-large": {"limit": 3, "size": 4},
        "overloaded": {"retry_after": 1.5},
        "contract-mismatch": {"ours": "x", "theirs": "y"},
        "invalid-arguments": {"path": "a.b"},
        "deadline": {"timeout": 2.0},
        "worker-died": {"pod": "p", "pid": 7, "signal": "SIGKILL", "status": 5},
        "raised": {"pod": "p"},
    }
    expected = by_kind.get(kind, {})
    assert {name: getattr(error, name) for name in expected} == expected


@pytest.mark.parametrize(
    "document",
    [{}, {"type": "about:blank"}, {"type": 3}, {"type": "urn:turbolift:problem:new"}, [], None, "x"],
)
def test_what_is_no_problem_of_ours(document: object) -> None:
    assert problem_kind(document) == ""


def test_facts_of_wrong_types_are_left_out() -> None:
    document = {"type": "urn:turbolift:problem:payload-too-large", "detail": 7, "limit": "x", "size": True}
    error = problem_to_exception(document, function="m:f", endpoint="e")
    assert isinstance(error, errors.PayloadTooLarge)
    assert (error.limit, error.size) == (None, None)
