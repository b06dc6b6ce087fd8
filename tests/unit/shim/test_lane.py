# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The lane answers as the aiohttp app alone does, whatever comes; and harms no neighbour."""

from __future__ import annotations

import json
import os
import random
import select
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from turbolift.wire.http1 import HEADERS_LIMIT

PATH = b"/v1/functions/served:act"
BODY = b'{"args": {"what": "echo", "text": "hello"}}'
LAST = b'{"args": {"what": "echo", "text": "the last"}}'
HOST = b"Host: x"
JSON = b"Content-Type: application/json"


def request(
    *headers: bytes, body: bytes = BODY, line: bytes = b"POST " + PATH + b" HTTP/1.1", size: bool = True
) -> bytes:
    """A request with just these headers, and its length."""
    lines = [line, *headers, *([b"Content-Length: %d" % len(body)] if size else [])]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


GOOD = request(HOST, JSON)
OURS = request(
    HOST,
    JSON,
    b"Turbolift-Contract: sha256:x",
    b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
    b"Idempotency-Key: 1",
    b"Turbolift-Deadline: 30.5",
)
CLOSE = request(HOST, JSON, b"Connection: close", body=LAST)
CHUNKED = (
    request(HOST, JSON, b"Transfer-Encoding: chunked", body=b"", size=False)
    + b"%x\r\n%b\r\n" % (10, BODY[:10])
    + b"%x;ext=1\r\n%b\r\n0\r\n\r\n" % (len(BODY) - 10, BODY[10:])
)

