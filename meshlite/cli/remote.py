"""A server on another host: TLS to the root that the bearer token names, and the token only behind that."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from meshlite.cli.failure import Failure

SERVER_NAME = "meshlite-server"
"""A name in every certificate of a server, whatever address it is dialled by."""


@dataclass(frozen=True)
class Remote:
    """Where the server is and with what to show up. Made by `remote`."""

    url: str
    host: str
    port: int
    token: str = field(repr=False)

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """A connection to the very server that the token is from. Raises Failure for another, OSError."""
        root = self._root(timeout)
        return _Connection(self, ssl.create_default_context(cadata=root), timeout)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def _root(self, timeout: float) -> str:
        """The root (PEM) whose hash the token carries. Nothing secret is sent before it is known."""
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        connection = _Connection(self, anybody, timeout)
        try:
            connection.request("GET", "/v1/ca")
            answer = json.loads(connection.getresponse().read())
            # A root of before is good enough: the server's chain leads to it, too.
            roots = str(answer["roots"]) + str(answer.get("former", ""))
        except (ValueError, KeyError, TypeError):
            raise Failure("this is not a meshlite server", where=self.url) from None
        finally:
            connection.close()
        for part in roots.split("-----END CERTIFICATE-----")[:-1]:
            pem = part[part.find("-----BEGIN") :] + "-----END CERTIFICATE-----\n"
            if hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest() == self.token.rpartition(".")[2]:
                return pem
        raise Failure(
            "this is not the server that the token is from",
            where=self.url,
            why="it does not show the root certificate that the token names; the token was not sent",
            next_step="check --server; after a change of the mesh's root, ask for a new token",
        )


class _Connection(http.client.HTTPSConnection):
    def __init__(self, remote: Remote, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(remote.host, remote.port, timeout=timeout, context=context)
        self._tls = context

    def connect(self) -> None:
        plain = socket.create_connection((self.host, self.port), self.timeout)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=SERVER_NAME)
        except BaseException:
            plain.close()
            raise


def remote(url: str, token: str) -> Remote:
    """Raises Failure for what is no URL of a server, or no token of one."""
    parts = urlsplit(url)
    try:
        port = parts.port or 7443
    except ValueError:
        port = 0
    if parts.scheme != "https" or not parts.hostname or not port or parts.path not in ("", "/"):
        raise Failure(f"{url} is not the URL of a server", next_step="give one such as https://10.0.0.5:7443")
    secret, _, pin = token.rpartition(".")
    if not secret or len(pin) != 64 or not token.isascii() or not token.isprintable():
        raise Failure(
            "this is not a bearer token of meshlite",
            next_step="make one: meshlite access create NAME --role ROLE",
        )
    return Remote(url, parts.hostname, port, token)
