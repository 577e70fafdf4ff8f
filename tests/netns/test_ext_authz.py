"""AuthorizationPolicy with action CUSTOM in a real Envoy: real small providers over HTTP and gRPC decide."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from meshlite.agent.capture import Capture
from meshlite.config import Settings
from meshlite.model.mesh import MeshSettings, Resource
from meshlite.model.provider import ExtensionProvider
from meshlite.model.workload import Port
from meshlite.translate.envoy import schema
from tests.netns.meshed import VIRTUAL, Proxy, ask, captured, envoy, until
from tests.netns.test_authorization import operation, policy
from tests.netns.world import LIMIT, Box, dial, inside

SERVICE = "app.test.svc.cluster.local"
HTTP, GRPC = 9000, 9001
ALLOWED = "x-ext-authz"


@dataclass
class Asked:
    """What providers were asked: the path and headers of each check."""

    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    pause: float = 0.0

    async def decide(self, path: str, headers: dict[str, str], body: str = "") -> bool:
        self.paths.append(path)
        self.headers.append(headers)
        self.bodies.append(body)
        await asyncio.sleep(self.pause)
        return headers.get(ALLOWED) == "allow"


@asynccontextmanager
async def http_provider(box: Box, asked: Asked) -> AsyncIterator[None]:
    """Allows requests with the header; says so in headers of its answers."""
    listener = box.socket("0.0.0.0")
    listener.bind(("0.0.0.0", HTTP))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().rstrip().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                good = await asked.decide(first.split()[1], headers, body.decode())
                status = "200 OK" if good else "402 Payment Required"
                said = "x-said: yes\r\nx-unsaid: no\r\nset-cookie: a=b\r\ncontent-length: 0"
                writer.write(f"HTTP/1.1 {status}\r\n{said}\r\n\r\n".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, sock=listener)
    try:
        yield
    finally:
        server.close()


@asynccontextmanager
async def grpc_provider(box: Box, asked: Asked) -> AsyncIterator[None]:
    """The same over Envoy's own protocol; connections are allowed while `asked.pause` is not negative."""
    request, response = (
        schema.message(f"envoy.service.auth.v3.Check{kind}") for kind in ("Request", "Response")
    )

    async def check(given: Any, _: grpc.aio.ServicerContext[Any, Any]) -> Any:
        http = given.attributes.request.http
        if http.method:
            good = await asked.decide(http.path, dict(http.headers), http.body)
        else:
            asked.paths.append("connection")
            good = asked.pause >= 0
        made: Any = response()
        made.status.code = 0 if good else 7
        return made

    handler = grpc.unary_unary_rpc_method_handler(
        check, request_deserializer=request.FromString, response_serializer=response.SerializeToString
    )
    server = grpc.aio.server()
    service = "envoy.service.auth.v3.Authorization"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Check": handler}),))
    with inside(box.path):
        server.add_insecure_port(f"0.0.0.0:{GRPC}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


@pytest.fixture
async def proxy(settings: Settings, capture: Capture, boxes: tuple[Box, Box]) -> AsyncIterator[Proxy]:
    """The app is where providers live, too."""
    made = await captured(settings, capture, boxes)
    ports = (
        *made.workloads[0].ports,
        Port(number=HTTP, protocol="http", origin="label"),
        Port(number=GRPC, protocol="grpc", origin="label"),
    )
    made.workloads[0] = made.workloads[0].model_copy(update={"ports": ports})
    async with envoy(capture, made, boxes):
        yield made


def http(**fields: Any) -> MeshSettings:
    spec = {"service": SERVICE, "port": HTTP, **fields}
    return _settings({"name": "ask", "envoyExtAuthzHttp": spec})


def over_grpc(**fields: Any) -> MeshSettings:
    spec = {"service": f"test/{SERVICE}", "port": GRPC, **fields}
    return _settings({"name": "ask", "envoyExtAuthzGrpc": spec})


def _settings(provider: dict[str, Any]) -> MeshSettings:
    return MeshSettings(extension_providers=(ExtensionProvider.model_validate(provider),))


def custom(*rules: dict[str, Any], name: str = "ask", provider: str = "ask") -> Resource:
    return policy(name, "CUSTOM", *rules, provider={"name": provider})


async def status(box: Box, path: str = "/", *headers: str, method: str = "GET") -> str:
    code, _, _ = await ask(box, VIRTUAL["neighbour"], 8000, "neighbour", path, *headers, method=method)
    return str(code)


async def test_an_http_provider_decides(proxy: Proxy, app: Box) -> None:
    asked = Asked()
    proxy.settings = http(
        pathPrefix="/check",
        includeRequestHeadersInCheck=[ALLOWED, "x-prefix-*"],
        includeAdditionalHeadersInCheck={"x-added": "by-config"},
        headersToDownstreamOnDeny=["x-said", "set-cookie"],
        headersToDownstreamOnAllow=["x-said"],
    )
    proxy.resources = [custom(operation(paths=["/paid*"]))]
    await proxy.push()
    async with http_provider(app, asked):
        await until(lambda: status(app, "/paid"), "402")
        assert await status(app, "/paid/x", f"{ALLOWED}: allow", "x-prefix-a: 1", "x-other: 2") == "200"
        assert asked.paths[-1] == "/check/paid/x"
        assert asked.headers[-1]["x-added"] == "by-config"
        assert asked.headers[-1]["x-prefix-a"] == "1"
        assert "x-other" not in asked.headers[-1]
        _, denied, _ = await ask(app, VIRTUAL["neighbour"], 8000, "neighbour", "/paid")
        assert (denied.get("x-said"), denied.get("set-cookie"), denied.get("x-unsaid")) == (
            "yes",
            "a=b",
            None,
        )
        given = (VIRTUAL["neighbour"], 8000, "neighbour", "/paid", f"{ALLOWED}: allow")
        assert (await ask(app, *given))[1].get("x-said") == "yes"
        count = len(asked.paths)
        assert await status(app, "/free") == "200"
        assert len(asked.paths) == count
        await proxy.said("ext_authz_denied")


async def test_a_grpc_provider_decides_about_requests_and_connections(proxy: Proxy, app: Box) -> None:
    asked = Asked()
    proxy.settings = over_grpc(
        includeRequestBodyInCheck={"maxRequestBytes": 100, "allowPartialMessage": True}
    )
    proxy.resources = [custom({})]
    await proxy.push()
    async with grpc_provider(app, asked):
        await until(lambda: status(app), "403")
        assert await status(app, "/x", f"{ALLOWED}: allow") == "200"
        assert asked.paths[-1] == "/x"
        asked.pause = -1
        assert await _echo(app) == ""
        asked.pause = 0
        assert "hello" in await _echo(app)
        assert "connection" in asked.paths


async def _echo(box: Box) -> str:
    """What a client hears that speaks first."""
    made = box.socket("0.0.0.0")
    async with asyncio.timeout(LIMIT):
        await asyncio.get_running_loop().sock_connect(made, (VIRTUAL["neighbour"], 8080))
        reader, writer = await asyncio.open_connection(sock=made)
        writer.write(b"hello\n")
        try:
            return (await reader.readline() + await reader.readline()).decode()
        except ConnectionError:
            return ""
        finally:
            writer.close()


@pytest.mark.parametrize("kind", [http, over_grpc], ids=["http", "grpc"])
@pytest.mark.parametrize(
    ("fields", "answer"),
    [({}, "403"), ({"statusOnError": "503"}, "503"), ({"failOpen": True}, "200")],
    ids=["closed", "closed-with-a-status", "open"],
)
async def test_a_provider_that_is_away(
    proxy: Proxy, app: Box, kind: Any, fields: dict[str, Any], answer: str
) -> None:
    proxy.settings = kind(timeout="0.5s", **fields)
    proxy.resources = [custom(operation(paths=["/paid"])), policy("mark", "DENY", operation(paths=["/mark"]))]
    await proxy.push()
    await until(lambda: status(app, "/mark"), "403")
    await until(lambda: status(app, "/paid"), answer)
    assert await status(app, "/free") == "200"


async def test_a_provider_that_is_slow(proxy: Proxy, app: Box) -> None:
    asked = Asked(pause=3)
    proxy.settings = http(timeout="0.2s", includeRequestHeadersInCheck=[ALLOWED])
    proxy.resources = [custom({})]
    await proxy.push()
    async with http_provider(app, asked):
        await until(lambda: status(app, "/", f"{ALLOWED}: allow"), "403")
        asked.pause = 0
        await until(lambda: status(app, "/", f"{ALLOWED}: allow"), "200")


@pytest.mark.parametrize("extra", [{}, {"second": True}], ids=["unknown", "two-of-them"])
async def test_what_cannot_be_asked_is_denied(proxy: Proxy, app: Box, extra: dict[str, Any]) -> None:
    """A provider that is not there, and several for one workload: as in Istio."""
    proxy.faulty = True
    if extra:
        proxy.settings = http()
        proxy.resources = [
            custom(operation(paths=["/paid"])),
            custom(operation(paths=["/other"]), name="other", provider="other"),
        ]
    else:
        proxy.resources = [custom(operation(paths=["/paid"]))]
    await proxy.push()
    await until(lambda: status(app, "/paid"), "403")
    assert await status(app, "/free") == "200"
    if extra:
        assert await status(app, "/other") == "403"
    assert (await dial(app, VIRTUAL["neighbour"], 8080)) == ""
