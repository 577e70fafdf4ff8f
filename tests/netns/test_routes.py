"""Istio's traffic tasks within a node: requests and connections are made, and counted where they arrive."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshlite.agent.capture import Capture, Mode
from meshlite.config import Settings
from tests.certificates import authority
from tests.netns.mesh import (
    AUTO,
    HTTP,
    TCP,
    TLS,
    Mesh,
    Server,
    count,
    greeting,
    proxied,
    running,
    send,
    until_true,
)
from tests.netns.world import LIMIT, Box

RULE = """
kind: DestinationRule
spec:
  host: web
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
"""


@pytest.fixture
async def mesh(settings: Settings, capture: Capture, app: Box, neighbour: Box) -> AsyncIterator[Mesh]:
    """Two callers, `app` in the mesh's shop and `neighbour` elsewhere; servers web-1, web-2 and other."""
    callers = []
    for box, namespace in ((app, "shop"), (neighbour, "elsewhere")):
        item = await capture.attach(box.found)
        workload = box.found.workload.model_copy(
            update={"namespace": namespace, "labels": {"tier": box.name}, "ports": ()}
        )
        await capture.set_mode(item.key, Mode())
        callers.append((box, item, workload))
    made = Mesh(settings.paths.run, callers)
    made.servers = [
        Server("web-1", "127.0.1.1", {"version": "v1"}),
        Server("web-2", "127.0.1.2", {"version": "v2"}),
        Server("other", "127.0.1.3"),
    ]
    async with running(made.servers, tls_server(settings.paths.run)), proxied(made):
        yield made


def tls_server(folder: Path) -> ssl.SSLContext:
    pair = authority("routes").leaf("web.example.com")
    files = folder / "server.pem", folder / "server.key"
    for file, text in zip(files, (pair.certificate, pair.key), strict=True):
        file.write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


def virtual_service(rules: str, host: str = "web") -> str:
    return f"kind: VirtualService\nspec:\n  hosts: [{host}]\n  http: {rules}\n---\n"


async def test_requests_are_routed_by_header_and_by_who_calls(mesh: Mesh, app: Box, neighbour: Box) -> None:
    rules = """
  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: web, subset: v2}}]
  - match: [{sourceLabels: {tier: neighbour}}, {uri: {prefix: /old}}]
    route: [{destination: {host: other}}]
  - route: [{destination: {host: web, subset: v1}}]
"""
    await mesh.push(RULE + virtual_service(rules))
    web = mesh.address("web")
    assert (await send(app, web, end_user="jason")).body == "web-2"
    assert (await send(app, web)).body == "web-1"
    assert (await send(app, web, path="/older")).body == "other"
    assert (await send(neighbour, web)).body == "other"
    assert mesh.problems == []


async def test_traffic_is_shifted_by_weight(mesh: Mesh, app: Box) -> None:
    rules = """
  - route:
    - {destination: {host: web, subset: v1}, weight: 80}
    - {destination: {host: web, subset: v2}, weight: 20}
"""
    await mesh.push(RULE + virtual_service(rules))

    async def ask() -> str:
        return (await send(app, mesh.address("web"))).body

    found = await count(ask, 200)
    assert found.keys() == {"web-1", "web-2"}
    assert 10 < found["web-2"] < 80


async def test_connections_are_shifted_by_weight_and_the_server_still_speaks_first(
    mesh: Mesh, app: Box, neighbour: Box
) -> None:
    routes = """
kind: VirtualService
spec:
  hosts: [web]
  tcp:
  - match: [{port: 7000, sourceNamespace: elsewhere}]
    route: [{destination: {host: other, port: {number: 7000}}}]
  - match: [{port: 7000}]
    route:
    - {destination: {host: web, port: {number: 7000}, subset: v1}, weight: 70}
    - {destination: {host: web, port: {number: 7000}, subset: v2}, weight: 30}
"""
    await mesh.push(RULE + routes)
    web = mesh.address("web")
    found = await count(lambda: greeting(app, web), 150)
    assert found.keys() == {"web-1", "web-2"}
    assert 14 < found["web-2"] < 80
    assert {await greeting(neighbour, web) for _ in range(5)} == {"other"}
    assert (await send(app, web)).status == 200, "the HTTP port has no TCP routes"


async def test_a_tcp_route_may_look_at_the_address_dialled(mesh: Mesh, app: Box) -> None:
    web = mesh.address("web")
    routes = """
kind: VirtualService
spec:
  hosts: [web]
  tcp:
  - match: [{{destinationSubnets: [{0}]}}]
    route: [{{destination: {{host: other, port: {{number: 7000}}}}}}]
  - route: [{{destination: {{host: web, port: {{number: 7000}}, subset: v2}}}}]
"""
    await mesh.push(RULE + routes.format(f"{web}/32"))
    assert await greeting(app, web) == "other"
    await mesh.push(RULE + routes.format("10.0.0.0/8"))
    assert await greeting(app, web) == "web-2"


