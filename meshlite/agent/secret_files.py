"""Reads the files of a secret and judges whether they are what they should be; imported when one is there."""

from __future__ import annotations

import base64
import os
import stat
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from meshlite.agent.wanted_files import Wanted

LARGEST = 2**20


class Unreadable(Exception):
    """Why a secret cannot be had, said to a person; never with a word of what is in a file."""


def content(found: Wanted, now: datetime) -> tuple[dict[str, Any], str]:
    """The secret's fields, and a warning if it is of little use. Raises Unreadable."""
    if found.roots:
        return _roots(found), ""
    chain_file, chain = _read(found.chain)
    key_file, key = _read(found.key)
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except (ValueError, UnsupportedAlgorithm):
        raise Unreadable(f"{chain_file} holds no certificate in PEM form") from None
    try:
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Unreadable(f"{key_file} holds no private key in PEM form without a passphrase") from None
    if private.public_key() != certificates[0].public_key():
        raise Unreadable(f"{key_file} is not the key of the certificate in {chain_file}")
    fields = {"certificate_chain": _inline(chain), "private_key": _inline(key)}
    if any(path.exists() for path in found.staple):
        fields["ocsp_staple"] = _inline(_read(found.staple)[1])
    expired = certificates[0].not_valid_after_utc
    warning = f"the certificate in {chain_file} has expired on {expired:%Y-%m-%d}" if expired < now else ""
    return {"tls_certificate": fields}, warning


def _roots(found: Wanted) -> dict[str, Any]:
    file, roots = _read(found.roots)
    try:
        x509.load_pem_x509_certificates(roots)
    except (ValueError, UnsupportedAlgorithm):
        raise Unreadable(f"{file} holds no certificates in PEM form") from None
    fields = {"trusted_ca": _inline(roots)}
    if any(path.exists() for path in found.revoked) or len(found.revoked) == 1:
        file, revoked = _read(found.revoked)
        try:
            x509.load_pem_x509_crl(revoked)
        except (ValueError, UnsupportedAlgorithm):
            raise Unreadable(f"{file} holds no list of revoked certificates in PEM form") from None
        fields["crl"] = _inline(revoked)
    return {"validation_context": fields}


def _inline(data: bytes) -> dict[str, str]:
    return {"inline_bytes": base64.b64encode(data).decode()}


def _read(places: tuple[Path, ...]) -> tuple[Path, bytes]:
    """The first of these files that is there."""
    for path in places:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Unreadable(f"{path} cannot be read: {error.strerror}") from None
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise Unreadable(f"{path} is not a file")
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise Unreadable(f"{path} is larger than a certificate can be")
        return path, data
    raise Unreadable(f"{places[0]} does not exist")
