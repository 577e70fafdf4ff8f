"""Private keys (ECDSA P-256) and certificate signing requests. Keys never leave this node."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Key:
    """A private key that does not show itself when printed."""

    def __init__(self, key: ec.EllipticCurvePrivateKey | None = None) -> None:
        self._key = key or ec.generate_private_key(ec.SECP256R1())

    def __repr__(self) -> str:
        return "Key(…)"

    @property
    def pem(self) -> bytes:
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def csr(self) -> str:
        """A signing request; its subject is empty, since the server sets all names."""
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def serial(chain: str) -> str:
    """The serial number of a PEM chain's leaf, in hex."""
    return f"{x509.load_pem_x509_certificate(chain.encode()).serial_number:x}"


def times(chain: str) -> tuple[float, float]:
    """When a PEM chain's leaf begins and ends to be valid, in seconds since 1970."""
    leaf = x509.load_pem_x509_certificate(chain.encode())
    return leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()


def pinned(roots: str, digest: str) -> str:
    """The PEM roots whose DER has this SHA-256 (hex); empty: none of them is the one meant."""
    found = [
        root
        for root in x509.load_pem_x509_certificates(roots.encode())
        if root.fingerprint(hashes.SHA256()).hex() == digest.lower()
    ]
    return "".join(root.public_bytes(serialization.Encoding.PEM).decode() for root in found)
