# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Odd values through real servers: they arrive as they are, or there is an error at the caller that says where; and whatever
another client sends, the server says what is wrong with it and goes on.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from turbolift import EncodeError, PayloadTooLarge
from turbolift.client import Caller, Policy, default_transport

Standing = Callable[..., Any]


@pytest.fixture
def user() -> Iterator[Any]:
    """The user's module, as the caller sees it; where long ints can be shown."""
    most = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield importlib.import_module("served_values")
    sys.set_int_max_str_digits(most)


def nested(levels: int, bottom: Any = 0) -> Any:
    tree = bottom
    for _ in range(levels):
        tree = [tree]
    return tree


TEXTS = [
    "",
    "\0",
    "\ufeff",
    "\u2028\u2029\x7f\x85",
    "\udc00",
    "\udc00\ud83d",
    "a\ud83d",
    "\U0001f600\udfff",
    '"\\/\b\f\n\r\t',
    "é" * 1000,
    "\U0010ffff",
    "NaN",
    "0x10",
]
FLOATS = [
    float("nan"),
    float("inf"),
    float("-inf"),
    -0.0,
    0.0,
    5e-324,
    1.7976931348623157e308,
    1e16,
    0.1,
    1,
    True,
]
INTS = [10**10_000, -(10**10_000), 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 2**2048 - 1, 2**2048, 0, True]
TREES = [
    *TEXTS,
    *FLOATS,
    *INTS,
    None,
    [],
    {},
    {"": {"": []}},
    {"\udc00": "\ud800", "a\ud800": 1},
    {"$type": "x", "value": 1},
    {"$part": 0},
    {"args": {"args": 1}},
    [1, 1.0, True, "1", None],
    {"b": 1, "a": 2},
    nested(190),
    [nested(190), {"a": nested(180)}],
]


def test_odd_values_arrive_as_they_are(standing: Standing, user: Any) -> None:
    standing(*(f"served_values:{name}" for name in ("anything", "text", "number", "real", "keyed")))

    async def main() -> None:
        given = [
            *((user.anything, value) for value in TREES),
            *((user.text, value) for value in TEXTS),
            *((user.number, value) for value in INTS),
            *((user.real, value) for value in [*FLOATS, *INTS]),
            *((user.keyed, {text: [text, ""]}) for text in TEXTS),
            (user.keyed, dict.fromkeys(TEXTS, TEXTS)),
        ]
        for function, value in given:
            back = await function(value)
            # Types, zeros' signs, NaNs and the order of keys are all in a repr.
            assert repr(back) == repr(function.local(value)), f"{function.__name__}({value!r:.100})"
        # And in batches.
        for function, values in ((user.anything, TREES), (user.text, TEXTS), (user.real, FLOATS)):
            assert repr(await function.map(values)) == repr(values)

    asyncio.run(main())


# Names, because a repr of some of these is no good idea.
REFUSED: dict[str, tuple[str, Callable[[], Any], str, str]] = {
    "deep": ("anything", lambda: nested(250), "value" + "[0]" * 200, "nested more than 200 levels deep"),
    "very deep": ("anything", lambda: nested(10_000), "value" + "[0]" * 200, "nested more than 200 levels"),
    "absurdly deep": (
        "anything",
        lambda: nested(1_000_000),
        "value" + "[0]" * 200,
        "nested more than 200 levels",
    ),
    "itself": ("anything", lambda: _itself(), "value" + "[0]" * 200, "or holds itself"),
    "two halves": (
        "anything",
        lambda: {"k": [1, "\ud83d\ude00"]},
        "value['k'][1]",
        "which JSON joins into one",
    ),
    "two halves of a key": ("anything", lambda: {"\ud83d\ude00": 1}, "value", "which JSON joins into one"),
    "two halves as text": ("text", lambda: "a\ud83d\ude00", "value", "which JSON joins into one"),
    "two halves in a list": ("keyed", lambda: {"k": ["", "\ud83d\ude00"]}, "value['k'][1]", "joins into one"),
    "a tuple": ("anything", lambda: [{"a": (1,)}], "value[0]['a']", "tuple"),
    "a number as a key": ("anything", lambda: [{1: 2}], "value[0]", "int"),
    "a set": ("anything", lambda: {"a": {1}}, "value['a']", "set"),
    "bytes": ("anything", lambda: [b"x"], "value[0]", "bytes"),
    "a float": ("number", lambda: 1.0, "value", "expected int, got float"),
    "a subclass": ("text", lambda: type("Text", (str,), {})("x"), "value", "expected str"),
}


def _itself() -> list[Any]:
    tree: list[Any] = []
    tree.append(tree)
    return tree


