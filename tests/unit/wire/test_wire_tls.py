# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""When a certificate is valid, read without a library, against what a library says; and folders that change."""

from __future__ import annotations

import datetime
import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from turbolift.wire.tls import Credentials, CredentialsError, Validity, validity

KEY = ec.generate_private_key(ec.SECP256R1())
ODD = ed25519.Ed25519PrivateKey.generate()
TIMES = st.datetimes(datetime.datetime(1951, 1, 1), datetime.datetime(9998, 1, 1)).map(
    lambda found: found.replace(microsecond=0)
)


def certificate(
    begin: datetime.datetime, end: datetime.datetime, common: str, serial: int
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(ODD.public_key())
        .serial_number(serial)
        .not_valid_before(begin)
        .not_valid_after(end)
        .sign(KEY, hashes.SHA256())
    )


_DER = certificate(datetime.datetime(2026, 1, 1), datetime.datetime(2027, 1, 1), "a", 1).public_bytes(
    serialization.Encoding.DER
)[:90]


@settings(max_examples=200, deadline=None)
@given(TIMES, TIMES, st.text("abc äß", min_size=1, max_size=32), st.integers(1, 2**158))
def test_times_are_those_that_a_library_reads(
    one: datetime.datetime, other: datetime.datetime, common: str, serial: int
) -> None:
    made = certificate(min(one, other), max(one, other), common, serial)
    expected = Validity(made.not_valid_before_utc.timestamp(), made.not_valid_after_utc.timestamp())
    assert validity(made.public_bytes(serialization.Encoding.DER)) == expected
    pem = made.public_bytes(serialization.Encoding.PEM)
    assert validity(b"text before\n" + pem + pem) == expected


@given(st.binary(max_size=60) | st.integers(0, 200).map(lambda size: _DER[:size]))
def test_what_is_no_certificate(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not an X\.509 certificate"):
        validity(data)


def test_both_times_are_named() -> None:
    found = Validity(1_000_000_000.0, 1_100_000_000.0)
    assert found.trouble(1_050_000_000.0) == ""
    assert found.trouble(1_100_000_001.0) == (
        "expired at 2004-11-09 11:33:20 UTC, and it is 2004-11-09 11:33:21 UTC by this machine's clock"
    )
    assert found.trouble(999_999_999.0) == (
        "is not valid before 2001-09-09 01:46:40 UTC, and it is 2001-09-09 01:46:39 UTC by this machine's clock: "
        "one of the clocks is wrong"
    )


def test_a_folder_is_read_again_when_its_files_were_replaced(tmp_path: Path) -> None:
    made: list[str] = []
    said: list[str] = []

    def make(folder: str) -> ssl.SSLContext:
        text = (Path(folder) / "tls.crt").read_text()
        made.append(text)
        if text == "broken":
            raise CredentialsError("it is broken")
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def put(text: str) -> None:
        (tmp_path / "new").write_text(text)
        os.replace(tmp_path / "new", tmp_path / "tls.crt")

    one = Credentials(str(tmp_path), make, said.append)
    with pytest.raises(CredentialsError, match=r"tls\.crt: No such file or directory"):
        one.context()
    put("broken")
    with pytest.raises(CredentialsError, match="it is broken"):
        one.context()
    put("1")
    first = one.context()
    assert one.context() is first
    put("2")
    second = one.context()
    assert second is not first
    put("broken")
    assert one.context() is second
    assert one.context() is second
    assert made == ["broken", "1", "2", "broken"]
    assert said == ["it is broken"]
    put("3")
    assert one.context() is not second
