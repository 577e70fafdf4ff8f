"""The certificate authority: a root key, and pure signing from a request, a name and a time.

Leaf certificates follow X.509-SVID: https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BACKDATED = 300.0
"""Seconds by which a certificate is valid before it was made: clocks of nodes differ."""

ROOT_DAYS = 3650
_NO_CA = x509.BasicConstraints(ca=False, path_length=None)
_BOTH_SIDES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])


@dataclass(frozen=True)
class Leaf:
    """A signed certificate: PEM, serial number in hex, and when it is valid (seconds since 1970)."""

    chain: str
    serial: str
    not_before: float
    not_after: float


@dataclass(frozen=True)
class CertificateAuthority:
    """A root that signs. Its key shows in no output."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    root: x509.Certificate
    lifetime: float
    """Seconds that a leaf is valid from the moment it is signed, but never longer than the root."""

    @cached_property
    def roots(self) -> str:
        """The trust bundle: PEM."""
        return self.root.public_bytes(Encoding.PEM).decode()

    @cached_property
    def pin(self) -> str:
        """What a join token carries so that a new node knows the root: SHA-256 of its DER, in hex."""
        return self.root.fingerprint(hashes.SHA256()).hex()

    def sign(self, csr: str, identity: str, now: float) -> Leaf:
        """A certificate for `identity` (a URI) and the key of the request, whose names are ignored.

        Raises ValueError for a request that is unreadable, not signed with its own key, or of another type.
        """
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
        return self._leaf(_requested_key(csr), x509.Name([]), names, now)

    def sign_server(
        self, key: ec.EllipticCurvePublicKey, identity: str, names: Sequence[str], now: float
    ) -> Leaf:
        """The certificate of the server itself: the only kind that carries DNS names and addresses."""
        general: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity)]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "meshlite server")])
        return self._leaf(
            key, subject, x509.SubjectAlternativeName(general + [_general(n) for n in names]), now
        )

    def _leaf(
        self,
        key: ec.EllipticCurvePublicKey,
        subject: x509.Name,
        names: x509.SubjectAlternativeName,
        now: float,
    ) -> Leaf:
        start, end = now - BACKDATED, min(now + self.lifetime, self.root.not_valid_after_utc.timestamp())
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = (
            _builder(subject, self.root.subject, key, start, end)
            .add_extension(_NO_CA, critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(_BOTH_SIDES, critical=False)
            # RFC 5280 4.2.1.6: without a subject, the alternative name is what counts.
            .add_extension(names, critical=not list(subject))
            .add_extension(issuer_key, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        pem = certificate.public_bytes(Encoding.PEM).decode()
        return Leaf(pem, f"{certificate.serial_number:x}", start, end)


def create(trust_domain: str, lifetime: float, now: float) -> CertificateAuthority:
    """A new root (ECDSA P-256, ten years)."""
    return _self_signed(new_key(), trust_domain, lifetime, now)


def load_or_create(folder: Path, trust_domain: str, lifetime: float, now: float) -> CertificateAuthority:
    """The root kept in `folder` (root-key.pem mode 0600, root.pem); made there at the first start.

    The key is on the disk before its certificate, so a crash in between leaves a key whose certificate is
    made again. Raises ValueError where the files cannot be used, OSError where they cannot be read.
    """
    key_file, root_file = folder / "root-key.pem", folder / "root.pem"
    if not key_file.exists():
        if root_file.exists():
            raise ValueError(f"{root_file}: its key {key_file.name} is gone: restore both, or remove it")
        _write(key_file, key_pem(new_key()), 0o600)
    key = _load_key(key_file)
    if not root_file.exists():
        _write(root_file, _self_signed(key, trust_domain, lifetime, now).roots.encode(), 0o644)
    try:
        root = x509.load_pem_x509_certificate(root_file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{root_file}: not a PEM certificate: restore it from a backup") from error
    if root.public_key() != key.public_key():
        raise ValueError(f"{root_file}: does not belong to {key_file.name}: restore both from one backup")
    return CertificateAuthority(key, root, lifetime)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _self_signed(
    key: ec.EllipticCurvePrivateKey, trust_domain: str, lifetime: float, now: float
) -> CertificateAuthority:
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, trust_domain)])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")])
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    root = (
        _builder(subject, subject, key.public_key(), now - BACKDATED, now + ROOT_DAYS * 86400)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(names, critical=False)
        .add_extension(key_id, critical=False)
        .sign(key, hashes.SHA256())
    )
    return CertificateAuthority(key, root, lifetime)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start: float, end: float
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=_moment(start),
        not_valid_after=_moment(end),
    )


def _requested_key(csr: str) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        key, proven = request.public_key(), request.is_signature_valid
    except Exception as error:  # the library's parsers raise more than ValueError for hostile input
        raise ValueError("the certificate request is not readable PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the certificate request must have an ECDSA P-256 key")
    if not proven:
        raise ValueError("the certificate request is not signed with its own key")
    return key


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_key(file: Path) -> ec.EllipticCurvePrivateKey:
    if file.stat().st_mode & 0o077:
        raise ValueError(f"{file}: others may read this key: chmod 600 it, and replace it if they could")
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}: not a PEM private key without a password") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{file}: not an ECDSA key")
    return key


def _write(file: Path, content: bytes, mode: int) -> None:
    """Whole or not at all: a crash leaves no half key."""
    draft = file.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    draft.rename(file)