def test_what_would_not_arrive_is_refused_with_its_place_and_never_sent(
    standing: Standing, user: Any, get: Any
) -> None:
    shims = {name: standing(f"served_values:{name}") for name in ("anything", "text", "number", "keyed")}

    def counted() -> dict[str, bytes]:
        texts = {name: get(shim.endpoint, "/metrics")[2] for name, shim in shims.items()}
        return {
            name: b"".join(line for line in text.splitlines(keepends=True) if b"calls_total{" in line)
            for name, text in texts.items()
        }

    before = counted()
    for what, (name, make, path, said) in REFUSED.items():
        value = make()
        with pytest.raises(EncodeError) as caught:
            getattr(user, name).call(value)
        assert said in str(caught.value), what
        assert caught.value.path.startswith(path), what
    assert counted() == before


@pytest.mark.parametrize(
    ("what", "size", "path", "said"),
    [
        ("deep", 250, "result[0][0]", "nested more than 200 levels"),
        ("deep", 10_000, "result[0][0]", "nested more than 200 levels"),
        ("deep", 1_000_000, "result[0][0]", "nested more than 200 levels"),
        ("own", 0, "result[0][0]", "holds itself"),
        ("tuple", 0, "result['a'][1]", "tuple"),
        ("surrogates", 0, "result[0]", "which JSON joins"),
    ],
)
def test_a_result_that_would_not_arrive(
    standing: Standing, user: Any, what: str, size: int, path: str, said: str
) -> None:
    shim = standing("served_values:makes")
    with pytest.raises(EncodeError) as caught:
        user.makes.call(what, size)
    assert caught.value.path.startswith(path)
    assert said in str(caught.value)
    assert "what the function returned" in str(caught.value)
    assert user.makes.call("text", 3) == "xxx"
    assert shim.process.poll() is None


def body(text: str | bytes) -> bytes:
    return b'{"args":{"value":%b}}' % (
        text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    )


DEEP = 1_000_000
# What another client may send: the function, the body, the status, and what is said.
FOREIGN: dict[str, tuple[str, bytes, int, str]] = {
    "args twice": ("anything", b'{"args":{"value":1},"args":{"value":2}}', 400, "key 'args' twice"),
    "an argument twice": ("number", b'{"args":{"value":1,"value":2}}', 400, "key 'value' twice"),
    "an argument twice, once escaped": (
        "number",
        b'{"args":{"value":1,"valu\\u0065":2}}',
        400,
        "twice in one object",
    ),
    "a key twice": ("anything", body('{"a":{"b":1,"b":2}}'), 400, "key 'b' twice"),
    "a key twice in a typed dict": ("keyed", body('{"a":[],"a":[]}'), 400, "key 'a' twice"),
    "NaN": ("real", body("NaN"), 400, "NaN is not JSON"),
    "Infinity": ("anything", body("[-Infinity]"), 400, "-Infinity is not JSON"),
    "too large a float": ("real", body("1e999"), 422, "too large"),
    "too large a float in anything": ("anything", body("1e999"), 422, "too large"),
    "too many digits": ("number", body("1" * 10_000), 400, "integer string conversion"),
    "the same in hexadecimal": ("number", body(f'"{hex(10**10_000)}"'), 200, ""),
    "a float for an int": ("number", body("1.5"), 422, "expected int"),
    "unclosed brackets": ("anything", b"[" * DEEP, 400, "nested more than"),
    "unclosed braces": ("anything", b'{"a":' * DEEP, 400, "nested more than"),
    "deep": ("anything", body("[" * DEEP + "]" * DEEP), 400, "nested more than"),
    "deep where a number is wanted": ("number", body("[" * DEEP + "]" * DEEP), 400, "nested more than"),
    "deep in an unknown argument": (
        "number",
        b'{"args":{"value":1,"more":%b%b}}' % (b"[" * DEEP, b"]" * DEEP),
        400,
        "nested more than",
    ),
    "a bit too deep": ("anything", body("[" * 205 + "]" * 205), 422, "nested more than 200 levels"),
    "brackets in a text": ("anything", body('"' + "[" * DEEP + '"'), 200, ""),
    "half a character": ("text", body('"\\ud800"'), 200, ""),
    "half a character, raw": ("text", body('"\ud800"'), 400, "not UTF-8"),
    "two halves are one": ("text", body('"\\ud83d\\ude00"'), 200, ""),
    "latin 1": ("text", body(b'"\xe9"'), 400, "not UTF-8"),
    "a bare control character": ("text", body('"a\nb"'), 400, "control character"),
    "a zero byte": ("text", body('"a\0b"'), 400, "control character"),
    "a byte order mark": ("number", b"\xef\xbb\xbf" + body("1"), 400, "not JSON"),
    "utf-16": ("number", body("1").decode().encode("utf-16"), 400, "not JSON"),
    "single quotes": ("text", body("'a'"), 400, "not JSON"),
    "a trailing comma": ("keyed", body('{"a":[],}'), 400, "not JSON"),
    "a comment": ("number", body("1 /* one */"), 400, "not JSON"),
    "nothing": ("number", b"", 400, "not JSON"),
    "much space": ("number", body(" " * 1_000_000 + "1"), 200, ""),
    "two documents": ("number", body("1") * 2, 400, "Extra data"),
    "a list": ("number", b"[1]", 400, "the body must be"),
    "an unknown argument": ("number", b'{"args":{"value":1,"\\udc00":2}}', 422, "has no such parameter"),
    "none": ("number", b'{"args":{}}', 422, "value: missing"),
    "no number": ("number", body("-"), 400, "not JSON"),
    "a part that is not there": ("anything", body('{"$part":0}'), 200, ""),
    "a tag of nothing": ("anything", body('{"$type":"x","value":1}'), 422, "value"),
}


