# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Certificates: who is trusted by whom, what is due when, and an authority that changes while everybody goes on."""

from __future__ import annotations

import datetime
import ssl
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509

from turbolift.deploy.k8s.certificates import (
    AUTHORITY_LIFETIME,
    BEFORE,
    LIFETIME,
    SPREAD,
    Authority,
    Pair,
    is_due,
    issue_caller,
    issue_server,
    new_authority,
    read_authority,
    renewed,
)

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
NAMES = ("shop-double-6ade28e7-7cb79d554f", "shop-double-6ade28e7-7cb79d554f.shop", "s.shop.svc")


def meet(folder: Path, server: Pair, caller: Pair | None, trusted_there: bytes, trusted_here: bytes) -> str:
    """Let a caller and a server shake hands in memory; return "" or why not."""
    context = {}
    for kind, pair, trusted in ((0, server, trusted_there), (1, caller, trusted_here)):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if kind else ssl.PROTOCOL_TLS_SERVER)
        made.verify_mode = ssl.CERT_REQUIRED
        made.verify_flags |= ssl.VERIFY_X509_STRICT
        made.load_verify_locations(cadata=trusted.decode())
        if pair is not None:
            (folder / "crt").write_bytes(pair.certificate)
            (folder / "key").write_bytes(pair.key)
            made.load_cert_chain(folder / "crt", folder / "key")
        context[kind] = made
    there_in, there_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = context[0].wrap_bio(there_in, there_out, server_side=True)
    here = context[1].wrap_bio(there_out, there_in, server_hostname=NAMES[1])
    for _ in range(4):
        for side in (here, there):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return getattr(error, "verify_message", None) or str(error.reason)
    return ""


def test_callers_and_servers_trust_one_another_and_nobody_else(tmp_path: Path) -> None:
    one, other = new_authority("deploy", NOW), new_authority("deploy", NOW)
    server, caller = issue_server(one, NAMES, NOW), issue_caller(one, NOW)
    trusted = one.trusted()
    assert meet(tmp_path, server, caller, trusted, trusted) == ""
    assert "did not return a certificate" in meet(tmp_path, server, None, trusted, trusted).lower().replace(
        "_", " "
    )
    assert "unable to get local issuer" in meet(
        tmp_path, issue_server(other, NAMES, NOW), caller, trusted, trusted
    )
    assert "unable to get local issuer" in meet(tmp_path, server, issue_caller(other, NOW), trusted, trusted)
    # Of one authority, and yet not what they are taken for.
    assert "unsuitable certificate purpose" in meet(tmp_path, caller, caller, trusted, trusted)
    assert "unsuitable certificate purpose" in meet(tmp_path, server, server, trusted, trusted)
    assert "Hostname mismatch" in meet(tmp_path, issue_server(one, ("other",), NOW), caller, trusted, trusted)
    # What was issued signs nothing.
    forged = issue_server(Authority(server), NAMES, NOW)
    assert meet(tmp_path, forged, caller, trusted, trusted + server.certificate) != ""


def test_what_a_certificate_says() -> None:
    authority = new_authority("d" * 53, NOW)
    signer = authority.signer.parsed()
    assert signer.not_valid_before_utc == NOW - BEFORE
    assert signer.not_valid_after_utc == NOW + AUTHORITY_LIFETIME
    made = issue_server(authority, NAMES, NOW).parsed()
    assert (made.not_valid_before_utc, made.not_valid_after_utc) == (NOW - BEFORE, NOW + LIFETIME)
    alternatives = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert tuple(alternatives.get_values_for_type(x509.DNSName)) == NAMES
    # Never longer than who signed it.
    late = NOW + AUTHORITY_LIFETIME - DAY
    assert issue_caller(authority, late).parsed().not_valid_after_utc == NOW + AUTHORITY_LIFETIME


def test_an_authority_is_kept_as_it_is() -> None:
    authority = new_authority("deploy", NOW)
    following = Authority(
        authority.signer, new_authority("deploy", NOW).signer, (new_authority("d", NOW).signer.certificate,)
    )
    for one in (authority, following):
        assert read_authority(one.data()) == one
    for broken in (
        {},
        {**authority.data(), "tls.key": following.data()["next.key"]},
        {**authority.data(), "tls.crt": b"no certificate"},
        {
            **authority.data(),
            "ca.crt": authority.trusted() + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        },
    ):
        with pytest.raises((ValueError, KeyError)):
            read_authority(broken)


def test_what_is_due() -> None:
    authority = new_authority("deploy", NOW)
    pair = issue_server(authority, NAMES, NOW)
    # A third of its time is left.
    turn = NOW - BEFORE + (LIFETIME + BEFORE) * 2 / 3
    assert not is_due(pair, authority, NOW, NAMES)
    assert not is_due(pair, authority, turn - DAY, NAMES)
    assert is_due(pair, authority, turn + DAY, NAMES)
    assert is_due(pair, authority, NOW + LIFETIME + DAY, NAMES)
    assert is_due(pair, authority, NOW - BEFORE - DAY, NAMES)
    assert is_due(pair, authority, NOW, NAMES[:2])
    assert is_due(pair, new_authority("deploy", NOW), NOW, NAMES)
    assert is_due(Pair(pair.certificate, authority.signer.key), authority, NOW, NAMES)
    assert is_due(Pair(b"", b""), authority, NOW)
    caller = issue_caller(authority, NOW)
    assert not is_due(caller, authority, NOW)
    # Whoever renews by deploys once in four months has one that is always valid.
    assert LIFETIME / 3 > 4 * 30 * DAY


def test_an_authority_changes_and_nobody_notices(tmp_path: Path) -> None:
    """Ten years and more in the steps of monthly runs: any two that were put there in neighbouring steps agree."""
    authority = new_authority("deploy", NOW)
    states: list[tuple[Authority, Pair, Pair, bytes]] = []
    now = NOW
    signers = set()
    while now < NOW + AUTHORITY_LIFETIME * 1.5:
        again = renewed(authority, "deploy", now)
        assert renewed(again, "deploy", now) == again
        authority = again
        server, caller = issue_server(authority, NAMES, now), issue_caller(authority, now)
        states.append((authority, server, caller, authority.trusted()))
        signers.add(authority.signer.certificate)
        now += 30 * DAY
    assert len(signers) == 3
    for former, later in pairwise(states):
        if former[0] == later[0]:
            continue
        for there, here in ((former, later), (later, former)):
            # Whom the server trusts signed the caller's, and the other way round.
            assert trusts(there[3], here[2])
            assert trusts(here[3], there[1])
    # An authority that is not trusted yet does not sign; one that has expired is trusted no more.
    assert len(authority.former) <= 1
    fresh = renewed(states[0][0], "deploy", NOW + AUTHORITY_LIFETIME * 0.7)
    assert fresh.next is not None
    assert renewed(fresh, "deploy", NOW + AUTHORITY_LIFETIME * 0.7 + SPREAD / 2) == fresh
    assert renewed(fresh, "deploy", NOW + AUTHORITY_LIFETIME * 0.7 + SPREAD).signer == fresh.next


def trusts(trusted: bytes, pair: Pair) -> bool:
    made = pair.parsed()
    for one in x509.load_pem_x509_certificates(trusted):
        if one.subject == made.issuer:
            made.verify_directly_issued_by(one)
            return True
    return False