CASES: dict[str, bytes] = {
    "plain": GOOD,
    "as our client sends it": OURS,
    "names in any case": request(b"hOST: x", b"CONTENT-type:application/json"),
    "spaces around a value": request(HOST, b"Content-Type: \t application/json \t "),
    "an empty value": request(HOST, JSON, b"X-Empty:"),
    "pipelined": GOOD * 40,
    "pipelined with others": GOOD * 3 + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + GOOD * 2,
    "chunked": CHUNKED + GOOD,
    "a broken chunk": request(HOST, JSON, b"Transfer-Encoding: chunked", body=b"", size=False) + b"zz\r\n",
    "keep-alive": request(HOST, JSON, b"Connection: keep-alive"),
    "another connection option": request(HOST, JSON, b"Connection: close, x"),
    "http 1.0": request(HOST, JSON, line=b"POST " + PATH + b" HTTP/1.0"),
    "http 1.0 keep-alive": request(
        HOST, JSON, b"Connection: keep-alive", line=b"POST " + PATH + b" HTTP/1.0"
    ),
    "http 2.0": request(HOST, JSON, line=b"POST " + PATH + b" HTTP/2.0"),
    "no host": request(JSON),
    "no length": request(HOST, JSON, size=False, body=b""),
    "an empty body": request(HOST, JSON, body=b""),
    "not a call": request(HOST, JSON, body=b"{"),
    "arguments that do not fit": request(HOST, JSON, body=b'{"args": {"what": 3}}'),
    "another content type": request(HOST, b"Content-Type: text/plain"),
    "no content type": request(HOST),
    "another contract": request(HOST, JSON, b"Turbolift-Contract: sha256:1"),
    "a broken deadline": request(HOST, JSON, b"Turbolift-Deadline: soon"),
    "another method": request(HOST, JSON, line=b"PUT " + PATH + b" HTTP/1.1"),
    "a small method": request(HOST, JSON, line=b"post " + PATH + b" HTTP/1.1"),
    "another path": request(HOST, JSON, line=b"POST /x HTTP/1.1"),
    "another function": request(HOST, JSON, line=b"POST /v1/functions/served:quick HTTP/1.1"),
    "an encoded path": request(HOST, JSON, line=b"POST /v1/functions/served%3Aact HTTP/1.1"),
    "a query": request(HOST, JSON, line=b"POST " + PATH + b"?a=1 HTTP/1.1"),
    "an absolute target": request(HOST, JSON, line=b"POST http://x" + PATH + b" HTTP/1.1"),
    "two spaces": request(HOST, JSON, line=b"POST  " + PATH + b" HTTP/1.1"),
    "length and chunked": request(HOST, JSON, b"Transfer-Encoding: chunked"),
    "chunked and length": request(
        HOST, JSON, b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", size=False
    ),
    "two lengths": request(HOST, JSON, b"Content-Length: 1"),
    "the same length twice": request(HOST, JSON, b"Content-Length: %d" % len(BODY)),
    "a list of lengths": request(HOST, JSON, b"Content-Length: 43, 43", size=False),
    "a signed length": request(HOST, JSON, b"Content-Length: +43", size=False),
    "a negative length": request(HOST, JSON, b"Content-Length: -1", size=False),
    "a hexadecimal length": request(HOST, JSON, b"Content-Length: 0x2b", size=False),
    "a length with a space": request(HOST, JSON, b"Content-Length: 4 3", size=False),
    "a length without digits": request(HOST, JSON, b"Content-Length: ", size=False),
    "a length of 30 digits": request(HOST, JSON, b"Content-Length: " + b"9" * 30, size=False),
    "a space before the colon": request(HOST, JSON, b"Content-Length : 43", size=False),
    "a coding in disguise": request(HOST, JSON, b"Transfer-Encoding: xchunked"),
    "a coding with a tab": request(HOST, JSON, b"Transfer-Encoding:\tchunked"),
    "a folded line": request(HOST, JSON, b"X-Folded: a\r\n b"),
    "a folded length": request(HOST, JSON, b"Content-Length:\r\n 43", size=False),
    "a bare line feed": request(HOST, JSON, b"X: a\nContent-Length: 1"),
    "a bare carriage return": request(HOST, JSON, b"X: a\rb"),
    "a zero byte": request(HOST, JSON, b"X: a\0b"),
    "a name with a space": request(HOST, JSON, b"X Y: a"),
    "a line without a colon": request(HOST, JSON, b"nothing"),
    "an empty name": request(HOST, JSON, b": a"),
    "letters beyond ascii": request(HOST, JSON, "X: é".encode()),
    "a key beyond ascii": request(HOST, JSON, "Idempotency-Key: é".encode()),
    "a key twice": request(HOST, JSON, b"Idempotency-Key: 1", b"Idempotency-Key: 2"),
    "two hosts": request(HOST, JSON, b"Host: y"),
    "many headers": request(HOST, JSON, *(b"X-%d: y" % i for i in range(HEADERS_LIMIT + 20))),
    "too many headers": request(HOST, JSON, *(b"X-%d: y" % i for i in range(200))),
    "a long header": request(HOST, JSON, b"X: " + b"y" * 8000),
    "too long a header": request(HOST, JSON, b"X: " + b"y" * 9000),
    "a head over the lane's limit": request(HOST, JSON, *(b"X-%d: " % i + b"y" * 7000 for i in range(6))),
    "a body over the limit": request(HOST, JSON, b"Content-Length: 9999999", size=False, body=b""),
    "an unknown expectation": request(HOST, JSON, b"Expect: a miracle"),
    "an upgrade": request(HOST, JSON, b"Connection: Upgrade", b"Upgrade: websocket"),
    "an upgrade to http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a compressed body": request(HOST, JSON, b"Content-Encoding: gzip"),
    "a tls hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(40)) + b"\r\n\r\n",
    "an empty line first": b"\r\n" + GOOD,
    "spaces": b" " * 1000 + b"\r\n\r\n",
}


def connected(server: Any) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(server.socket))
    connection.settimeout(30)
    return connection


def said(received: bytes) -> list[Any]:
    """Answers as statuses, headers (without a date and a server's name) and bodies."""
    answers: list[Any] = []
    while received:
        head, end, rest = received.partition(b"\r\n\r\n")
        if not end:
            return [*answers, received]
        lines = head.decode("latin-1").lower().split("\r\n")
        headers = sorted(line for line in lines[1:] if not line.startswith(("date:", "server:")))
        size = next((int(h.split(":")[1]) for h in headers if h.startswith("content-length")), 0)
        if " 400 " in lines[0] and "content-type: text/plain; charset=utf-8" in headers:
            # What aiohttp quotes of a head that it refuses depends on the pieces that it got it in.
            answers.append("refused")
        else:
            answers.append((lines[0], headers, rest[:size]))
        received = rest[size:]
    return answers


def agree(lane: list[Any], aiohttp: list[Any]) -> bool:
    """Whether the answers are the same.

    aiohttp refuses what it got in one piece with a broken head together with that head; which bytes are one piece
    differs where the lane gives it a connection with what came in the meantime. So where both refuse, either may have
    answered fewer of the requests before; and where one has closed after an answer, as the request wished, the other may
    have refused what came after it, and so that request too.
    """
    refusing = [one for one in (lane, aiohttp) if one[-1:] == ["refused"]]
    others = [one for one in (lane, aiohttp) if one[-1:] != ["refused"]]
    if len(refusing) == 2 or (refusing and closes(others[0])):
        common = min(len(one) - (one[-1] == "refused") for one in (lane, aiohttp))
        return lane[:common] == aiohttp[:common]
    return lane == aiohttp


