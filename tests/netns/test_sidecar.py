"""Sidecar in a real Envoy between captured namespaces: what is unknown, and what is not to be seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from meshlite.agent.capture import Capture
from meshlite.config import Settings
from meshlite.model.mesh import Resource
from meshlite.model.workload import Port
from tests.netns.meshed import OUTSIDE, PORTS, VIRTUAL, Proxy, ask, captured, envoy, get, until, web
from tests.netns.world import Box, dial, serving


@pytest.fixture
async def proxy(settings: Settings, capture: Capture, boxes: tuple[Box, Box]) -> AsyncIterator[Proxy]:
    """The app captured and permissive, the neighbour strict; Envoy has what translate makes of them."""
    made = await captured(settings, capture, boxes)
    async with envoy(capture, made, boxes):
        yield made


def sidecar(spec: dict[str, Any], app: str) -> Resource:
    """A Sidecar for one of the two workloads."""
    spec = {"workloadSelector": {"labels": {"app": app}}, **spec}
    return Resource(
        api_version="networking.istio.io/v1", kind="Sidecar", name=app, namespace="test", spec=spec
    )


async def test_registry_only_refuses_what_no_service_is(proxy: Proxy, app: Box, neighbour: Box) -> None:
    async with web(None, OUTSIDE, 8000, "outside"), serving(None, OUTSIDE, 7000, "outside"):
        assert await get(app, OUTSIDE, 8000, "outside.example.com") == f"200 outside {app.v4}"
        proxy.resources = [sidecar({"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}, "app")]
        await proxy.push()
        await until(lambda: get(app, OUTSIDE, 8000, "outside.example.com"), "502 ")
        assert await dial(app, OUTSIDE, 7000) == ""
        assert (await get(app, VIRTUAL["neighbour"], 8000, "neighbour")).startswith("200 neighbour ")
        assert (await dial(app, VIRTUAL["neighbour"], 8080)).startswith("neighbour ")
        assert (await dial(neighbour, OUTSIDE, 7000)).startswith("outside ")
        assert await get(neighbour, OUTSIDE, 8000, "a.b") == f"200 outside {neighbour.v4}"


async def test_what_is_not_imported_is_not_there(proxy: Proxy, app: Box, neighbour: Box) -> None:
    proxy.resources = [
        sidecar({"egress": [{"hosts": ["elsewhere/*", "./app.test.svc.cluster.local"]}]}, "app")
    ]
    await proxy.push()
    await until(lambda: get(app, VIRTUAL["neighbour"], 8000, "neighbour"), "503 ")
    assert await dial(app, VIRTUAL["neighbour"], 8080) == ""
    assert (await get(neighbour, VIRTUAL["app"], 8000, "app")).startswith("200 app ")
    only_http = {"port": {"number": 8000, "protocol": "HTTP", "name": "http"}, "hosts": ["./*"]}
    proxy.resources = [sidecar({"egress": [only_http]}, "app")]
    await proxy.push()
    await until(lambda: get(app, VIRTUAL["neighbour"], 8000, "neighbour"), "200 neighbour ")
    assert await dial(app, VIRTUAL["neighbour"], 8080) == ""


async def test_an_app_on_its_loopback_is_called_by_the_port_that_ingress_names(
    proxy: Proxy, app: Box, neighbour: Box
) -> None:
    """By the mesh, though nobody listens on that port, and from outside at the app, which is open."""
    named = {"port": {"number": 9000, "protocol": "HTTP", "name": "http"}}
    plain = {"port": {"number": 9001, "protocol": "TCP", "name": "tcp"}, "captureMode": "NONE"}
    spec = {
        "ingress": [
            {**named, "defaultEndpoint": "127.0.0.1:9100"},
            {**plain, "defaultEndpoint": "0.0.0.0:8080"},
        ]
    }
    async with (
        web(neighbour, "127.0.0.1", 9100, "hidden"),
        web(app, "127.0.0.1", 9100, "hidden"),
    ):
        proxy.resources = [sidecar(spec, "neighbour"), sidecar(spec, "app")]
        await proxy.push()
        await until(lambda: get(app, VIRTUAL["neighbour"], 9000, "neighbour"), "200 hidden 127.0.0.1")
        await until(lambda: get(None, app.v4, 9000, "app"), "200 hidden 127.0.0.1")
        assert (await dial(app, VIRTUAL["neighbour"], 9001)).startswith("neighbour ")
        assert (await get(app, VIRTUAL["neighbour"], 8000, "neighbour")).startswith("200 neighbour ")


@pytest.mark.parametrize("place", ["inboundConnectionPool", "ingress"])
async def test_the_called_side_limits_what_comes_in(
    proxy: Proxy, app: Box, neighbour: Box, place: str
) -> None:
    """One request is served, one waits, and of more the client is told so at once, whoever sends them."""
    limits = {"tcp": {"maxConnections": 1}, "http": {"http1MaxPendingRequests": 1}}
    port = {"number": 8500, "protocol": "HTTP", "name": "http"}
    listener = {"port": port, "defaultEndpoint": "127.0.0.1:8500"}
    spec: dict[str, Any] = {"ingress": [listener], "inboundConnectionPool": limits}
    if place == "ingress":
        wide = {"tcp": {"maxConnections": 100}, "http": {"http1MaxPendingRequests": 100}}
        spec = {"ingress": [{**listener, "connectionPool": limits}], "inboundConnectionPool": wide}
    async with held(neighbour, 8500) as server:
        proxy.resources = [sidecar(spec, "neighbour")]
        await proxy.push()
        server.released.set()
        await until(lambda: get(app, VIRTUAL["neighbour"], 8500, "neighbour"), "200 ")
        server.released.clear()
        server.came.clear()
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(status(app))]
            await server.came.wait()
            asking += [group.create_task(status(app)), group.create_task(status(neighbour))]
            done, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            server.released.set()
        assert [one.result() for one in done] == [503]
        assert [one.result() for one in waiting] == [200, 200]


async def status(box: Box) -> int:
    code, _, _ = await ask(box, VIRTUAL["neighbour"], 8500, "neighbour")
    return code


@dataclass
class Held:
    """`came`: a request is there; it is answered when `released` is set."""

    came: asyncio.Event
    released: asyncio.Event


@asynccontextmanager
async def held(where: Box, port: int) -> AsyncIterator[Held]:
    """An HTTP server on the box's loopback."""
    made = Held(asyncio.Event(), asyncio.Event())
    listener = where.socket("127.0.0.1")
    listener.bind(("127.0.0.1", port))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                made.came.set()
                await made.released.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, sock=listener)
    try:
        yield made
    finally:
        made.released.set()
        server.close()


