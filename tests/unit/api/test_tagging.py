# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What can be tagged, with which options, and what is said otherwise."""

from __future__ import annotations

import asyncio
import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift import ConfigurationError, Docker, K8s, Local, Platform, TaggingError, on
from turbolift.api import Options


def heat() -> None:
    """What a tag's ``warm`` names."""


def test_a_nested_function_is_refused_with_file_and_line() -> None:
    captured = 3

    def decorate() -> Any:
        @on(Local())
        def inner(x: int) -> int:
            return x + captured

        return inner

    with pytest.raises(TaggingError) as caught:
        decorate()
    message = str(caught.value)
    assert message.startswith(f"{__file__}:")
    assert "inner is defined inside a function and captures captured" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("f = on(Local())(lambda x: x)", "a lambda has no name"),
        ("@on(Local())\nclass C: pass", "C is a class"),
        ("@on(Local())\ndef f():\n    yield 1", "f is a generator"),
        ("@on(Local())\nasync def f():\n    yield 1", "f is a generator"),
        (
            "class C:\n    @on(Local())\n    def m(self): pass",
            "C.m is a method (its first parameter is 'self')",
        ),
        ("class C:\n    @on(Local())\n    @classmethod\n    def m(cls): pass", "C.m is a class method"),
        ("class C:\n    @classmethod\n    @on(Local())\n    def m(cls): pass", "C.m is a method"),
        ("import functools\nf = on(Local())(functools.partial(print, 1))", "partial cannot be tagged"),
        ("f = on(Local())(print)", "builtin_function_or_method cannot be tagged"),
        ("@on(Local())\n@on(Local())\ndef f(): pass", "f is tagged already"),
        ("@on\ndef f(): pass", "write @on(Local())"),
        ("import functools\n@on(Local())\n@functools.cache\ndef f(): pass", "cannot be tagged"),
    ],
)
def test_what_cannot_be_tagged(define: Callable[[str], Any], text: str, said: str) -> None:
    with pytest.raises(TaggingError) as caught:
        define("from turbolift import Local, on\n" + text)
    assert said in str(caught.value)
    assert ".py:" in str(caught.value)


def test_a_method_with_another_first_name(define: Callable[[str], Any]) -> None:
    with pytest.raises((TaggingError, RuntimeError)) as caught:
        define("from turbolift import Local, on\nclass C:\n    @on(Local())\n    def m(this, x): pass")
    # Before 3.12 the interpreter wraps it.
    error = caught.value if isinstance(caught.value, TaggingError) else caught.value.__cause__
    assert isinstance(error, TaggingError)
    assert "C.m is a method: only static methods" in str(error)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cpu": "500x"}, "option cpu='500x'"),
        ({"cpu": "0"}, "option cpu='0'"),
        ({"cpu": "0m"}, "option cpu='0m'"),
        ({"cpu": True}, "option cpu=True"),
        ({"cpu": -1}, "option cpu=-1"),
        ({"memory": "256MB"}, "option memory='256MB'"),
        ({"memory": "0Mi"}, "option memory"),
        ({"memory": 1.5}, "option memory=1.5"),
        ({"timeout": -1}, "option timeout=-1"),
        ({"timeout": 0}, "option timeout=0"),
        ({"timeout": float("nan")}, "option timeout=nan"),
        ({"timeout": float("inf")}, "option timeout=inf"),
        ({"timeout": "5"}, "option timeout='5'"),
        ({"concurrency": 0}, "option concurrency=0"),
        ({"concurrency": 2.0}, "option concurrency=2.0"),
        ({"queue": -1}, "option queue=-1"),
        ({"max_scale_n": 0}, "option max_scale_n=0"),
        ({"env": {"A B": "x"}}, "'A B' is no name"),
        ({"env": {"A": 1}}, "the value of A must be a string"),
        ({"env": {"TURBOLIFT_ROUTES": "x"}}, "TURBOLIFT_ROUTES is turbolift's own"),
        ({"env": ["A=b"]}, "option env"),
        ({"pure": 1}, "option pure=1"),
        ({"idempotent": "yes"}, "option idempotent='yes'"),
        ({"workers": "fibres"}, "option workers='fibres'"),
        ({"warm": "load"}, "option warm='load'"),
        ({"warm": len}, "option warm"),
        ({"max_payload": "big"}, "option max_payload='big'"),
    ],
)
def test_bad_options_are_named_at_decoration_time(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        on(Local(), **options)
    assert said in str(caught.value)


def test_unknown_options_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="cpus"):
        on(Local(), cpus=1)  # type: ignore[call-arg]


