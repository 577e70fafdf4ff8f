"""How a node becomes part of the mesh: a token once, then a certificate, renewed at half of its life."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from meshlite.agent import keys
from meshlite.agent.keys import Key
from meshlite.config import Settings
from meshlite.model.wire import Authority, Certificate, JoinRequest, RenewRequest, Token, TokenRequest

SERVER_NAME = "meshlite-server"
"""The DNS name in the server's certificate, wherever it is dialed; no other certificate has one."""


class Refused(Exception):
    """The server answered, and did not do what it was asked: `status` of HTTP and its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class NodeFiles:
    """The node's certificate on disk: key (0600), chain, and the roots to check the server by."""

    folder: Path

    @property
    def key(self) -> Path:
        return self.folder / "node.key"

    @property
    def chain(self) -> Path:
        return self.folder / "node.pem"

    @property
    def roots(self) -> Path:
        return self.folder / "roots.pem"

    @property
    def times(self) -> Path:
        """When the certificate begins and ends to be valid: two numbers, seconds since 1970."""
        return self.folder / "node.times"

    @property
    def complete(self) -> bool:
        return all(file.exists() for file in (self.key, self.chain, self.roots, self.times))

    def lifetime(self) -> tuple[float, float]:
        begin, end = self.times.read_text().split()
        return float(begin), float(end)

    def keep(self, key: Key, certificate: Certificate) -> None:
        """The chain comes last: with it the set counts as complete."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self.chain.unlink(missing_ok=True)
        for file, content in (
            (self.key, key.pem.encode()),
            (self.roots, certificate.roots.encode()),
            (self.times, f"{certificate.not_before} {certificate.not_after}".encode()),
            (self.chain, certificate.chain.encode()),
        ):
            write_private(file, content)

    def discard(self) -> None:
        for file in (self.chain, self.key, self.roots, self.times):
            file.unlink(missing_ok=True)

    def context(self) -> ssl.SSLContext:
        """For TLS as this node. Raises OSError where the files are not what they should be."""
        context = ssl.create_default_context(cafile=str(self.roots))
        context.load_cert_chain(self.chain, self.key)
        return context


def write_private(file: Path, content: bytes) -> None:
    """Replace a file as a whole, readable by root only."""
    fresh = file.with_name(file.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
        opened.write(content)
    fresh.replace(file)


def url_of(settings: Settings) -> str:
    """Where the server is: the one of the settings, else this host's."""
    if settings.server:
        return settings.server.rstrip("/")
    host = settings.server_address
    host = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    return f"https://{f'[{host}]' if ':' in host else host}:{settings.ports.server}"


async def join(settings: Settings, token: str) -> None:
    """Get a node certificate and keep it. Raises Refused, ClientError, OSError; ValueError for the token."""
    token = token or await _own_token(settings)
    secret, _, digest = token.rpartition(".")
    if not secret or len(digest) != 64:
        raise ValueError("this is not a join token: it must end in a dot and 64 hex digits")
    url, (key,) = url_of(settings), await keys.make(1)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        # Nothing secret is sent before the server has shown the root that the token names.
        async with session.get(f"{url}/v1/ca", ssl=False) as answer:
            authority = Authority.model_validate(await checked(answer))
        roots = keys.pinned(authority.roots, digest)
        if not roots:
            raise ValueError(f"{url} is not the server that this join token is from")
        request = JoinRequest(node=settings.node, token=token, csr=key.csr)
        async with session.post(
            f"{url}/v1/nodes/join",
            json=request.model_dump(),
            ssl=ssl.create_default_context(cadata=roots),
            server_hostname=SERVER_NAME,
        ) as answer:
            certificate = Certificate.model_validate(await checked(answer))
    NodeFiles(settings.paths.agent_state).keep(key, certificate)


async def renew(settings: Settings, session: aiohttp.ClientSession) -> None:
    """A new key and certificate in place of those that are used now. Raises Refused, ClientError, OSError."""
    (key,) = await keys.make(1)
    async with session.post(
        f"{url_of(settings)}/v1/nodes/{settings.node}/certificate",
        json=RenewRequest(csr=key.csr).model_dump(),
        server_hostname=SERVER_NAME,
    ) as answer:
        certificate = Certificate.model_validate(await checked(answer))
    NodeFiles(settings.paths.agent_state).keep(key, certificate)


async def _own_token(settings: Settings) -> str:
    """On the server's own host root may draw a token, for this node only."""
    if settings.server:
        raise ValueError(f"a token is needed to join {settings.server}: meshlite agent --token-file FILE")
    connector = aiohttp.UnixConnector(path=str(settings.paths.admin_socket))
    async with (
        aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=10)) as session,
        session.post(
            "http://localhost/v1/tokens",
            json=TokenRequest(node=settings.node, ttl_seconds=60).model_dump(),
        ) as answer,
    ):
        return Token.model_validate(await checked(answer)).token


async def checked(answer: aiohttp.ClientResponse) -> object:
    """The JSON body of a good answer; Refused with the server's own words for any other."""
    body = await answer.json(content_type=None) if answer.status != 204 else {}
    if answer.status >= 400:
        words = body.get("error", "") if isinstance(body, dict) else ""
        raise Refused(answer.status, words or f"the server answers {answer.status}")
    return body
