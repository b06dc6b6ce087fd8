# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Certificates on disk: a folder with ``tls.crt``, ``tls.key`` and ``ca.crt``, as Kubernetes mounts a Secret.

Whoever keeps such a folder replaces its files while they are in use (a kubelet swaps a symbolic link). They are looked
at for each new connection, and read again where they were replaced; connections that are open live on.
"""

from __future__ import annotations

import datetime
import os
import re
import ssl
import time
from collections.abc import Callable
from typing import Final, NamedTuple

CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
AUTHORITY: Final = "ca.crt"
FILES: Final = (CERTIFICATE, KEY, AUTHORITY)

HANDSHAKE_TIME: Final = 10.0
"""Seconds that a handshake may take."""

SHUTDOWN_TIME: Final = 1.0
"""Seconds that the peer has to say that it is done too, when a connection is closed."""

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_TIME_TAGS = {0x17: 2, 0x18: 4}  # UTCTime, GeneralizedTime: digits of the year
_EXPLICIT_VERSION = 0xA0

Signature = tuple[object, ...]


class CredentialsError(Exception):
    """The files of a folder cannot be used; the message names the file and says why."""


class Validity(NamedTuple):
    """From when to when a certificate is valid, in seconds since 1970."""

    begin: float
    end: float

    def trouble(self, now: float | None = None) -> str:
        """Return "" where `now` (the clock's time) is within it, else what is wrong, with both times."""
        now = time.time() if now is None else now
        if now < self.begin:
            return (
                f"is not valid before {utc(self.begin)}, and it is {utc(now)} by this machine's clock: one of the "
                "clocks is wrong"
            )
        if now > self.end:
            return f"expired at {utc(self.end)}, and it is {utc(now)} by this machine's clock"
        return ""


def utc(seconds: float) -> str:
    """Return a time (seconds since 1970) as people read it."""
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"


def validity(certificate: bytes) -> Validity:
    """Return when the first certificate of `certificate` (PEM, or one as DER) is valid.

    The standard library says it of a peer that was verified, and of no other. Raises ValueError.
    """
    found = _PEM.search(certificate)
    data = ssl.PEM_cert_to_DER_cert(found.group().decode("ascii")) if found else certificate
    try:
        _, at, _ = _element(data, 0)
        _, at, _ = _element(data, at)  # tbsCertificate
        tag, _, end = _element(data, at)
        for _ in range(4 if tag == _EXPLICIT_VERSION else 3):  # (version,) serial number, signature, issuer
            _, _, end = _element(data, at)
            at = end
        _, at, _ = _element(data, at)
        tag, start, end = _element(data, at)
        begin = _time(tag, data[start:end])
        tag, start, end = _element(data, end)
        return Validity(begin, _time(tag, data[start:end]))
    except (IndexError, KeyError, ValueError, UnicodeDecodeError):
        raise ValueError("not an X.509 certificate") from None


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Return tag, and begin and end of the content, of the DER element at `at`."""
    tag, length, start = data[at], data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    if start + length > len(data):
        raise ValueError("cut off")
    return tag, start, start + length


def _time(tag: int, text: bytes) -> float:
    digits = text.decode("ascii")
    year = int(digits[: _TIME_TAGS[tag]])
    if tag == 0x17:
        year += 2000 if year < 50 else 1900
    rest = digits[_TIME_TAGS[tag] :].removesuffix("Z")
    month, day, hour, minute, second = (int(rest[index : index + 2]) for index in range(0, 10, 2))
    return datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.UTC).timestamp()


class Credentials:
    """The context of the files in `folder`; `make` makes it and raises CredentialsError, OSError or ssl.SSLError.

    Files that were replaced and cannot be used are told to `complain`, once, and the former ones stay in use.
    """

    def __init__(
        self, folder: str, make: Callable[[str], ssl.SSLContext], complain: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self._make = make
        self._complain = complain
        self._signature: Signature | None = None
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context of the files as they are now. Raises CredentialsError where none were ever good."""
        signature = _signature(self.folder)
        if self._context is not None and signature == self._signature:
            return self._context
        made: ssl.SSLContext | None = None
        trouble = ""
        for _ in range(3):
            try:
                made, trouble = self._made(), ""
            except CredentialsError as error:
                made, trouble = None, str(error)
            # A certificate of one version and a key of another are no pair: read again what was replaced meanwhile.
            before, signature = signature, _signature(self.folder)
            if before == signature:
                break
        self._signature = signature
        if made is not None:
            self._context = made
        elif self._context is None:
            raise CredentialsError(trouble)
        else:
            self._complain(trouble)
        return self._context

    def _made(self) -> ssl.SSLContext:
        try:
            return self._make(self.folder)
        except ssl.SSLError as error:
            said = (
                "tls.key is not the key of tls.crt" if error.reason == "KEY_VALUES_MISMATCH" else error.reason
            )
            raise CredentialsError(
                f"{self.folder}: its certificates cannot be used: {said or error}"
            ) from None
        except OSError as error:
            raise CredentialsError(f"{error.filename or self.folder}: {error.strerror or error}") from None


def certificate_validity(folder: str) -> Validity | None:
    """Return when the certificate in `folder` is valid; None where there is none that can be read."""
    try:
        with open(os.path.join(folder, CERTIFICATE), "rb") as file:
            return validity(file.read())
    except (OSError, ValueError):
        return None


def _signature(folder: str) -> Signature:
    return tuple(_stamp(os.path.join(folder, name)) for name in FILES)


def _stamp(path: str) -> object:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
