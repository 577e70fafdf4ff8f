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
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
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


SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
"""What an authority may sign with: what every proxy can verify."""


@dataclass(frozen=True)
class Leaf:
    """A signed certificate: PEM, serial number in hex, and when it is valid (seconds since 1970)."""

    chain: str
    serial: str
    not_before: float
    not_after: float


@dataclass(frozen=True)
class CertificateAuthority:
    """A root, or an intermediate under one, that signs. Its key shows in no output."""

    key: SigningKey = field(repr=False)
    root: x509.Certificate
    lifetime: float
    """Seconds that a leaf is valid from the moment it is signed, but never longer than those above it."""

    between: tuple[x509.Certificate, ...] = ()
    """Intermediates, the one that signs first, the one that the root signed last; none: the root signs."""

    @property
    def certificate(self) -> x509.Certificate:
        """The one that leaves are signed by."""
        return self.between[0] if self.between else self.root

    @cached_property
    def signer(self) -> str:
        """Names what signs, root or intermediate: SHA-256 of its DER, in hex."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @cached_property
    def above(self) -> str:
        """What follows a leaf in its chain: the intermediates, PEM."""
        return "".join(pem(one) for one in self.between)

    @cached_property
    def ends(self) -> float:
        """When the first of those above a leaf ends to be valid, in seconds since 1970."""
        return min(one.not_valid_after_utc.timestamp() for one in (*self.between, self.root))

    @cached_property
    def roots(self) -> str:
        """The root: PEM."""
        return pem(self.root)

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
        start, end = now - BACKDATED, min(now + self.lifetime, self.ends)
        certificate = (
            _builder(subject, self.certificate.subject, key, start, end)
            .add_extension(_NO_CA, critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(_BOTH_SIDES, critical=False)
            # RFC 5280 4.2.1.6: without a subject, the alternative name is what counts.
            .add_extension(names, critical=not list(subject))
            .add_extension(self._key_id, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return Leaf(pem(certificate) + self.above, f"{certificate.serial_number:x}", start, end)

    def vouch(self, root: x509.Certificate) -> x509.Certificate | None:
        """A bridge to another root: its name and key, signed by this one, for whoever knows only this one.

        None where this one's path length allows no further authority.
        """
        limit = self.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        key = root.public_key()
        if limit == 0 or not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            return None
        start = max(root.not_valid_before_utc, self.certificate.not_valid_before_utc).timestamp()
        end = min(self.ends, root.not_valid_after_utc.timestamp())
        return (
            _builder(root.subject, self.certificate.subject, key, start, end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(key_id(root), critical=False)
            .add_extension(self._key_id, critical=False)
            .sign(self.key, hashes.SHA256())
        )

    @cached_property
    def _key_id(self) -> x509.AuthorityKeyIdentifier:
        """The signing key as certificates below name it."""
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id(self.certificate))


def create(trust_domain: str, lifetime: float, now: float) -> CertificateAuthority:
    """A new root (ECDSA P-256, ten years)."""
    return _self_signed(new_key(), trust_domain, lifetime, now)


def load_or_create(folder: Path, trust_domain: str, lifetime: float, now: float) -> CertificateAuthority:
    """The first root, kept in `folder` (root-key.pem mode 0600, root.pem); made there at the first start.

    The key is on the disk before its certificate, so a crash in between leaves a key whose certificate is
    made again. Raises ValueError where the files cannot be used, OSError where they cannot be read.
    """
    key_file, root_file = folder / "root-key.pem", folder / "root.pem"
    if not key_file.exists():
        if root_file.exists():
            raise ValueError(f"{root_file}: its key {key_file.name} is gone: restore both, or remove it")
        write(key_file, key_pem(new_key()), 0o600)
    key = load_key(key_file)
    if not root_file.exists():
        write(root_file, _self_signed(key, trust_domain, lifetime, now).roots.encode(), 0o644)
    try:
        root = x509.load_pem_x509_certificate(root_file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{root_file}: not a PEM certificate: restore it from a backup") from error
    if root.public_key() != key.public_key():
        raise ValueError(f"{root_file}: does not belong to {key_file.name}: restore both from one backup")
    return CertificateAuthority(key, root, lifetime)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _self_signed(key: SigningKey, trust_domain: str, lifetime: float, now: float) -> CertificateAuthority:
    """Roots of one mesh have different names, so that people and verifiers tell them apart."""
    own_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = x509.NameAttribute(NameOID.COMMON_NAME, f"meshlite root {own_id.digest.hex()[:8]}")
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, trust_domain), name])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")])
    root = (
        _builder(subject, subject, key.public_key(), now - BACKDATED, now + ROOT_DAYS * 86400)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(names, critical=False)
        .add_extension(own_id, critical=False)
        .sign(key, hashes.SHA256())
    )
    return CertificateAuthority(key, root, lifetime)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    start: float,
    end: float,
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


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def key_id(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier:
    """How certificates below name this one's key: as it says itself, else by the common rule."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        return x509.SubjectKeyIdentifier.from_public_key(key)


def key_pem(key: SigningKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_key(file: Path) -> SigningKey:
    """Raises ValueError for what is no key that signs, or is open to others."""
    if file.stat().st_mode & 0o077:
        raise ValueError(f"{file}: others may read this key: chmod 600 it, and replace it if they could")
    try:
        return read_key(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def read_key(written: bytes) -> SigningKey:
    """Raises ValueError with a reason that does not repeat what was written."""
    try:
        key = load_pem_private_key(written, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("not a PEM private key without a password") from error
    if not isinstance(key, SigningKey):
        raise ValueError("not an ECDSA or RSA key")
    return key


def write(file: Path, content: bytes, mode: int) -> None:
    """Whole or not at all: a crash leaves no half key."""
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    draft.rename(file)
