# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Compression by option: the same values, over both ways of HTTP, by each coding; bombs and unknown codings are refused."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from typing import Any

import numpy
import pytest

from turbolift import ConfigurationError, PayloadTooLarge
from turbolift.client import compressed
from turbolift.client.policy import Policy
from turbolift.wire.codings import codings, decompress
from unit.shim.callers import WAYS, Calls

MEGA = 1024 * 1024
HOW = pytest.mark.parametrize("how", [True, *codings()])
BOTH = [pytest.mark.parametrize("client", WAYS), pytest.mark.parametrize("server", WAYS)]


def both(test: Any) -> Any:
    for mark in BOTH:
        test = mark(test)
    return test


@HOW
@both
@pytest.mark.parametrize("name", ["threads", "inline", "asynchronous", "processes"])
def test_parts(large: Any, shims: Any, name: str, client: str, server: str, how: Any) -> None:
    parts = [b"ab" * 100_000, b"", b"x" * 70_000, bytes(3 * MEGA), b"small"]

    async def main() -> None:
        async with Calls(getattr(large, name), shims(name, server).endpoint, client) as call:
            for given in (parts, [b"tiny"], []):
                assert await call(given, compress=how) == given[::-1]
                assert await call(given) == given[::-1]

    asyncio.run(main())


@HOW
@both
def test_text_and_arrays(large: Any, shims: Any, client: str, server: str, how: Any) -> None:
    rows = [{"a": [*range(1000)], "b": []} for _ in range(100)]
    values = numpy.arange(300_000, dtype=numpy.float64).reshape(1000, 300)

    async def main() -> None:
        async with Calls(large.rows, shims("rows", server).endpoint, client) as call:
            assert await call(rows, compress=how) == rows[::-1]
        async with Calls(large.array, shims("array", server).endpoint, client) as call:
            found = await call(values, compress=how)
            assert numpy.array_equal(found, values + 1)
            assert found.flags.writeable

    asyncio.run(main())


@both
def test_limits_hold_for_what_is_unpacked(large: Any, shims: Any, client: str, server: str) -> None:
    async def main() -> None:
        policy = Policy(max_answer=2 * MEGA)
        async with Calls(large.small, shims("small", server).endpoint, client, policy=policy) as call:
            with pytest.raises(PayloadTooLarge, match="option max_payload") as caught:
                await call(bytes(30 * MEGA), compress=True)
            assert caught.value.limit == MEGA
            with pytest.raises(PayloadTooLarge, match="max_answer") as caught:
                await call(b"", 30 * MEGA, compress=True)
            assert caught.value.limit == 2 * MEGA
            assert await call(b"", MEGA, compress=True, max_answer=3 * MEGA) == bytes(MEGA)
            assert len(await call(b"", 30 * MEGA, compress=True, max_answer=31 * MEGA)) == 30 * MEGA

    asyncio.run(main())