def test_an_async_function_runs_on_the_loop(define: Callable[[str], Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"\.py:3: f: option workers='threads': an async function"):
        define(
            "from turbolift import Local, on\n\n@on(Local(), workers='threads')\nasync def f() -> int:\n    return 1\n"
        )


def test_defaults(user: Any) -> None:
    assert user.double.options.workers == "threads"
    assert user.later.options.workers == "loop"
    assert user.double.options.max_scale_n == 10
    assert user.later.options.max_scale_n == 1
    assert (user.double.options.concurrency, user.later.options.concurrency) == (8, 64)
    assert Options(is_async=False, workers="processes").concurrency == 2
    assert Options(is_async=False, max_payload="1Ki").max_payload == 1024
    assert Options(is_async=False, cpu=0.5, memory=1000).describe()["memory"] == "1000"
    assert Options(is_async=False, warm=heat).warm == f"{__name__}:heat"


@given(st.from_regex(r"[1-9][0-9]{0,5}(Ki|Mi|Gi|k|M|G)?", fullmatch=True))
def test_memory_quantities(text: str) -> None:
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}
    digits = text.rstrip("KMGik")
    expected = int(digits) * units.get(text[len(digits) :], 1)
    assert Options(is_async=False, max_payload=text).max_payload == expected
    assert Options(is_async=False, memory=text).memory == text


def test_platforms_are_plain_data() -> None:
    assert K8s(3, namespace="a") == K8s(max_scale_n=3, namespace="a") != K8s(3)
    assert len({Local(), Local(), Docker(), K8s(), K8s(1)}) == 3
    assert repr(K8s(max_scale_n=10)) == "K8s(max_scale_n=10)"
    assert repr(Local()) == "Local()"
    assert K8s(2, context="prod").describe() == {
        "kind": "k8s",
        "context": "prod",
        "max_scale_n": 2,
        "namespace": None,
    }
    with pytest.raises(AttributeError, match="frozen"):
        K8s().max_scale_n = 4
    with pytest.raises(AttributeError, match="frozen"):
        del K8s().max_scale_n
    for platform in (Local(), Docker(network="n"), K8s(2, namespace="x")):
        assert isinstance(platform, Platform)
        assert pickle.loads(pickle.dumps(platform)) == copy.deepcopy(platform) == platform


@pytest.mark.parametrize(
    "make",
    [
        lambda: K8s(0),
        lambda: K8s(True),
        lambda: K8s(namespace="Prod"),
        lambda: K8s(namespace="a" * 64),
        lambda: K8s(context=""),
        lambda: Docker(network="a b"),
        lambda: on(K8s),  # type: ignore[arg-type]
        lambda: on("k8s"),  # type: ignore[arg-type]
    ],
)
def test_bad_platforms(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError):
        make()


def test_what_a_pod_is_given_is_named_and_never_spelled_out() -> None:
    one = K8s(
        4,
        min_scale_n=2,
        registry="registry.example:5000/team",
        secrets={"DB_PASSWORD": "database/password"},
        configs={"REGION": "settings/region"},
        node_selector={"pool": "gpu"},
        tolerations=[{"key": "gpu", "operator": "Exists", "tolerationSeconds": 5}],
        resources={"nvidia.com/gpu": 1},
        pull_secrets=["login"],
    )
    assert one.describe() == {
        "kind": "k8s",
        "context": None,
        "max_scale_n": 4,
        "min_scale_n": 2,
        "namespace": None,
        "registry": "registry.example:5000/team",
        "secrets": {"DB_PASSWORD": "database/password"},
        "configs": {"REGION": "settings/region"},
        "node_selector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "tolerationSeconds": 5}],
        "resources": {"nvidia.com/gpu": "1"},
        "pull_secrets": ["login"],
    }
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert eval(repr(one), {"K8s": K8s}) == one
    assert hash(eval(repr(one), {"K8s": K8s})) == hash(one)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"secrets": {"DB": "s3cret"}}, "write NAME/KEY of a Secret"),
        ({"secrets": {"TURBOLIFT_ROUTES": "a/b"}}, "cannot be the name"),
        ({"configs": {"A": "b"}}, "write NAME/KEY of a ConfigMap"),
        ({"registry": "https://registry.example"}, "write HOST/PREFIX"),
        ({"resources": {"cpu": 1}}, "options of the tag"),
        ({"resources": {"nvidia.com/gpu": "half"}}, "whole number"),
        ({"node_selector": {"pool": 1}}, "must be strings"),
        ({"node_selector": 5}, "must be a mapping"),
        ({"tolerations": [{"kee": "x"}]}, "has no 'kee'"),
        ({"pull_secrets": ["Not A Name"]}, "no name of an object"),
        ({"plaintext": "yes"}, "it must be True or False"),
        ({"min_scale_n": 0}, "1 or more"),
        ({"min_scale_n": 2}, "at least min_scale_n"),
    ],
)
def test_mistakes_in_k8s(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        K8s(**given)


def test_a_platform_of_the_users_own() -> None:
    class Edge:
        kind = "edge"

        def describe(self) -> dict[str, Any]:
            return {"kind": self.kind}

    assert isinstance(Edge(), Platform)
    assert on(Edge())  # accepted

    class NoKind:
        def describe(self) -> dict[str, Any]:
            return {}

    with pytest.raises(ConfigurationError, match="needs a 'kind'"):
        on(NoKind())  # type: ignore[arg-type]


def test_wrapped_functions_keep_their_decorator(user: Any) -> None:
    assert asyncio.run(user.wrapped(1)) == 101
    assert user.wrapped.identity == "user_module:wrapped"
    assert functools.reduce(lambda a, f: a + f.call(1), [user.wrapped, user._private], 0) == 202
