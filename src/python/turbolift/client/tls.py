# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The calling side of TLS: whom we trust, who we are, and in words why a connection cannot be had.

A caller's folder has ``ca.crt`` (whom it trusts; without it, whom the system trusts), and ``tls.crt`` and ``tls.key``
(who it is). It is the folder ``tls`` beside the route table, or ``$TURBOLIFT_CALLER_TLS``.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from turbolift.client.transport import InsecureError, Tls
from turbolift.wire.tls import (
    AUTHORITY,
    CERTIFICATE,
    KEY,
    Credentials,
    CredentialsError,
    Validity,
    certificate_validity,
    validity,
)

_RENEW = "'./pants run deploy' renews it"
# X509_V_ERR_* of OpenSSL.
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN = (2, 18, 19, 20, 21)
_WRONG_NAME = (62, 64)
_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
    "HTTP_REQUEST",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
)
_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "no-client-certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "handshake",
    "TLSV1_ALERT_UNKNOWN_CA": "client-unknown-authority",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "client-expired",
    "SSLV3_ALERT_BAD_CERTIFICATE": "client-certificate",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "client-certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "client-certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "client-certificate",
    "TLSV1_ALERT_ACCESS_DENIED": "client-certificate",
    "TLSV1_ALERT_DECRYPT_ERROR": "client-certificate",
    "TLSV1_ALERT_PROTOCOL_VERSION": "handshake",
}

_known: dict[str, Credentials] = {}
_noting: ContextVar[list[ssl.SSLError] | None] = ContextVar("noting", default=None)


@contextmanager
def noting() -> Iterator[list[ssl.SSLError]]:
    """Note how servers refuse the connections that the block opens, for a client that may lose that."""
    noted: list[ssl.SSLError] = []
    before = _noting.set(noted)
    try:
        yield noted
    finally:
        _noting.reset(before)


def context(tls: Tls) -> ssl.SSLContext:
    """Return the context for a new connection, with the files as they are now. Raises InsecureError."""
    credentials = _known.get(tls.folder)
    if credentials is None:
        credentials = _known[tls.folder] = Credentials(tls.folder, _context, _complain)
    try:
        return credentials.context()
    except CredentialsError as error:
        raise InsecureError(
            f"{error}: a caller's certificate is in the Secret {_secret()}", "credentials"
        ) from None


def refused(error: BaseException | None, tls: Tls) -> InsecureError | None:
    """Return what to raise for `error` of an open connection where it says that the server refused us.

    Such an alert ends a handshake: no request of this connection was ever looked at.
    """
    error = _ssl_error(error)
    reason = None if error is None else _ALERTS.get(error.reason or "")
    if reason is None:
        return None
    if reason in ("handshake", "client-certificate") and not _exists(tls.folder, CERTIFICATE):
        reason = "no-client-certificate"
    return InsecureError(_said_of_us(reason, error, tls), reason)


def failed(error: BaseException, tls: Tls) -> InsecureError:
    """Return what to raise where a handshake ended in `error`: nothing was sent."""
    told = refused(error, tls)
    if told is not None:
        return told
    error = _ssl_error(error) or error
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error, tls)
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        return InsecureError(
            "it answers, but not by TLS: is it a server that was deployed with plaintext=True, or another program?",
            "not-tls",
        )
    said = (
        getattr(error, "reason", None)
        or getattr(error, "strerror", None)
        or str(error)
        or type(error).__name__
    )
    return InsecureError(f"no TLS connection: {said}", "handshake")


def _ssl_error(error: BaseException | None) -> ssl.SSLError | None:
    """Return the error of OpenSSL that `error` is, or was made from."""
    for _ in range(4):
        # Those of aiohttp are errors of OpenSSL by their class, and have none of the facts.
        if error is None or (isinstance(error, ssl.SSLError) and getattr(error, "reason", None)):
            return error
        inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
        error = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__
    return None