def test_whatever_another_client_sends_is_answered(standing: Standing, http: Any, get: Any) -> None:
    shims = {
        name: standing(f"served_values:{name}") for name in ("anything", "text", "number", "real", "keyed")
    }
    for what, (name, sent, status, said) in FOREIGN.items():
        identity = f"served_values:{name}"
        found, document = http(shims[name].endpoint)(sent, "application/json", identity=identity)
        assert (found, what) == (status, what), document
        if status == 200:
            assert document.keys() == {"result"}
        else:
            assert said in document["detail"], what
            assert document["type"].startswith("urn:turbolift:problem:")
    for shim in shims.values():
        assert shim.process.poll() is None
        assert "internal error" not in shim.text()


def size_of(function: Any, value: Any) -> int:
    text = function.contract.quick.call((value,), {})
    assert text is not None
    return len(text)


@pytest.mark.parametrize(
    ("identity", "limit"), [("served_values:small", 4096), ("served:act", 1 << 20)], ids=["4 kB", "1 MiB"]
)
def test_a_request_of_the_very_limit(standing: Standing, http: Any, identity: str, limit: int) -> None:
    shim = standing(identity)
    module, _, name = identity.partition(":")
    function = getattr(importlib.import_module(module), name)
    given: tuple[Any, ...] = ("echo",) if name == "act" else ()
    text = function.contract.quick.call((*given, ""), {})
    most = limit - len(text)
    assert function.call(*given, "x" * (most - 1)) == "x" * (most - 1)
    assert function.call(*given, "x" * most) == "x" * most
    with pytest.raises(PayloadTooLarge) as caught:
        function.call(*given, "x" * (most + 1))
    assert (caught.value.size, caught.value.limit) == (limit + 1, limit)
    assert "max_payload" in str(caught.value)
    # The same for others, with and without a size that is said before.
    post = http(shim.endpoint)
    for more, status in ((0, 200), (1, 413)):
        whole = text.replace(b'""', b'"%b"' % (b"x" * (most + more)))
        assert len(whole) == limit + more
        assert post(whole, "application/json", identity=identity)[0] == status
    assert function.call(*given, "after") == "after"


@pytest.mark.parametrize("size", [1000, 70_000, 1_500_000])
def test_an_answer_of_the_very_limit(standing: Standing, user: Any, size: int) -> None:
    standing("served_values:makes")
    whole = len(json.dumps({"result": "x" * size}, separators=(",", ":")))

    async def main() -> None:
        contract = user.makes.contract

        async def asked(most: int) -> Any:
            caller = Caller(default_transport(), policy=Policy(max_answer=most))
            try:
                return await caller.call("served_values:makes", contract, ("text", size), {})
            finally:
                await caller.transport.aclose()

        assert await asked(whole) == "x" * size
        with pytest.raises(PayloadTooLarge) as caught:
            await asked(whole - 1)
        assert caught.value.limit == whole - 1
        assert caught.value.size in (whole, None)
        assert "served_values:makes" in str(caught.value)

    asyncio.run(main())


@pytest.mark.parametrize(
    "value",
    ["x" * 30_000_000, "é" * 4_000_000, "\udc00" * 4_000_000, "\0" * 4_000_000],
    ids=["ascii", "latin", "surrogates", "zeros"],
)
def test_huge_texts(standing: Standing, user: Any, value: str) -> None:
    standing("served_values:text")
    back = user.text.call(value)
    assert (back == value) is True  # not for pytest to show
