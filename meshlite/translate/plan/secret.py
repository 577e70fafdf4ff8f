"""Names of secrets: certificates by file or by credential. The agent reads them and gives them to Envoy."""

from __future__ import annotations

CREDENTIAL = "kubernetes://"
FILE = "file-cert:"
FILE_ROOTS = "file-root:"
ROOTS = "-cacert"
SYSTEM = "system"
"""Stands for a file of those who sign: the ones that the operating system trusts."""


def certificate(chain: str, key: str) -> str:
    """Two files: a certificate with what signed it, and its private key."""
    return f"{FILE}{chain}~{key}"


def roots(file: str, revoked: str = "") -> str:
    """A file of those who sign, and one of what they have taken back."""
    return f"{FILE_ROOTS}{file}" + (f"~{revoked}" if revoked else "")


def credential(name: str, namespace: str = "") -> str:
    """A credential of a namespace; without one, of the root namespace. A name may be whole already."""
    if "://" in name:
        return name
    return f"{CREDENTIAL}{namespace}/{name}" if namespace else f"{CREDENTIAL}{name}"


def credential_roots(name: str, namespace: str = "") -> str:
    """Those who sign, from the credential itself or from one of its own for them."""
    return credential(name, namespace) + ROOTS


def calling(identity: str) -> str:
    """The certificate by which a workload calls others; by its identity alone it is called."""
    return f"calling|{identity}"