async def test_a_proxy_takes_what_is_unknown(proxy: Proxy, app: Box) -> None:
    to = {"host": "neighbour.test.svc.cluster.local", "port": {"number": 8000}}
    policy = {"mode": "ALLOW_ANY", "egressProxy": to}
    proxy.resources = [sidecar({"outboundTrafficPolicy": policy}, "app")]
    await proxy.push()
    await until(lambda: get(app, OUTSIDE, 8000, "outside.example.com"), "200 neighbour ")


async def test_listeners_at_addresses_of_their_own(proxy: Proxy, app: Box, neighbour: Box) -> None:
    """On the app's loopback without capture, and at an address that is captured. The service's own is not."""
    ports = (Port(number=9300, protocol="http"), Port(number=9301, protocol="tcp"), Port(number=9302))
    proxy.workloads[1] = proxy.workloads[1].model_copy(update={"ports": (*PORTS, *ports)})
    local = {"captureMode": "NONE", "hosts": ["./*"]}
    egress = [
        {"port": {"number": 9300, "protocol": "HTTP", "name": "http"}, **local},
        {"port": {"number": 9301, "protocol": "TCP", "name": "tcp"}, "bind": "127.0.0.7", **local},
        {"port": {"number": 9302, "name": "any"}, "bind": "198.51.100.7", "hosts": ["./*"]},
        {"hosts": ["./*"]},
    ]
    async with (
        web(neighbour, "0.0.0.0", 9300, "bound"),
        serving(neighbour, "0.0.0.0", 9301, "bound"),
        web(neighbour, "0.0.0.0", 9302, "bound"),
    ):
        proxy.resources = [sidecar({"egress": egress}, "app")]
        await proxy.push()
        await until(lambda: get(app, "127.0.0.1", 9300, "neighbour"), "200 bound ")
        assert (await get(app, "::1", 9300, "neighbour.test")).startswith("200 bound ")
        assert (await get(app, "127.0.0.1", 9300, "nobody")).startswith("503 ")
        assert (await dial(app, "127.0.0.7", 9301)).startswith("bound ")
        assert (await get(app, "198.51.100.7", 9302, "neighbour")).startswith("200 bound ")
        assert [await dial(app, VIRTUAL["neighbour"], port) for port in (9300, 9301, 9302)] == [""] * 3
        assert (await get(neighbour, VIRTUAL["neighbour"], 9300, "neighbour")).startswith("200 bound ")
        assert await dial(None, app.v4, 9300) in ("", "refused")
        assert (await dial(app, VIRTUAL["neighbour"], 8080)).startswith("neighbour ")
