# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""One HTTP request to an endpoint of the route table (``unix:///path``, ``http://host:port``, ``https://host:port``),
by the standard library.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from turbolift.client import tls as secured
from turbolift.client.transport import InsecureError, Tls


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


class _TlsConnection(http.client.HTTPConnection):
    def __init__(self, host: str, port: int | None, timeout: float | None, tls: Tls) -> None:
        super().__init__(host, port or http.client.HTTPS_PORT, timeout=timeout)
        self._tls = tls

    def connect(self) -> None:
        super().connect()
        context = secured.context(self._tls)
        try:
            self.sock = context.wrap_socket(self.sock, server_hostname=self._tls.server_name)
        except OSError as error:
            raise secured.failed(error, self._tls) from None


def request(
    endpoint: str,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    tls: Tls | None = None,
) -> Answer:
    """Send one request and return the answer. `timeout` (seconds) is for each step of it; `tls`: how an ``https://``
    endpoint is secured, if not by its own name and what the system trusts.

    Raises OSError (TimeoutError among them) or http.client.HTTPException.
    """
    connection: http.client.HTTPConnection
    if endpoint.startswith("unix://"):
        connection = _UnixConnection(endpoint.removeprefix("unix://"), timeout)
    else:
        parts = urlsplit(endpoint)
        host = parts.hostname or ""
        if parts.scheme == "https":
            tls = tls or Tls(host, "")
            connection = _TlsConnection(host, parts.port, timeout, tls)
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers={"Connection": "close", **(headers or {})})
        response = connection.getresponse()
        return Answer(response.status, cast("Mapping[str, str]", response.headers), response.read())
    except InsecureError as error:
        raise ConnectionError(str(error)) from None
    except ssl.SSLError as error:
        # In TLS 1.3 a server refuses its caller after it was asked.
        told = None if tls is None else secured.refused(error, tls)
        raise error if told is None else ConnectionError(str(told)) from None
    finally:
        connection.close()


def is_ready(endpoint: str, *, timeout: float = 2.0) -> bool:
    """Return whether ``/readyz`` of `endpoint` says yes within `timeout` seconds."""
    try:
        return request(endpoint, "GET", "/readyz", timeout=timeout).status == 200
    except (OSError, http.client.HTTPException):
        return False