async def test_an_unknown_subset_closes_connections_and_is_reported(mesh: Mesh, app: Box) -> None:
    routes = """
kind: VirtualService
spec: {hosts: [web], tcp: [{route: [{destination: {host: web, port: {number: 7000}, subset: v9}}]}]}
"""
    await mesh.push(routes)
    assert await greeting(app, mesh.address("web")) == ""
    assert [problem.endswith("v9: connections to it are closed") for problem in mesh.problems] == [True]


async def handshake(box: Box, address: str, name: str, port: int = TLS) -> str:
    """The server that answers a TLS client which asks for `name`; empty: the connection was closed."""
    made = box.socket(address)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with asyncio.timeout(LIMIT):
        await asyncio.get_running_loop().sock_connect(made, (address, port))
        try:
            reader, writer = await asyncio.open_connection(sock=made, ssl=context, server_hostname=name)
        except (ConnectionError, ssl.SSLError):
            return ""
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.partition(b"content-length: ")[2].split()[0])
        body = (await reader.readexactly(length)).decode()
        writer.close()
        return body


@pytest.mark.parametrize("port", [TLS, AUTO])
async def test_tls_is_routed_by_server_name(mesh: Mesh, app: Box, port: int) -> None:
    routes = f"""
kind: VirtualService
spec:
  hosts: [web, a.example.com, "*.b.example.com"]
  tls:
  - match: [{{port: {port}, sniHosts: [a.example.com]}}]
    route: [{{destination: {{host: web, port: {{number: {port}}}, subset: v1}}}}]
  - match: [{{port: {port}, sniHosts: ["*.b.example.com"]}}]
    route:
    - {{destination: {{host: web, port: {{number: {port}}}, subset: v2}}, weight: 50}}
    - {{destination: {{host: other, port: {{number: {port}}}}}, weight: 50}}
"""
    await mesh.push(RULE + routes)
    web = mesh.address("web")
    assert {await handshake(app, web, "a.example.com", port) for _ in range(5)} == {"web-1"}
    found = await count(lambda: handshake(app, web, "A.b.example.com", port), 30)
    assert found.keys() == {"web-2", "other"}
    unnamed = await handshake(app, web, "c.example.com", port)
    if port == TLS:
        assert unnamed == "", "as in Istio: a port declared as TLS has routes only for the names written"
    else:
        assert unnamed.startswith("web-")


async def test_gateway_apis_routes_of_connections_for_services(mesh: Mesh, app: Box) -> None:
    """TCPRoute and TLSRoute with a Service as parent: there, too, the first that fits decides."""
    routes = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {{name: shifted}}
