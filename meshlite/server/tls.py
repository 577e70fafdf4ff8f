"""The server's own certificate: made in memory at the start, renewed at half life in the same TLS context."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence

from meshlite.model.identity import server_identity
from meshlite.server.ca import CertificateAuthority, key_pem, new_key

SERVER_NAME = "meshlite-server"
"""A DNS name in every server certificate and in no other: nodes verify it, whatever address they dial."""


def names(address: str) -> tuple[str, ...]:
    """Names and addresses that the certificate carries, for an API that listens on `address`."""
    wildcard = address in ("0.0.0.0", "::", "")
    own = () if wildcard else (address,)
    return tuple(dict.fromkeys((SERVER_NAME, "localhost", socket.gethostname(), "127.0.0.1", "::1", *own)))


def context(authority: CertificateAuthority) -> ssl.SSLContext:
    """TLS 1.2 or newer; a client's certificate is verified if it shows one."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.verify_mode = ssl.CERT_OPTIONAL
    made.load_verify_locations(cadata=authority.roots)
    # A resumed session would carry on with a certificate that may have expired meanwhile.
    made.num_tickets = 0
    made.options |= ssl.OP_NO_TICKET
    return made


def renew(
    served: ssl.SSLContext,
    authority: CertificateAuthority,
    trust_domain: str,
    names: Sequence[str],
    now: float,
) -> float:
    """Give the context a new key and certificate; new connections get it. Returns when to do so again."""
    key = new_key()
    leaf = authority.sign_server(key.public_key(), server_identity(trust_domain), names, now)
    # The ssl module reads files only: this one has no name, and is gone when closed.
    descriptor = os.memfd_create("meshlite-server")
    try:
        os.write(descriptor, key_pem(key) + leaf.chain.encode())
        served.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return now + (leaf.not_after - now) / 2
