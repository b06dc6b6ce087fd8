# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The serving side of TLS: a certificate of our own, and callers that have one of the same authority.

In TLS 1.3 a caller has sent its request by the time we see its certificate. So a refusal must be told: by the alert
that names the reason, which event loops throw away with the failed connection. Here it is sent, and the caller knows
that its function did not run. A caller that speaks plain HTTP is told in its own language.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from typing import Any

from turbolift.shim.log import log
from turbolift.wire.problem import Problem
from turbolift.wire.tls import (
    AUTHORITY,
    CERTIFICATE,
    KEY,
    Credentials,
    CredentialsError,
    Validity,
    certificate_validity,
)

FOLDER = "TURBOLIFT_TLS"

_LISTEN_ON = 1 << 20
"""Bytes of a refused caller that are read, so that the reason is not lost in a reset."""

_LOG_EVERY = 1.0
_EXPIRED_EVERY = 3600.0


class ServerTls:
    """The certificates of `folder`. Raises CredentialsError where they cannot be used now.

    Attributes: ``context``: what connections are accepted by, always with the files as they are then.
    """

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, CERTIFICATE)
        self._valid: Validity | None = None
        self._warned = -_EXPIRED_EVERY
        self._credentials = Credentials(folder, self._make, _complain)
        self.context = self._credentials.context()
        trouble = self._trouble()
        if trouble:
            raise CredentialsError(f"{self._path}: the certificate {trouble}")
        # Called for each handshake, also of a caller that names no server.
        self.context.sni_callback = self._choose

    def end(self) -> float | None:
        """Return when the certificate that is in use expires, in seconds since 1970."""
        self._credentials.context()
        return None if self._valid is None else self._valid.end

    def _make(self, folder: str) -> ssl.SSLContext:
        made = _context(folder)
        self._valid = certificate_validity(folder)
        return made

    def _choose(self, connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._credentials.context()
        now = time.monotonic()
        if now - self._warned >= _EXPIRED_EVERY and (trouble := self._trouble()):
            self._warned = now
            log(
                logging.ERROR, "callers refuse this server", reason=f"{self._path}: the certificate {trouble}"
            )

    def _trouble(self) -> str:
        return "" if self._valid is None else self._valid.trouble()


def _complain(trouble: str) -> None:
    log(logging.ERROR, "new certificates cannot be used", reason=trouble)


class _Handshake(ssl.SSLObject):
    """Says why it fails before it does."""

    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO
    _failure: ssl.SSLError | None = None
    _dropped = 0

    def do_handshake(self) -> None:
        """Go on; where it fails, have the alert sent and wait for the peer to close (or for the handshake's time)."""
        if self._failure is None:
            try:
                super().do_handshake()
                return
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                self._failure = error
                _refused(error)
                if error.reason == "HTTP_REQUEST":
                    self._outgoing.write(_PLAIN)
        self._dropped += len(self._incoming.read())
        if self._dropped > _LISTEN_ON:
            raise self._failure
        raise ssl.SSLWantReadError


class _Context(ssl.SSLContext):
    sslobject_class = _Handshake

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *rest: Any, **named: Any) -> Any:
        made: Any = super().wrap_bio(incoming, outgoing, *rest, **named)
        made._incoming, made._outgoing = incoming, outgoing
        return made


def _context(folder: str) -> ssl.SSLContext:
    for name in (CERTIFICATE, KEY, AUTHORITY):
        # What is missing is named: the standard library does not say which.
        os.stat(os.path.join(folder, name))
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(os.path.join(folder, CERTIFICATE), os.path.join(folder, KEY))
    context.load_verify_locations(os.path.join(folder, AUTHORITY))
    # A session that goes on would go on under an authority that is trusted no more.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    return context


_told = 0.0
_untold = 0


def _refused(error: ssl.SSLError) -> None:
    """Log a failed handshake; not each one of a caller that tries without end."""
    global _told, _untold
    now = time.monotonic()
    if now - _told < _LOG_EVERY:
        _untold += 1
        return
    reason = getattr(error, "verify_message", None) or (error.reason or str(error)).lower().replace("_", " ")
    more = {"since_the_last_line": _untold} if _untold else {}
    log(logging.WARNING, "a connection was refused", reason=reason, **more)
    _told, _untold = now, 0


def _plain_answer() -> bytes:
    problem = Problem(
        "tls-required",
        "this port speaks TLS, and plain HTTP came: call https://, with the certificates of the deployment's callers",
    )
    body = problem.body()
    head = (
        f"HTTP/1.1 {problem.status} Bad Request\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


_PLAIN = _plain_answer()
