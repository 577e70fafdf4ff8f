"""How a node becomes part of the mesh: a token once, then a certificate, renewed at half of its life."""

from __future__ import annotations

import os
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from meshlite.agent import keys
from meshlite.agent.keys import Key
from meshlite.config import Settings
from meshlite.model.mesh import NodeRecord
from meshlite.model.wire import (
    Authority,
    Certificate,
    JoinRequest,
    Nodes,
    Projects,
    RenewRequest,
    Token,
    TokenRequest,
)

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
        """When the certificate was got and ends to be valid (seconds since 1970), and who signed it."""
        return self.folder / "node.times"

    @property
    def complete(self) -> bool:
        return all(file.exists() for file in (self.key, self.chain, self.roots, self.times))

    @property
    def node(self) -> str:
        """The name of the node that the certificate is for; empty where that cannot be told."""
        try:
            return keys.uri(self.chain.read_text()).rpartition("/node/")[2]
        except (OSError, ValueError):
            return ""

    def lifetime(self) -> tuple[float, float]:
        """Where that cannot be told it is over, so that it is renewed."""
        try:
            begin, end = map(float, self.times.read_text().split()[:2])
        except ValueError:
            return 0.0, 0.0
        return begin, end

    @property
    def signer(self) -> str:
        """See model.mesh.Trust; empty where it was not told, or there is no certificate."""
        return (self.times.read_text().split()[2:] or [""])[0] if self.times.exists() else ""

    def trust(self, roots: str) -> bool:
        """Check the server by these roots (PEM) from now on; whether they are others than before."""
        if not roots or (self.roots.exists() and self.roots.read_text() == roots):
            return False
        write_private(self.roots, roots.encode())
        return True

    def keep(self, key: Key, certificate: Certificate) -> None:
        """The chain comes last: with it the set counts as complete."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self.chain.unlink(missing_ok=True)
        for file, content in (
            (self.key, key.pem.encode()),
            (self.roots, certificate.roots.encode()),
            (self.times, f"{time.time()} {certificate.not_after} {certificate.signer}".encode()),
            (self.chain, certificate.chain.encode()),
        ):
            write_private(file, content)

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
        roots = keys.pinned(authority.roots + authority.former, digest)
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


async def rename(settings: Settings, token: str, former: str) -> None:
    """Join anew, since the certificate is for another name. Raises as `join` does.

    At its own server the node brings its projects along, and its former name is forgotten.
    """
    if settings.server and not token:
        raise ValueError(
            f"this node joined as {former} and is called {settings.node} now: have it go by its former name "
            f"(node: {former} in the settings), or join anew: meshlite agent --token-file FILE"
        )
    if not settings.server:
        await _bring_along(settings, former)
    await join(settings, token)


async def _bring_along(settings: Settings, former: str) -> None:
    async with _own_server(settings) as server:
        async with server.get("/v1/nodes") as answer:
            nodes = Nodes.model_validate(await checked(answer)).nodes
        records = {node.record.name: node.record for node in nodes}
        if (before := records.get(former)) is None:
            return
        now = records.get(settings.node) or NodeRecord(name=settings.node)
        projects = {*before.projects, *now.projects}
        body = Projects(projects=tuple(sorted(projects)), everything=before.everything or now.everything)
        async with server.put(f"/v1/nodes/{settings.node}/projects", json=body.model_dump()) as answer:
            await checked(answer)
        async with server.delete(f"/v1/nodes/{former}") as answer:
            await checked(answer)


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
    request = TokenRequest(node=settings.node, ttl_seconds=60)
    async with (
        _own_server(settings) as server,
        server.post("/v1/tokens", json=request.model_dump()) as answer,
    ):
        return Token.model_validate(await checked(answer)).token


def _own_server(settings: Settings) -> aiohttp.ClientSession:
    """This host's server, asked as root."""
    connector = aiohttp.UnixConnector(path=str(settings.paths.admin_socket))
    timeout = aiohttp.ClientTimeout(total=10)
    return aiohttp.ClientSession("http://localhost", connector=connector, timeout=timeout)


async def checked(answer: aiohttp.ClientResponse) -> object:
    """The JSON body of a good answer; Refused with the server's own words for any other."""
    body = await answer.json(content_type=None) if answer.status != 204 else {}
    if answer.status >= 400:
        words = body.get("error", "") if isinstance(body, dict) else ""
        raise Refused(answer.status, words or f"the server answers {answer.status}")
    return body
