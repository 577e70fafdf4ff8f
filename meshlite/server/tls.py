"""The server's own certificate: made in memory at the start, renewed at half life and when roots change."""

from __future__ import annotations

import os
import socket
import ssl

from meshlite.model.identity import server_identity
from meshlite.server.authorities import AuthorityBook
from meshlite.server.ca import key_pem, new_key

SERVER_NAME = "meshlite-server"
"""A DNS name in every server certificate and in no other: nodes verify it, whatever address they dial."""


def names(address: str) -> tuple[str, ...]:
    """Names and addresses that the certificate carries, for an API that listens on `address`."""
    wildcard = address in ("0.0.0.0", "::", "")
    own = () if wildcard else (address,)
    return tuple(dict.fromkeys((SERVER_NAME, "localhost", socket.gethostname(), "127.0.0.1", "::1", *own)))


class Served:
    """`listening` is the context of the listener. Each handshake goes on with the newest, not with that one.

    So certificate and roots are replaced without closing the port; connections that stand go on.
    """

    def __init__(self, authorities: AuthorityBook, address: str) -> None:
        self._authorities, self._names = authorities, names(address)
        self._newest, self.renew_at = self._made()
        self.listening, _ = self._made()
        self.listening.sni_callback = self._choose
        authorities.changed.append(self.renew)

    def renew(self) -> None:
        """A new key and certificate, and the roots as they are now, for new connections."""
        self._newest, self.renew_at = self._made()

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._newest

    def _made(self) -> tuple[ssl.SSLContext, float]:
        """A context, and when the next one is due (seconds since 1970)."""
        book, now = self._authorities, self._authorities.clock.wall()
        context, key = _context(book.trust.roots), new_key()
        identity = server_identity(book.trust_domain)
        leaf = book.current.sign_server(key.public_key(), identity, self._names, now)
        # The ssl module reads files only: this one has no name, and is gone when closed.
        descriptor = os.memfd_create("meshlite-server")
        try:
            os.write(descriptor, key_pem(key) + (leaf.chain + book.bridges).encode())
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return context, now + (leaf.not_after - now) / 2


def _context(roots: str) -> ssl.SSLContext:
    """TLS 1.2 or newer; a client's certificate is verified if it shows one."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.verify_mode = ssl.CERT_OPTIONAL
    made.load_verify_locations(cadata=roots)
    # A resumed session would carry on with a certificate that may have expired meanwhile.
    made.num_tickets = 0
    made.options |= ssl.OP_NO_TICKET
    return made
