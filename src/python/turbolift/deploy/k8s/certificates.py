# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The certificates of a deployment: its authority, and what that signs. Nothing here knows a cluster or a clock.

An authority changes in steps that no caller notices, one a run at most: the next one is made and trusted beside the
one that signs; once everybody has heard of it (`SPREAD`) it signs; the former one is trusted until it expires.
"""

from __future__ import annotations

import datetime
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from turbolift.wire.tls import AUTHORITY, CERTIFICATE, KEY

AUTHORITY_LIFETIME = datetime.timedelta(days=3650)
LIFETIME = datetime.timedelta(days=365)
"""Of what an authority signs. Only a run of deploy renews it: longer than people leave a deployment alone."""

BEFORE = datetime.timedelta(hours=1)
"""How long before it is made a certificate becomes valid: clocks differ."""

SPREAD = datetime.timedelta(hours=1)
"""How long the next authority is trusted before it signs: kubelets show a changed Secret within 90 s."""

NEXT_CERTIFICATE = "next.crt"
NEXT_KEY = "next.key"

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
_CALLER = "turbolift.dev/caller"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes

    def parsed(self) -> x509.Certificate:
        """Return the certificate. Raises ValueError."""
        return x509.load_pem_x509_certificate(self.certificate)


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs (`signer`), who will (`next`), and the certificates of who did (`former`)."""

    signer: Pair
    next: Pair | None = None
    former: tuple[bytes, ...] = ()

    def trusted(self) -> bytes:
        """Return the certificates that callers and servers trust, as PEM."""
        following = [] if self.next is None else [self.next.certificate]
        return b"".join([self.signer.certificate, *following, *self.former])

    def data(self) -> dict[str, bytes]:
        """Return what a Secret keeps of it."""
        following = (
            {} if self.next is None else {NEXT_CERTIFICATE: self.next.certificate, NEXT_KEY: self.next.key}
        )
        return {
            CERTIFICATE: self.signer.certificate,
            KEY: self.signer.key,
            AUTHORITY: self.trusted(),
            **following,
        }


def read_authority(data: Mapping[str, bytes]) -> Authority:
    """Return the authority that `Authority.data` gave. Raises ValueError, KeyError."""
    signer = Pair(data[CERTIFICATE], data[KEY])
    following = Pair(data[NEXT_CERTIFICATE], data[NEXT_KEY]) if NEXT_CERTIFICATE in data else None
    for one in (signer, following):
        if one is not None:
            _signing_key(one)
    known = {signer.certificate, following.certificate if following else b""}
    former = tuple(one for one in _PEM.findall(data[AUTHORITY]) if one not in known)
    for certificate in former:
        x509.load_pem_x509_certificate(certificate)
    return Authority(signer, following, former)


def new_authority(deployment: str, now: datetime.datetime) -> Authority:
    """Return an authority for `deployment`."""
    return Authority(_new_signer(deployment, now))


def renewed(authority: Authority, deployment: str, now: datetime.datetime) -> Authority:
    """Return the authority that should be by `now`: an equal one where nothing is due."""
    signer, following = authority.signer, authority.next
    former = tuple(
        one for one in authority.former if x509.load_pem_x509_certificate(one).not_valid_after_utc > now
    )
    if following is None and _is_late(signer.parsed(), now):
        return Authority(signer, _new_signer(deployment, now), former)
    if following is not None and following.parsed().not_valid_before_utc + BEFORE + SPREAD <= now:
        return Authority(following, None, (signer.certificate, *former))
    return Authority(signer, following, former)


def issue_server(authority: Authority, names: Sequence[str], now: datetime.datetime) -> Pair:
    """Return a certificate for a server that is called by `names`, the first of them a DNS label."""
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    return _issue(authority.signer, names[0], ExtendedKeyUsageOID.SERVER_AUTH, alternatives, now)


def issue_caller(authority: Authority, now: datetime.datetime) -> Pair:
    """Return a certificate for callers: servers admit it, and nobody takes it for a server's."""
    alternatives = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"https://{_CALLER}")])
    return _issue(authority.signer, _CALLER, ExtendedKeyUsageOID.CLIENT_AUTH, alternatives, now)


def is_due(
    pair: Pair, authority: Authority, now: datetime.datetime, names: Iterable[str] | None = None
) -> bool:
    """Return whether `pair` must be issued anew: little time left, another signer, other `names`, or broken."""
    try:
        certificate = pair.parsed()
        key = serialization.load_pem_private_key(pair.key, None)
        certificate.verify_directly_issued_by(authority.signer.parsed())
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:
        # Whatever is wrong with it, in the many words that a parser has for that.
        return True
    if key.public_key() != certificate.public_key() or _is_late(certificate, now):
        return True
    if now < certificate.not_valid_before_utc:
        return True
    return names is not None and alternatives.get_values_for_type(x509.DNSName) != list(names)


def _is_late(certificate: x509.Certificate, now: datetime.datetime) -> bool:
    """Return whether less than a third of its time is left."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return end - now < (end - begin) / 3


def _signing_key(pair: Pair) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pair.key, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != pair.parsed().public_key():
        raise ValueError("the key is not the certificate's")
    return key


def _new_signer(deployment: str, now: datetime.datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    # A serial number in its name: two of them are trusted at once, and told apart by people too.
    name = _name(f"turbolift {deployment}", secrets.token_hex(4))
    certificate = (
        _builder(name, name, key, now, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key)


def _issue(
    signer: Pair,
    name: str,
    usage: ObjectIdentifier,
    alternatives: x509.SubjectAlternativeName,
    now: datetime.datetime,
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = signer.parsed()
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    # No longer than who signed it.
    lifetime = min(LIFETIME, issuer.not_valid_after_utc - now)
    certificate = (
        _builder(_name(name), issuer.subject, key, now, lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(alternatives, critical=False)
        .sign(_signing_key(signer), hashes.SHA256())
    )
    return _pair(certificate, key)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str, serial: str = "") -> x509.Name:
    serials = [x509.NameAttribute(NameOID.SERIAL_NUMBER, serial)] if serial else []
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common), *serials])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    lifetime: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEFORE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
