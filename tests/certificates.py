"""Certificates of the tests' own: authorities, and what they sign."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: str
    key: str


@dataclass(frozen=True)
class Authority(Pair):
    name: x509.Name
    signer: PrivateKey

    def leaf(self, *hosts: str, ecdsa: bool = True, uri: str = "", serial: int = 0, days: int = 1) -> Pair:
        """A certificate for hosts, or for a client by its URI. `days`: until it ends."""
        key = _key(ecdsa)
        names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
        names += [x509.UniformResourceIdentifier(uri)] if uri else []
        built = _built(_name(hosts[0] if hosts else "client"), self.name, key, serial, days)
        built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Pair(_pem(built.sign(self.signer, hashes.SHA256())), _key_pem(key))

    def revoked(self, *serials: int) -> str:
        """Its list of certificates that it has taken back, as PEM."""
        now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
        listed = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(now)
        listed = listed.next_update(now + datetime.timedelta(days=1))
        for serial in serials:
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            listed = listed.add_revoked_certificate(one)
        signed = listed.sign(self.signer, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()


def authority(name: str) -> Authority:
    key, subject = _key(ecdsa=True), _name(name)
    built = _built(subject, subject, key).add_extension(x509.BasicConstraints(True, None), critical=True)
    return Authority(_pem(built.sign(key, hashes.SHA256())), _key_pem(key), subject, key)


def _built(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, serial: int = 0, days: int = 1
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _key(ecdsa: bool) -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1()) if ecdsa else rsa.generate_private_key(65537, 2048)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
