"""Private keys (ECDSA P-256) with their signing requests, and what can be read off certificates.

Keys are made in a short-lived process (keysmith.py): the library for that would stay in the agent's memory
for good (11 MB), and is needed twice a day.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import ssl
import sys
from dataclasses import dataclass, field

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
_INTEGER, _URI = 0x02, 0x86


@dataclass(frozen=True)
class Key:
    """A private key (PEM), which does not show itself when printed, and a signing request for it (PEM)."""

    pem: str = field(repr=False)
    csr: str


async def make(count: int) -> list[Key]:
    """New keys. Raises OSError where they cannot be made."""
    smith = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "meshlite.agent.keysmith", str(count)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await smith.communicate()
    if smith.returncode:
        raise OSError(f"no private key could be made: {errors.decode().strip()[-300:]}")
    return [Key(**made) for made in json.loads(output)]


def serial(chain: str) -> str:
    """The serial number of a PEM chain's leaf, in hex.

    It is the first integer of the certificate's body, after an optional version (RFC 5280, 4.1).
    """
    match = _PEM.search(chain)
    if match is None:
        return ""
    body = _content(_content(ssl.PEM_cert_to_DER_cert(match[0])))
    while body and body[0] != _INTEGER:
        body = body[_header(body) + len(_content(body)) :]
    return f"{int.from_bytes(_content(body), 'big'):x}"


def uri(chain: str) -> str:
    """The SPIFFE URI that a PEM chain's leaf is for; empty where it has none (RFC 5280, 4.2.1.6)."""
    match = _PEM.search(chain)
    body = ssl.PEM_cert_to_DER_cert(match[0]) if match else b""
    begin = body.find(b"spiffe://")
    for element in (body[begin - size :] for size in (2, 3) if begin >= size):
        if element[0] == _URI and element[_header(element) :].startswith(b"spiffe://"):
            return _content(element).decode(errors="replace")
    return ""


def pinned(roots: str, digest: str) -> str:
    """The PEM roots whose DER has this SHA-256 (hex); empty: none of them is the one meant."""
    found = [
        root
        for root in _PEM.findall(roots)
        if hashlib.sha256(ssl.PEM_cert_to_DER_cert(root)).hexdigest() == digest.lower()
    ]
    return "".join(found)


def pins(roots: str) -> frozenset[str]:
    """The SHA-256 (hex) of each PEM root's DER."""
    found = _PEM.findall(roots)
    return frozenset(hashlib.sha256(ssl.PEM_cert_to_DER_cert(root)).hexdigest() for root in found)


def _header(der: bytes) -> int:
    """How long tag and length of a DER element are."""
    return 2 + (der[1] & 0x7F if der[1] & 0x80 else 0)


def _content(der: bytes) -> bytes:
    """What is inside a DER element."""
    start = _header(der)
    size = int.from_bytes(der[2:start], "big") if der[1] & 0x80 else der[1]
    return der[start : start + size]
