# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 heads, read strictly: what is unusual is not guessed at but given back to the caller.

A head is what stands before the first empty line. Requests: only what the lane serves itself, everything else
is None. Responses: everything a sane server sends; BadAnswerError for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any, NamedTuple

from turbolift.wire.headers import CONTRACT, DEADLINE, IDEMPOTENCY_KEY, PIPELINE, TRACEPARENT, TRACESTATE

HEAD_LIMIT = 32 * 1024
"""Bytes that a head may have."""

LINE_LIMIT = 8190
"""Bytes that a header may have."""

HEADERS_LIMIT = 64
"""Headers that a head may have for the lane to read it."""

_TEXT = bytes(i for i in range(32, 256) if i != 127) + b"\t"
_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = re.compile(rb"[0-9]{1,15}\Z")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\Z")

# Lower-case name -> how the rest of turbolift looks it up.
_KNOWN = {
    name.lower().encode(): name
    for name in (
        "Content-Type",
        "Content-Encoding",
        "Accept-Encoding",
        CONTRACT,
        DEADLINE,
        IDEMPOTENCY_KEY,
        TRACEPARENT,
        TRACESTATE,
    )
}
# What changes how the body is read, or what the connection is.
_UNUSUAL = frozenset({b"transfer-encoding", b"upgrade", b"trailer", b"te", b"http2-settings"})

# What turbolift's own client sends, headers in its order.
_OURS = re.compile(
    rb"Host: [!-~]+\r\nContent-Type: ([!-~]+)\r\nTurbolift-Contract: ([!-~]+)\r\ntraceparent: ([!-~]+)\r\n"
    rb"Idempotency-Key: ([!-~]+)\r\nTurbolift-Deadline: ([!-~]+)\r\nContent-Length: ([0-9]{1,15})"
)


# What differs from one of our calls to the next on a connection.
_REST = re.compile(
    rb"([!-~]+)\r\nIdempotency-Key: ([!-~]+)\r\nTurbolift-Deadline: (none|[0-9]{1,12}(?:\.[0-9]{1,12})?)\r\n"
    rb"Content-Length: ([0-9]{1,15})\r\n\r\n"
)
_VARIES = b"\r\ntraceparent: "


class OurCall(NamedTuple):
    """A call as turbolift's client writes it, after another one of the same form. ``start`` and ``end``: where its
    body is. ``remaining``: seconds until its deadline, or None.
    """

    start: int
    end: int
    remaining: float | None
    trace: bytes
    key: bytes


def common_start(data: bytes, at: int, end: int) -> bytes:
    """Return what a call that ``our_call`` has read, from its first line at `at` to `end`, shares with the next ones:
    everything before what differs from call to call.
    """
    return data[at : data.index(_VARIES, at, end) + len(_VARIES)]


def next_call(data: bytes, at: int, common: bytes) -> OurCall | None:
    """Return the call at `at`, where it starts as an earlier one (``common_start``) and is of the same form."""
    if not data.startswith(common, at):
        return None
    found = _REST.match(data, at + len(common))
    if found is None:
        return None
    start = found.end()
    if start - at >= LINE_LIMIT:
        return None
    trace, key, remaining, size = found.groups()
    return OurCall(start, start + int(size), None if remaining == b"none" else float(remaining), trace, key)


class CallHead(NamedTuple):
    """The head of a call. ``headers``: by the names that ``turbolift.wire`` has. ``size``: bytes of the body."""

    headers: Mapping[str, str]
    size: int
    close: bool = False
    expects: bool = False


def our_call(data: bytes, start: int, end: int) -> CallHead | None:
    """Return the head of a call as turbolift's client writes it, or None where it is any other way.

    `data`: the header lines are from `start` to `end`, without the empty line.
    """
    found = _OURS.fullmatch(data, start, end) if end - start < LINE_LIMIT else None
    if found is None:
        return None
    kind, contract, trace, key, deadline, size = found.groups()
    headers = {
        "Content-Type": kind.decode("ascii"),
        CONTRACT: contract.decode("ascii"),
        TRACEPARENT: trace.decode("ascii"),
        IDEMPOTENCY_KEY: key.decode("ascii"),
        DEADLINE: deadline.decode("ascii"),
    }
    return CallHead(headers, int(size))


def read_bodiless(lines: bytes) -> bool | None:
    """Return whether the connection ends after a request without a body, from its header lines, or None where they
    are wrong, or of another request.
    """
    head = _read(lines)
    if head is None or head.size >= 0 or head.expects:
        return None
    return head.close


def read_call(lines: bytes) -> CallHead | None:
    """Return the head of a call from its header lines (without the request line and the empty line), or None
    where they are wrong, or more than a call needs.
    """
    head = _read(lines)
    return None if head is None or head.size < 0 else head


def _read(lines: bytes) -> CallHead | None:
    """Read header lines as ``read_call``; the size is -1 where none is said."""
    headers: dict[str, str] = {}
    size: int | None = None
    host = close = expects = connection = False
    try:
        for name, value in _fields(lines):
            known = _KNOWN.get(name)
            if known is not None:
                if known in headers:
                    return None
                headers[known] = value.decode("ascii")
            elif name == b"content-length":
                if size is not None or not _DIGITS.match(value):
                    return None
                size = int(value)
            elif name == b"host":
                if host:
                    return None
                host = True
            elif name == b"connection":
                if connection or value.lower() not in (b"close", b"keep-alive"):
                    return None
                connection, close = True, value.lower() == b"close"
            elif name == b"expect":
                if expects or value.lower() != b"100-continue":
                    return None
                expects = True
            elif name in _UNUSUAL:
                return None
    except ValueError:
        return None
    if not host:
        return None
    return CallHead(headers, -1 if size is None else size, close, expects)