def closes(answers: list[Any]) -> bool:
    """Whether the last answer ends its connection."""
    if not answers or not isinstance(answers[-1], tuple):
        return False
    status, headers, _ = answers[-1]
    return "connection: close" in headers or (
        status.startswith("http/1.0") and "connection: keep-alive" not in headers
    )


def exchange(both: tuple[Any, Any], pieces: list[bytes]) -> tuple[list[Any], list[Any]]:
    """Send the same to both servers; return what each has said when both are quiet, and have said the same if they
    ever do.
    """
    connections = [connected(server) for server in both]
    received = [b"", b""]
    ended = [False, False]
    try:
        for piece in pieces:
            for connection in connections:
                # One that has answered and closed takes no more.
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(piece)
            if len(pieces) > 1:
                time.sleep(0.001)
        limit = time.monotonic() + 10
        while time.monotonic() < limit:
            ready = select.select([c for c, e in zip(connections, ended, strict=True) if not e], [], [], 0.1)[
                0
            ]
            for connection in ready:
                index = connections.index(connection)
                try:
                    got = connection.recv(1 << 20)
                except ConnectionResetError:
                    got = b""
                received[index] += got
                ended[index] = not got
            if all(ended) or (
                not ready and ended[0] == ended[1] and agree(said(received[0]), said(received[1]))
            ):
                break
        assert ended[0] == ended[1]
        return said(received[0]), said(received[1])
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("name", CASES)
def test_the_lane_answers_as_aiohttp_does(both: tuple[Any, Any], name: str) -> None:
    lane, aiohttp = exchange(both, [CASES[name] + CLOSE])
    assert agree(lane, aiohttp)
    assert lane


def test_smuggling_is_refused(both: tuple[Any, Any]) -> None:
    for name in ("length and chunked", "chunked and length", "two lengths", "a list of lengths", "a bare line feed",
                 "a space before the colon", "a signed length", "a folded length", "a coding in disguise"):  # fmt: skip
        for server in both:
            with connected(server) as connection:
                connection.sendall(CASES[name] + CLOSE)
                answer = connection.recv(65536)
                assert answer[8:13] == b" 400 ", name
                assert b"the last" not in answer


def test_a_call_takes_the_lane_and_another_request_does_not(both: tuple[Any, Any]) -> None:
    with connected(both[0]) as connection:
        heads = []
        for sent in (OURS.replace(b"Turbolift-Contract: sha256:x\r\n", b""), GOOD, CHUNKED, GOOD):
            connection.sendall(sent)
            answer = connection.recv(65536)
            assert answer.endswith(b'{"result":"hello"}')
            heads.append(answer.partition(b"\r\n\r\n")[0])
    assert [b"Server:" in head for head in heads] == [False, False, True, True]
    assert all(b"\r\nDate: " in head for head in heads)


@pytest.mark.parametrize("where", range(1, len(GOOD) + 1, 7))
def test_a_request_in_two_pieces(both: tuple[Any, Any], where: int) -> None:
    with connected(both[0]) as connection:
        for sent in (GOOD[:where], GOOD[where:] + CLOSE[:where], CLOSE[where:]):
            connection.sendall(sent)
            time.sleep(0.002)
        received = b""
        while got := connection.recv(65536):
            received += got
    assert [body for _, _, body in said(received)] == [b'{"result":"hello"}', b'{"result":"the last"}']


def test_a_request_byte_by_byte(both: tuple[Any, Any]) -> None:
    for sent in (GOOD, OURS.replace(b"sha256:x", digest(both).encode())):
        with connected(both[0]) as connection:
            for byte in sent:
                connection.sendall(bytes([byte]))
            assert connection.recv(65536).endswith(b'{"result":"hello"}')


def digest(both: tuple[Any, Any]) -> str:
    head = b"GET /v1/schema HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with connected(both[0]) as connection, connection.makefile("rb") as stream:
        connection.sendall(head)
        found: str = json.loads(stream.read().partition(b"\r\n\r\n")[2])["contract"]["digest"]
    return found