def _untrusted(error: ssl.SSLCertVerificationError, tls: Tls) -> InsecureError:
    peer: Validity | None = getattr(error, "validity", None)
    code = error.verify_code
    if code in (_NOT_YET_VALID, _EXPIRED):
        said = peer.trouble() if peer is not None else ""
        said = said or error.verify_message
        return InsecureError(
            f"its certificate {said}; {_RENEW}", "expired" if code == _EXPIRED else "not-yet-valid"
        )
    if code in _UNKNOWN:
        if not _exists(tls.folder, AUTHORITY):
            return InsecureError(
                f"its certificate is of an authority that this machine does not know, and there is no "
                f"{_path(tls, AUTHORITY)}: mount the Secret {_secret()} there",
                "unknown-authority",
            )
        return InsecureError(
            f"its certificate is of another authority than that in {_path(tls, AUTHORITY)}: is that "
            "the Secret of another deployment, or a copy that is kept no more?",
            "unknown-authority",
        )
    if code in _WRONG_NAME:
        return InsecureError(
            f"its certificate is not one of {tls.server_name}: another server answers there", "name-mismatch"
        )
    return InsecureError(f"its certificate is refused: {error.verify_message}", "certificate")


def _said_of_us(reason: str, error: BaseException | None, tls: Tls) -> str:
    path = _path(tls, CERTIFICATE)
    if reason == "no-client-certificate":
        return f"it wants a certificate of its callers, and there is no {path}: mount the Secret {_secret()} there"
    if reason == "client-unknown-authority":
        return f"it does not know the authority of {path}: is that the Secret of another deployment?"
    own = certificate_validity(tls.folder)
    trouble = own.trouble() if own is not None else ""
    if reason == "client-expired" or trouble:
        said = trouble or "expired by its clock, and did not by this machine's: one of the clocks is wrong"
        return f"it refuses {path}, which {said}; {_RENEW}"
    if reason == "client-certificate":
        return f"it refuses {path} (not yet valid by its clock, or not a caller's): {getattr(error, 'reason', '')}"
    return f"no TLS connection: {getattr(error, 'reason', '')}"


def _secret() -> str:
    return "turbolift-<deployment>-caller"


def _path(tls: Tls, name: str) -> str:
    return os.path.join(tls.folder or "$TURBOLIFT_CALLER_TLS", name)


def _exists(folder: str, name: str) -> bool:
    return bool(folder) and os.path.exists(os.path.join(folder, name))


def _complain(trouble: str) -> None:
    logging.getLogger("turbolift.client").error("new certificates cannot be used: %s", trouble)


class _Handshake(ssl.SSLObject):
    """Notes of a certificate that is refused when it is valid: the error alone does not say."""

    def do_handshake(self) -> None:
        """Go on."""
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            error.validity = _peer(self)  # type: ignore[attr-defined]
            raise


class _NotingHandshake(_Handshake):
    """The same, of a connection that somebody listens to (`noting`)."""

    _noted: list[ssl.SSLError]

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """Read."""
        try:
            return super().read(len, buffer)
        except ssl.SSLError as error:
            if error.reason in _ALERTS:
                self._noted.append(error)
            raise


class _Socket(ssl.SSLSocket):
    """The same for a socket that blocks."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands."""
        try:
            super().do_handshake(block)
        except ssl.SSLCertVerificationError as error:
            error.validity = _peer(self)  # type: ignore[attr-defined]
            raise


def _peer(connection: Any) -> Validity | None:
    # A method of the connection itself from Python 3.13 on, with DER; before that, of what is below it.
    try:
        chain = getattr(connection, "get_unverified_chain", connection._sslobj.get_unverified_chain)()
        first = chain[0]
        data = first if isinstance(first, bytes) else first.public_bytes()
        return validity(data.encode("ascii") if isinstance(data, str) else data)
    except (AttributeError, IndexError, TypeError, ValueError, ssl.SSLError):
        return None


class _Context(ssl.SSLContext):
    sslobject_class = _Handshake
    sslsocket_class = _Socket

    def wrap_bio(self, *given: Any, **named: Any) -> Any:
        made: Any = super().wrap_bio(*given, **named)
        # Loops call this in the context of who opens the connection.
        noted = _noting.get()
        if noted is not None:
            made.__class__ = _NotingHandshake
            made._noted = noted
        return made


def _context(folder: str) -> ssl.SSLContext:
    made = _Context(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if _exists(folder, AUTHORITY):
        made.verify_flags |= ssl.VERIFY_X509_STRICT
        made.load_verify_locations(os.path.join(folder, AUTHORITY))
    else:
        made.load_default_certs()
    if _exists(folder, CERTIFICATE):
        os.stat(os.path.join(folder, KEY))
        made.load_cert_chain(os.path.join(folder, CERTIFICATE), os.path.join(folder, KEY))
    return made
