"""A whole server in the test's process: real TLS, local socket and SQLite; and parts over memory."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from meshlite.config import Settings
from meshlite.model.wire import Authority, Certificate, Report
from meshlite.model.workload import Port, Workload
from meshlite.server import ca
from meshlite.server.app import assemble, serve
from meshlite.server.call import Parts
from meshlite.server.clock import Clock
from meshlite.server.store import Store
from meshlite.server.store.memory import MemoryStore


@dataclass
class FakeTime:
    """A clock that goes on when told to."""

    wall: float = 1_900_000_000.0
    monotonic: float = 1000.0
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(lambda: self.wall, lambda: self.monotonic)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def workload(name: str, node: str = "web-1", namespace: str = "shop", **more: object) -> Workload:
    values: dict[str, object] = {"service": name, "ports": (Port(number=9080),), "captured": True} | more
    return Workload.model_validate(
        {"id": f"{name}-id", "name": name, "node": node, "namespace": namespace} | values
    )


def report(*workloads: Workload) -> Report:
    return Report(workloads=workloads)


def settings_in(folder: Path, **more: object) -> Settings:
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values: dict[str, object] = {
        "node": "web-1",
        "ports": {"server": port},
        "paths": {"state": folder / "state", "run": folder / "run"},
    }
    return Settings.model_validate(values | more)


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
async def parts(tmp_path: Path, time: FakeTime) -> Parts:
    """All parts over a store in memory, with a clock that stands still."""
    return await parts_over(MemoryStore(), tmp_path, time)


async def parts_over(store: Store, folder: Path, time: FakeTime, **more: object) -> Parts:
    settings = settings_in(folder, **more)
    settings.paths.database.parent.mkdir(parents=True, exist_ok=True)
    return await assemble(settings, store, time.clock)


def make_csr(key: ec.EllipticCurvePrivateKey | None = None) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key or ca.new_key(), hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@dataclass
class Running:
    """A server in this process and ways to talk to it."""

    settings: Settings
    admin: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.settings.ports.server}"

    async def token(self, **request: object) -> str:
        async with self.admin.post("/v1/tokens", json=request) as response:
            return str((await response.json())["token"])

    async def trust(self, token: str) -> ssl.SSLContext:
        """How a new node learns whom to trust: the root whose hash is in its token."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/v1/ca", ssl=False) as response,
        ):
            shown = Authority.model_validate_json(await response.text())
        for root in x509.load_pem_x509_certificates((shown.roots + shown.former).encode()):
            der = root.public_bytes(Encoding.DER)
            if hashlib.sha256(der).hexdigest() == token.rsplit(".", 1)[1]:
                return ssl.create_default_context(cadata=der)
        raise AssertionError("not the server that the token is from")

    async def join(self, node: str = "web-1", token: str = "", **request: object) -> Certificate:
        """Join; the caller keeps the key with `key=`."""
        token = token or await self.token(node=node)
        key = request.pop("key", None)
        assert key is None or isinstance(key, ec.EllipticCurvePrivateKey)
        body = {"node": node, "token": token, "csr": make_csr(key)} | request
        async with aiohttp.ClientSession(f"{self.url}") as session:
            answer = await session.post(
                "/v1/nodes/join", json=body, ssl=await self.trust(token), server_hostname="meshlite-server"
            )
            assert answer.status == 200, await answer.text()
            return Certificate.model_validate_json(await answer.text())

    @asynccontextmanager
    async def node(self, name: str = "web-1", **token: object) -> AsyncIterator[aiohttp.ClientSession]:
        """A session with the certificate of a node that joins for it."""
        key = ca.new_key()
        certificate = await self.join(name, await self.token(**({"node": name} | token)), key=key)
        async with self.session(certificate, key) as session:
            yield session

    @asynccontextmanager
    async def session(
        self, certificate: Certificate, key: ec.EllipticCurvePrivateKey
    ) -> AsyncIterator[aiohttp.ClientSession]:
        context = ssl.create_default_context(cadata=certificate.roots)
        file = self.settings.paths.state / f"client-{id(key)}.pem"
        file.write_bytes(ca.key_pem(key) + certificate.chain.encode())
        context.load_cert_chain(file)
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(self.url, connector=connector) as session:
            yield session


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    settings.paths.database.parent.mkdir(parents=True, exist_ok=True)
    settings.paths.run.mkdir(parents=True, exist_ok=True)
    stop, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(serve(settings, stop, ready.set))
        waiting = tasks.create_task(ready.wait())
        await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        connector = aiohttp.UnixConnector(path=str(settings.paths.admin_socket))
        async with aiohttp.ClientSession("http://localhost", connector=connector) as admin:
            yield Running(settings, admin)
        stop.set()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_in(tmp_path)) as server:
        yield server