def test_a_large_body_in_pieces(both: tuple[Any, Any]) -> None:
    body = json.dumps({"args": {"what": "echo", "text": "x" * 900_000}}).encode()
    sent = request(HOST, JSON, body=body) + GOOD
    with connected(both[0]) as connection:
        for start in range(0, len(sent), 33_333):
            connection.sendall(sent[start : start + 33_333])
        received = b""
        while not received.endswith(b'{"result":"hello"}'):
            received += connection.recv(1 << 20)
    assert [len(answer[2]) for answer in said(received)] == [900_000 + 13, 18]


def test_a_body_that_is_asked_for(both: tuple[Any, Any]) -> None:
    for server in both:
        with connected(server) as connection:
            asking = request(HOST, JSON, b"Expect: 100-continue")
            connection.sendall(asking[: -len(BODY)])
            assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(BODY + GOOD)
            received = b""
            while received.count(b'{"result":"hello"}') < 2:
                received += connection.recv(65536)
        assert [answer[0] for answer in said(received)] == ["http/1.1 200 ok"] * 2


def test_an_answer_that_nobody_takes_holds_no_more_than_itself(both: tuple[Any, Any]) -> None:
    body = json.dumps({"args": {"what": "echo", "text": "x" * 1_000_000}}).encode()
    before = memory(both[0])
    with connected(both[0]) as connection:
        connection.settimeout(1)
        asked = request(HOST, JSON, body=body)
        sent = 0
        with suppress(TimeoutError):
            # Each of these is answered with a megabyte; what is not read is not answered further.
            while sent < 200:
                connection.sendall(asked)
                sent += 1
        assert sent < 50
        assert memory(both[0]) - before < 50 << 20
        neighbour(both)


def memory(server: Any) -> int:
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def neighbour(both: tuple[Any, Any]) -> None:
    with connected(both[0]) as connection:
        connection.sendall(GOOD)
        assert connection.recv(65536).endswith(b'{"result":"hello"}')


MUTATIONS = st.tuples(
    st.sampled_from(["delete", "insert", "change", "double", "cut"]),
    st.floats(0, 1, exclude_max=True),
    st.binary(min_size=1, max_size=4)
    | st.sampled_from(
        [b"\r", b"\n", b"\r\n", b" ", b":", b"\0", b"\r\n\r\n", b"-", b"0", b"Content-Length: 5\r\n"]
    ),
)


def mutated(sent: bytes, mutations: list[tuple[str, float, bytes]]) -> bytes:
    for kind, where, text in mutations:
        at = int(where * len(sent))
        match kind:
            case "delete":
                sent = sent[:at] + sent[at + len(text) :]
            case "insert":
                sent = sent[:at] + text + sent[at:]
            case "change":
                sent = sent[:at] + text + sent[at + len(text) :]
            case "double":
                sent = sent[:at] + sent[at : at + 40] * 2 + sent[at + 40 :]
            case "cut":
                sent = sent[: at + 1]
    return sent


@settings(
    max_examples=int(os.environ.get("FUZZ", 300)), deadline=None, suppress_health_check=list(HealthCheck)
)
@given(
    requests=st.lists(st.sampled_from([*CASES.values(), GOOD, GOOD, OURS]), min_size=1, max_size=4),
    mutations=st.lists(MUTATIONS, max_size=3),
    garbage=st.binary(max_size=200),
    seed=st.integers(0, 2**32),
)
def test_whatever_comes(
    both: tuple[Any, Any],
    requests: list[bytes],
    mutations: list[tuple[str, float, bytes]],
    garbage: bytes,
    seed: int,
) -> None:
    sent = mutated(b"".join(requests), mutations) + garbage + CLOSE
    rnd = random.Random(seed)
    cuts = sorted(rnd.randrange(len(sent)) for _ in range(rnd.randrange(6)))
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True) if a < b]
    note(repr(pieces))
    lane, aiohttp = exchange(both, pieces)
    assert agree(lane, aiohttp)
    neighbour(both)


def test_nothing_is_left_of_it_all(both: tuple[Any, Any], get: Any) -> None:
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{both[0].process.pid}/fd"))

    end = time.monotonic() + 30
    while descriptors() > 40 and time.monotonic() < end:
        time.sleep(0.05)
    assert descriptors() <= 40
    text = get(both[0].endpoint, "/metrics")[2].decode()
    assert 'turbolift_calls_running{function="served:act"} 0.0' in text
    assert "internal error" not in both[0].text()