spec:
  parentRefs: [{{group: "", kind: Service, name: web, port: 7000}}]
  rules:
  - backendRefs: [{{name: other, port: 7000}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {{name: named}}
spec:
  parentRefs: [{{group: "", kind: Service, name: web, port: {TLS}}}]
  hostnames: [a.example.com]
  rules:
  - backendRefs: [{{name: other, port: {TLS}}}]
"""
    await mesh.push(routes)
    assert mesh.problems == []
    web = mesh.address("web")
    assert {await greeting(app, web) for _ in range(8)} == {"other"}
    assert {await handshake(app, web, "a.example.com", TLS) for _ in range(5)} == {"other"}
    assert (await send(app, web)).body in ("web-1", "web-2"), "the HTTP port has no such route"


async def test_faults_and_timeouts(mesh: Mesh, app: Box) -> None:
    rules = """
  - match: [{uri: {prefix: /abort}}]
    fault: {abort: {percentage: {value: 50}, httpStatus: 418}}
    route: [{destination: {host: web}}]
  - match: [{uri: {prefix: /grpc}}]
    fault: {abort: {percentage: {value: 100}, grpcStatus: UNAVAILABLE}}
    route: [{destination: {host: web}}]
  - timeout: 100ms
    route: [{destination: {host: web}}]
"""
    await mesh.push(virtual_service(rules))
    web = mesh.address("web")

    async def ask() -> str:
        return str((await send(app, web, path="/abort")).status)

    found = await count(ask, 60)
    assert found.keys() == {"200", "418"}
    assert 10 < found["418"] < 50
    answer = await send(app, web, path="/grpc", method="POST", content_type="application/grpc")
    assert (answer.status, answer.headers["grpc-status"]) == (200, "14")
    for server in mesh.servers:
        server.free.clear()
    assert (await send(app, web)).status == 504


async def test_retries_are_as_many_as_asked_for(mesh: Mesh, app: Box) -> None:
    rules = """
  - match: [{uri: {prefix: /none}}]
    retries: {attempts: 0}
    route: [{destination: {host: other}}]
  - match: [{uri: {prefix: /code}}]
    retries: {attempts: 2, retryOn: "418"}
    route: [{destination: {host: other}}]
  - match: [{uri: {prefix: /slow}}]
    timeout: 20s
    retries: {attempts: 1, retryOn: 5xx, perTryTimeout: 100ms, backoff: 10ms}
    route: [{destination: {host: other}}]
  - match: [{uri: {prefix: /five}}]
    retries: {attempts: 4, retryOn: 5xx, backoff: 10ms}
    route: [{destination: {host: web}}]
  - route: [{destination: {host: other}}]
"""
    await mesh.push(virtual_service(rules))
    web, other = mesh.address("web"), mesh.servers[-1]
    tries = {}
    for path, status in (("/none", 503), ("/code", 418), ("/default", 503), ("/five", 503)):
        for server in mesh.servers:
            server.requests, server.status = [], status
        assert (await send(app, web, path=path)).status == status
        tries[path] = [len(server.requests) for server in mesh.servers]
    assert tries["/none"] == [0, 0, 1]
    assert tries["/code"] == [0, 0, 3]
    assert tries["/default"] == [0, 0, 1], "an answer of the app is not repeated unless asked for"
    assert sum(tries["/five"]) == 5
    assert min(tries["/five"][:2]) >= 1, "another replica is tried before the same one again"
    other.requests, other.status = [], 200
    other.free.clear()
    assert (await send(app, web, path="/slow")).status == 504
    await until_true(lambda: len(other.requests) == 2)


async def test_copies_go_to_every_mirror_by_its_share(mesh: Mesh, app: Box) -> None:
    rules = """
  - mirrors:
    - {destination: {host: web, subset: v2}}
    - {destination: {host: other}, percentage: {value: 50}}
    route: [{destination: {host: web, subset: v1}}]
"""
    await mesh.push(RULE + virtual_service(rules))
    for _ in range(60):
        assert (await send(app, mesh.address("web"))).body == "web-1"
    one, two, other = mesh.servers
    await until_true(lambda: len(two.requests) == 60)
    assert (len(one.requests), len(two.requests)) == (60, 60)
    assert 10 < len(other.requests) < 50


async def test_delegates(mesh: Mesh, app: Box) -> None:
    routes = """
kind: VirtualService
metadata: {name: root}
spec:
  hosts: [web]
  http:
  - match: [{uri: {prefix: /web}}]
    delegate: {name: part, namespace: elsewhere}
    headers: {request: {set: {x-root: "1"}}}
  - match: [{uri: {prefix: /gone}}]
    delegate: {name: gone}
  - match: [{uri: {prefix: /hidden}}]
    delegate: {name: hidden, namespace: elsewhere}
  - route: [{destination: {host: web, subset: v2}}]
---
kind: VirtualService
metadata: {name: part, namespace: elsewhere}
spec:
  http:
  - match: [{uri: {prefix: /web/a}}]
    route: [{destination: {host: web.shop, subset: v1}}]
  - match: [{uri: {prefix: /outside}}]
    directResponse: {status: 418}
  - route: [{destination: {host: other.shop}}]
---
kind: VirtualService
metadata: {name: hidden, namespace: elsewhere}
spec: {exportTo: ["."], http: [{directResponse: {status: 418}}]}
"""
    await mesh.push(RULE + routes)
    web, (one, *_) = mesh.address("web"), mesh.servers
    found = {path: (await send(app, web, path=path)).body for path in ("/web/a", "/web/b", "/x", "/gone")}
    assert found == {"/web/a": "web-1", "/web/b": "other", "/x": "web-2", "/gone": "web-2"}
    assert [request.headers["x-root"] for request in one.requests] == ["1"]
    assert (await send(app, web, path="/hidden")).body == "web-2"
    assert (await send(app, web, path="/outside")).body == "web-2"
    assert sorted(problem.partition(": ")[0] for problem in mesh.problems) == [
        "VirtualService/elsewhere/part",
        "VirtualService/shop/root",
        "VirtualService/shop/root",
    ]


async def test_the_first_resource_of_a_host_has_its_http_and_others_may_have_its_tcp(
    mesh: Mesh, app: Box
) -> None:
    routes = """
kind: VirtualService
metadata: {name: connections}
spec: {hosts: [web], tcp: [{route: [{destination: {host: other, port: {number: 7000}}}]}]}
---
"""
    await mesh.push(routes + virtual_service("[{directResponse: {status: 204}}]"))
    assert await greeting(app, mesh.address("web"), TCP) == "other"
    assert (await send(app, mesh.address("web"), HTTP)).status == 204
    assert mesh.problems == []