def _fields(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield lower-case names and values. Raises ValueError for control characters, names that are none, folded
    lines, and too many.
    """
    lines = text.split(b"\r\n") if text else []
    if len(lines) > HEADERS_LIMIT:
        raise ValueError(f"more than {HEADERS_LIMIT} headers")
    for line in lines:
        name, colon, value = line.partition(b":")
        if not name or not colon or name.translate(None, _TOKEN):
            raise ValueError(f"a line that is no header: {line[:60]!r}")
        if len(line) > LINE_LIMIT:
            raise ValueError(f"a header of more than {LINE_LIMIT} bytes: {line[:60]!r}")
        if value.translate(None, _TEXT):
            raise ValueError(f"a header with control characters: {line[:60]!r}")
        yield name.lower(), value.strip(b" \t")


_PIPELINE = PIPELINE.lower().encode()
_SECONDS = re.compile(r"[0-9]\.[0-9]{1,6}\Z")


class BadAnswerError(Exception):
    """What came is no HTTP answer, or one that cannot be trusted."""


class AnswerHeaders(Mapping[str, str]):
    """Headers, looked up without regard to case; of a repeated one, the first."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[str, str]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or `default`; as of any mapping, without its detour by an exception."""
        return self._fields.get(name.lower(), default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class AnswerHead(NamedTuple):
    """The head of an answer. ``size``: bytes of the body; None where it ends with the connection; ``chunked``:
    it says so itself. ``close``: the connection ends after it. ``patience``: requests may be sent ahead of an answer, until that
    has been waited for so many seconds.
    """

    status: int
    headers: AnswerHeaders
    size: int | None
    chunked: bool
    close: bool
    patience: float = 0.0


def read_answer(head: bytes) -> AnswerHead:
    """Read a head (without its empty line). Raises BadAnswerError."""
    first, _, rest = head.partition(b"\r\n")
    found = _STATUS.match(first)
    if found is None:
        raise BadAnswerError(f"not HTTP/1.1: {first[:60]!r}")
    status = int(found[2])
    headers: dict[str, str] = {}
    sizes: set[bytes] = set()
    codings: list[bytes] = []
    options: set[bytes] = set()
    try:
        for name, value in _fields(rest):
            headers.setdefault(name.decode("ascii"), value.decode("latin-1"))
            if name == b"content-length":
                sizes.add(value)
            elif name == b"transfer-encoding":
                codings.append(value.lower())
            elif name == b"connection":
                options.update(option.strip().lower() for option in value.split(b","))
    except ValueError as error:
        raise BadAnswerError(str(error)) from None
    close = b"close" in options or (found[1] == b"0" and b"keep-alive" not in options)
    if len(sizes) > 1 or any(not _DIGITS.match(size) for size in sizes) or (sizes and codings):
        raise BadAnswerError("its size is said in contradictory ways")
    if codings and codings != [b"chunked"]:
        raise BadAnswerError(f"a transfer coding that was not asked for: {codings[0][:60]!r}")
    if status < 200 or status in (204, 304):
        return AnswerHead(status, AnswerHeaders(headers), 0, False, close)
    if codings:
        return AnswerHead(status, AnswerHeaders(headers), None, True, close)
    if not sizes:
        return AnswerHead(status, AnswerHeaders(headers), None, False, True)
    said = headers.get(PIPELINE.lower(), "") if not close and _PIPELINE in options else ""
    patience = inf if said == "1" else float(said) if _SECONDS.match(said) else 0.0
    return AnswerHead(status, AnswerHeaders(headers), int(sizes.pop()), False, close, patience)


_CHUNK = re.compile(rb"([0-9a-fA-F]{1,12})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\Z")


class Chunks:
    """A chunked body as it comes in. Attributes: ``data`` (what there is), ``done``."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.done = False
        self._held = bytearray()
        self._missing = 0
        self._state = "size"
        self._trailers = 0

    def put(self, data: bytes | memoryview) -> bytes:
        """Take `data`; return what comes after the body. Raises BadAnswerError."""
        held = self._held
        held += data
        at = 0
        while not self.done:
            if self._state == "data":
                part = held[at : at + self._missing]
                self.data += part
                self._missing -= len(part)
                at += len(part)
                if self._missing:
                    break
                self._state = "end"
                continue
            end = held.find(b"\r\n", at)
            if end < 0:
                if len(held) - at > 8192:
                    raise BadAnswerError("a line of a chunked body is too long")
                break
            line = bytes(held[at:end])
            at = end + 2
            self._line(line)
        del held[:at]
        return bytes(held) if self.done else b""

    def _line(self, line: bytes) -> None:
        if self._state == "end":
            if line:
                raise BadAnswerError("a chunk is longer than it said")
            self._state = "size"
        elif self._state == "size":
            found = _CHUNK.match(line)
            if found is None:
                raise BadAnswerError(f"not the size of a chunk: {line[:60]!r}")
            self._missing = int(found[1], 16)
            self._state = "data" if self._missing else "trailers"
        else:
            self._trailers += 1
            if self._trailers > HEADERS_LIMIT:
                raise BadAnswerError("too many trailers")
            self.done = not line
