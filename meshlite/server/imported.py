"""An authority that people bring along: what is taken of the files, and why they are refused. Pure."""

from __future__ import annotations

import datetime
import re
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from meshlite.server.ca import CertificateAuthority, SigningKey, read_key

_KEYS = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
SHORTEST_RSA = 2048
Kind = TypeVar("Kind", bound=x509.ExtensionType)


def imported(certificate: str, key: str, chain: str, lifetime: float, now: float) -> CertificateAuthority:
    """All PEM: the certificate that shall sign, its key, and what is above it up to the root, in any order.

    Raises ValueError in a sentence that says which of the files is wrong and what it should be.
    """
    signing, *more = _certificates(certificate, "the certificate")
    own = _key(key)
    if signing.public_key() != own.public_key():
        raise ValueError("the key is not that of the certificate: give the two that were made together")
    path = _path(signing, [*more, *(_certificates(chain, "the chain") if chain.strip() else ())])
    for below, one in enumerate(path):
        _check(one, below, now)
    return CertificateAuthority(own, path[-1], lifetime, tuple(path[:-1]))


def _certificates(written: str, what: str) -> list[x509.Certificate]:
    raw = written.encode()
    if _KEYS.search(raw) and what != "the certificate":
        raise ValueError(f"{what} holds a private key: it takes certificates only")
    try:
        return x509.load_pem_x509_certificates(raw)
    except ValueError as error:
        raise ValueError(f"{what} is not PEM with certificates") from error


def _key(written: str) -> SigningKey:
    try:
        key = read_key(written.encode())
    except ValueError as error:
        raise ValueError(f"the key is {error}") from error
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < SHORTEST_RSA:
        raise ValueError(f"the key has {key.key_size} bits: RSA keys need at least {SHORTEST_RSA}")
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name not in _CURVES:
        raise ValueError(f"the key is on curve {key.curve.name}: proxies verify P-256, P-384 and P-521")
    return key


def _path(signing: x509.Certificate, others: list[x509.Certificate]) -> list[x509.Certificate]:
    """From the one that signs to its root."""
    path = [signing]
    while not _signed(path[-1], path[-1]):
        above = next((one for one in others if one not in path and _signed(path[-1], one)), None)
        if above is None:
            missing = path[-1].issuer.rfc4514_string() or "without a name"
            raise ValueError(
                f"the chain does not reach a root: the issuer of {_name(path[-1])}, {missing}, is not in it"
            )
        path.append(above)
    return path


def _signed(one: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _check(one: x509.Certificate, below: int, now: float) -> None:
    """`below`: how many authorities are between this one and a leaf."""
    name, at = _name(one), datetime.datetime.fromtimestamp(now, datetime.UTC)
    if one.not_valid_after_utc <= at:
        raise ValueError(f"{name} expired on {one.not_valid_after_utc:%Y-%m-%d}")
    if one.not_valid_before_utc > at:
        raise ValueError(f"{name} is not valid before {one.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
    constraints = _extension(one, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise ValueError(f"{name} is not that of an authority (basic constraints: CA)")
    if constraints.path_length is not None and constraints.path_length < below:
        raise ValueError(
            f"{name} allows a path length of {constraints.path_length}, and {below} authorities are below it"
        )
    usage = _extension(one, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise ValueError(f"{name} may not sign certificates (key usage: keyCertSign)")
    if _extension(one, x509.NameConstraints) is not None:
        raise ValueError(f"{name} has name constraints, which verifiers judge unlike for SPIFFE names")


def _extension(one: x509.Certificate, kind: type[Kind]) -> Kind | None:
    try:
        return one.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name(one: x509.Certificate) -> str:
    return one.subject.rfc4514_string() or f"certificate {one.serial_number:x}"
