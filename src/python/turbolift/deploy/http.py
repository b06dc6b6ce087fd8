# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One HTTP request to an endpoint of the route table (``unix:///path`` or ``http://host:port``), by the
standard library.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from typing import NamedTuple, cast
from urllib.parse import urlsplit


class Answer(NamedTuple):
    """Status, headers (looked up without regard to case) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def request(
    endpoint: str,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Answer:
    """Send one request and return the answer. `timeout` (seconds) is for each step of it.

    Raises OSError (TimeoutError among them) or http.client.HTTPException.
    """
    connection: http.client.HTTPConnection
    if endpoint.startswith("unix://"):
        connection = _UnixConnection(endpoint.removeprefix("unix://"), timeout)
    else:
        parts = urlsplit(endpoint)
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers={"Connection": "close", **(headers or {})})
        response = connection.getresponse()
        return Answer(response.status, cast("Mapping[str, str]", response.headers), response.read())
    finally:
        connection.close()


def is_ready(endpoint: str, *, timeout: float = 2.0) -> bool:
    """Return whether ``/readyz`` of `endpoint` says yes within `timeout` seconds."""
    try:
        return request(endpoint, "GET", "/readyz", timeout=timeout).status == 200
    except (OSError, http.client.HTTPException):
        return False