def asked(endpoint: str, identity: str, body: bytes, *headers: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers (lower case) and body of an answer, as a client that knows nothing of turbolift has it."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(endpoint.removeprefix("unix://"))
        lines = [
            f"POST /v1/functions/{identity} HTTP/1.1",
            "Host: x",
            "Connection: close",
            f"Content-Length: {len(body)}",
            *headers,
        ]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        received = b""
        while more := connection.recv(1 << 16):
            received += more
    head, _, rest = received.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    found = dict(field.lower().split(": ", 1) for field in fields)
    assert int(found["content-length"]) == len(rest)
    return int(status.split()[1]), found, rest


JSON = "Content-Type: application/json"


@pytest.mark.parametrize("server", WAYS)
def test_a_foreign_client(large: Any, shims: Any, server: str) -> None:
    endpoint = shims("floats", server).endpoint
    identity = "served_large:floats"
    values = [float(i) for i in range(50_000)]
    text = json.dumps({"args": {"values": values}}).encode()
    packed = gzip.compress(text)
    expected = {"result": values[::-1]}
    # As curl --compressed asks.
    status, headers, body = asked(endpoint, identity, text, JSON, "Accept-Encoding: deflate, gzip, br, zstd")
    assert (status, headers["content-encoding"], headers["vary"]) == (200, codings()[0], "accept-encoding")
    found = decompress(headers["content-encoding"], body, "application/json", 10 * MEGA)
    assert json.loads(bytes(found)) == expected  # type: ignore[arg-type]
    status, headers, body = asked(endpoint, identity, packed, JSON, "Content-Encoding: gzip")
    assert (status, headers.get("content-encoding")) == (200, None)
    assert json.loads(body) == expected
    status, headers, body = asked(endpoint, identity, text, JSON, "Accept-Encoding: identity, br")
    assert (status, headers.get("content-encoding"), json.loads(body)) == (200, None, expected)
    # Small answers are not worth it, and are not marked.
    small = b'{"args": {"values": [1.0]}}'
    status, headers, body = asked(endpoint, identity, small, JSON, "Accept-Encoding: gzip")
    assert (status, headers.get("content-encoding"), json.loads(body)) == (200, None, {"result": [1.0]})


@pytest.mark.parametrize("server", WAYS)
@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "x" * 300])
def test_an_unknown_coding(large: Any, shims: Any, server: str, coding: str) -> None:
    endpoint = shims("floats", server).endpoint
    status, headers, body = asked(
        endpoint, "served_large:floats", b"\x00\x01", JSON, f"Content-Encoding: {coding}"
    )
    problem = json.loads(body)
    assert (status, problem["type"]) == (415, "urn:turbolift:problem:unsupported-encoding")
    assert problem["accepts"] == [*codings()]
    assert headers["accept-encoding"] == ", ".join(codings())


@pytest.mark.parametrize("server", WAYS)
def test_broken_and_bombs(large: Any, shims: Any, server: str) -> None:
    endpoint = shims("small", server).endpoint
    identity = "served_large:small"
    whole = gzip.compress(b'{"args": {"data": ""}}')
    for broken in (b"", b"plain", whole[:-3], whole + b"more"):
        status, _, body = asked(endpoint, identity, broken, JSON, "Content-Encoding: gzip")
        assert (status, json.loads(body)["type"]) == (400, "urn:turbolift:problem:malformed")
    bomb = gzip.compress(bytes(100 * MEGA))
    assert len(bomb) < MEGA
    status, _, body = asked(endpoint, identity, bomb, JSON, "Content-Encoding: gzip")
    problem = json.loads(body)
    assert (status, problem["type"]) == (413, "urn:turbolift:problem:payload-too-large")
    assert problem["limit"] == MEGA
    assert "option max_payload" in problem["detail"]
    assert asked(endpoint, identity, whole, JSON, "Content-Encoding: gzip")[0] == 200


@both
def test_a_server_that_does_not_know_the_coding_is_asked_in_another(
    large: Any, shims: Any, client: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server's 415 is a real one; what the caller takes for zstd, it has never heard of.
    monkeypatch.setattr(compressed, "codings", lambda: ("x-new", "gzip"))
    monkeypatch.setattr(compressed, "_unknown", set())
    endpoint = shims("run", server).endpoint

    async def main() -> None:
        async with Calls(large.run, endpoint, client) as call:
            before = await call(bytes(MEGA), compress=True)
            assert compressed._unknown == {(endpoint, "x-new")}
            assert await call(bytes(MEGA), compress=True) == before + 1
            assert await call(bytes(MEGA), compress="x-new") == before + 2

    asyncio.run(main())


def test_the_option_is_checked(large: Any) -> None:
    for wrong in ("br", 1, None):
        with pytest.raises(ConfigurationError, match="option compress="):
            large.run.with_options(compress=wrong)
    with pytest.raises(ConfigurationError, match="option max_answer="):
        large.run.with_options(max_answer="big")


def test_through_the_function_itself(standing: Any, large: Any) -> None:
    standing("served_large:small")
    function = large.small.with_options(compress=True, max_answer="3Mi")
    assert function.call(b"x" * 100_000, 2 * MEGA) == bytes(2 * MEGA)
    with pytest.raises(PayloadTooLarge, match=str(3 * MEGA)):
        function.call(b"", 4 * MEGA)

    async def main() -> None:
        rows = [(b"y" * 100_000, i) for i in range(20)]
        assert await function.starmap(rows) == [bytes(i) for i in range(20)]

    asyncio.run(main())
