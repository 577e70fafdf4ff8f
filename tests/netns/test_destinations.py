"""DestinationRules in a real Envoy: who gets requests, in what order, how many at once, and over what."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from meshlite.agent.capture import Capture, Mode
from meshlite.config import Settings
from tests.netns.mesh import (
    AUTO,
    HTTP,
    TCP,
    Mesh,
    Server,
    count,
    greeting,
    proxied,
    running,
    send,
    until_true,
)
from tests.netns.world import LIMIT, Box, new_socket

PLACES = {
    "web-near": "eu/eu-1/a",
    "web-zone": "eu/eu-1/b",
    "web-region": "eu/eu-2/a",
    "web-far": "us/us-1/a",
    "web-farther": "asia/as-1/a",
}


@pytest.fixture
async def mesh(settings: Settings, capture: Capture, app: Box, neighbour: Box) -> AsyncIterator[Mesh]:
    """Two callers in shop on a node at eu/eu-1/a, and a replica of web in each of five places."""
    callers = []
    for box in (app, neighbour):
        item = await capture.attach(box.found)
        update = {"namespace": "shop", "labels": {"tier": box.name}, "ports": (), "captured": True}
        callers.append((box, item, box.found.workload.model_copy(update=update)))
        await capture.set_mode(item.key, Mode())
    made = Mesh(settings.paths.run, callers, locality="eu/eu-1/a")
    made.servers = [
        Server(name, f"127.0.1.{number}", {"locality": place, "labels": {"tier": "app"}})
        for number, (name, place) in enumerate(PLACES.items(), 1)
    ]
    async with running(made.servers), proxied(made):
        yield made


def rule(policy: str, host: str = "web") -> str:
    return f"kind: DestinationRule\nspec:\n  host: {host}\n  trafficPolicy: {policy}\n---\n"


DETECTION = (
    "outlierDetection: {consecutive5xxErrors: 1, interval: 100ms, "
    "baseEjectionTime: 4s, maxEjectionPercent: 100}"
)
"""Envoy merges what it learns of endpoints within a second, so ejections must last for longer."""

NO_RETRIES = """
kind: VirtualService
spec: {hosts: [web], http: [{retries: {attempts: 0}, route: [{destination: {host: web}}]}]}
"""


async def answering(mesh: Mesh, box: Box, times: int = 20) -> set[str]:
    return {(await send(box, mesh.address("web"))).body for _ in range(times)}


async def until_only(mesh: Mesh, box: Box, name: str, address: str = "", port: int = HTTP) -> None:
    """Ask until this replica has answered ten times in a row; of web, or of what has the address."""
    async with asyncio.timeout(LIMIT):
        row = 0
        while row < 10:
            row = row + 1 if (await send(box, address or mesh.address("web"), port)).body == name else 0


async def test_without_detection_places_do_not_count(mesh: Mesh, app: Box) -> None:
    await mesh.push(rule("{loadBalancer: {simple: ROUND_ROBIN}}"))
    assert await answering(mesh, app) == {*PLACES}


async def test_the_nearest_come_first_and_others_step_in_and_back(mesh: Mesh, app: Box) -> None:
    await mesh.push(rule(f"{{{DETECTION}}}") + NO_RETRIES)
    near, zone, *_ = mesh.servers
    assert await answering(mesh, app) == {"web-near"}
    for server, successor in ((near, "web-zone"), (zone, "web-region")):
        server.status = 503
        await until_only(mesh, app, successor)
    near.status = zone.status = 200
    await until_only(mesh, app, "web-near")


async def test_a_region_fails_over_to_the_one_written(mesh: Mesh, app: Box) -> None:
    balancer = "loadBalancer: {localityLbSetting: {failover: [{from: eu, to: asia}]}}"
    await mesh.push(rule(f"{{{DETECTION}, {balancer}}}") + NO_RETRIES)
    for server in mesh.servers[:3]:
        server.status = 503
    await until_only(mesh, app, "web-farther")


async def test_places_can_be_switched_off(mesh: Mesh, app: Box) -> None:
    balancer = "loadBalancer: {simple: ROUND_ROBIN, localityLbSetting: {enabled: false}}"
    await mesh.push(rule(f"{{{DETECTION}, {balancer}}}"))
    assert await answering(mesh, app) == {*PLACES}


DECLARED = """
kind: ServiceEntry
spec:
  hosts: [api.example.com]
  addresses: [192.0.2.50]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: {resolution}
  endpoints:
  - {{address: {far}, ports: {{http: 8103}}, locality: us/us-1/a}}
  - {{address: {zone}, ports: {{http: 8102}}, locality: eu/eu-1/b}}
  - {{address: {near}, ports: {{http: 8101}}, labels: {{istio-locality: eu.eu-1.a}}}}
---
kind: VirtualService
spec:
  hosts: [api.example.com]
  http: [{{retries: {{attempts: 0}}, route: [{{destination: {{host: api.example.com}}}}]}}]
---
"""


@pytest.mark.parametrize(
    ("resolution", "names"),
    [
        ("STATIC", {"near": "10.77.0.1", "zone": "10.77.0.1", "far": "10.77.0.1"}),
        ("DNS", {"near": "near.localhost", "zone": "zone.localhost", "far": "far.localhost"}),
    ],
)
async def test_written_endpoints_are_ordered_by_where_they_are(
    mesh: Mesh, app: Box, resolution: str, names: dict[str, str]
) -> None:
    """Endpoints of a ServiceEntry, at addresses and at names: nearest first, others step in."""
    servers = {name: Server(name, "127.0.0.1") for name in names}
    detection = DETECTION.replace("4s", "600s")
    await mesh.push(
        DECLARED.format(resolution=resolution, **names) + rule(f"{{{detection}}}", "api.example.com")
    )
    assert mesh.problems == []
    async with AsyncExitStack() as stack:
        for port, server in enumerate(servers.values(), 8101):
            listener = new_socket("0.0.0.0")
            listener.bind(("0.0.0.0", port))
            stack.callback((await asyncio.start_server(server.answer, sock=listener)).close)
        for name in names:
            await until_only(mesh, app, name, "192.0.2.50", 80)
            servers[name].status = 503


async def test_shares_of_places(mesh: Mesh, app: Box) -> None:
    setting = "{distribute: [{from: eu/*, to: {eu/eu-1/*: 80, us/*: 20}}]}"
    await mesh.push(rule(f"{{loadBalancer: {{simple: ROUND_ROBIN, localityLbSetting: {setting}}}}}"))

    async def ask() -> str:
        return (await send(app, mesh.address("web"))).body

    found = await count(ask, 200)
    assert found.keys() == {"web-near", "web-zone", "web-far"}
    assert 20 <= found["web-far"] <= 60
    assert abs(found["web-near"] - found["web-zone"]) < 40


async def test_labels_of_the_caller_order_endpoints(mesh: Mesh, app: Box, neighbour: Box) -> None:
    """Each caller prefers the replicas whose label is as its own."""
    mesh.servers[-1].fields["labels"] = {"tier": "neighbour"}
    setting = "loadBalancer: {localityLbSetting: {failoverPriority: [tier]}}"
    await mesh.push(rule(f"{{{DETECTION}, {setting}}}"))
    assert await answering(mesh, neighbour) == {"web-farther"}
    assert await answering(mesh, app, 40) == {*PLACES} - {"web-farther"}


async def test_zones_keep_to_themselves_as_far_as_they_can(mesh: Mesh, app: Box) -> None:
    setting = "zoneAwareLbSetting: {minClusterSize: 2, failover: [{from: eu, to: asia}]}"
    await mesh.push(rule(f"{{{DETECTION}, loadBalancer: {{simple: ROUND_ROBIN, {setting}}}}}") + NO_RETRIES)
    found = await count(lambda: _body(mesh, app), 300)
    assert found.keys() <= {"web-near", "web-zone", "web-region"}
    for server in mesh.servers[:3]:
        server.status = 503
    await until_only(mesh, app, "web-farther")


async def _body(mesh: Mesh, box: Box) -> str:
    return (await send(box, mesh.address("web"))).body


async def test_a_failing_endpoint_is_left_out_and_taken_back(mesh: Mesh, app: Box) -> None:
    balancer = "loadBalancer: {simple: ROUND_ROBIN, localityLbSetting: {enabled: false}}"
    await mesh.push(rule(f"{{{DETECTION}, {balancer}}}") + NO_RETRIES)
    broken = mesh.servers[2]
    others = {*PLACES} - {broken.name}
    broken.status = 503
    async with asyncio.timeout(LIMIT):
        while await mesh.stat("ejections_active") == 0 or await answering(mesh, app, 10) != others:
            await answering(mesh, app)
        broken.requests, broken.status = [], 200
        while not broken.requests:
            await answering(mesh, app, 5)


WARM = 3.0
"""Seconds of warm-up."""


async def test_a_new_endpoint_gets_its_share_bit_by_bit(mesh: Mesh, app: Box) -> None:
    """How much it may have got depends on how long the count took; without warm-up it would be half."""
    mesh.discovering = True
    old, new, *_ = mesh.servers
    mesh.servers = [old]
    warmup = f"warmup: {{duration: {WARM:.0f}s, minimumPercent: 10, aggression: 1}}"
    await mesh.push(rule(f"{{loadBalancer: {{simple: ROUND_ROBIN, {warmup}}}}}"))
    assert await answering(mesh, app, 1) == {old.name}
    await asyncio.sleep(WARM)  # then the old one is warm
    mesh.servers = [old, new]
    clock = asyncio.get_running_loop().time
    start = clock()
    await mesh.push(rule(f"{{loadBalancer: {{simple: ROUND_ROBIN, {warmup}}}}}"))
    async with asyncio.timeout(LIMIT):
        while await _body(mesh, app) != new.name:
            pass
    found = await count(lambda: _body(mesh, app), 40)
    weight = min(1.0, max(0.1, (clock() - start) / WARM))
    assert found[new.name] <= 40 * weight / (1 + weight) + 3
    async with asyncio.timeout(LIMIT):
        while (await count(lambda: _body(mesh, app), 20))[new.name] < 9:
            pass


async def test_the_default_share_leaves_out_nobody_of_few(mesh: Mesh, app: Box) -> None:
    """10 percent of five endpoints is less than one."""
    policy = "{outlierDetection: {consecutive5xxErrors: 1, interval: 100ms}}"
    await mesh.push(rule(policy) + NO_RETRIES)
    for server in mesh.servers:
        server.status = 503
    await answering(mesh, app)
    assert await mesh.stat("ejections_active") == 0


async def test_more_than_the_pool_allows_is_refused(mesh: Mesh, app: Box) -> None:
    """One is with the server, one waits for the connection, and there is no room for others."""
    pool = "connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}"
    mesh.servers = mesh.servers[:1]  # each endpoint may have one connection, whatever the limit
    await mesh.push(rule(f"{{{pool}}}") + NO_RETRIES)
    server = mesh.servers[0]
    server.free.clear()
    async with asyncio.TaskGroup() as group:
        taken = [group.create_task(send(app, mesh.address("web")))]
        await until_true(lambda: bool(server.requests))
        taken.append(group.create_task(send(app, mesh.address("web"))))
        await mesh.until_stat("upstream_rq_pending_active", 1)
        refused = [(await send(app, mesh.address("web"))).status for _ in range(5)]
        server.free.set()
    assert refused == [503] * 5
    assert [one.result().status for one in taken] == [200, 200]
    assert server.connections == 1
    assert await mesh.stat("upstream_rq_pending_overflow") == len(refused)


async def test_a_port_with_settings_has_no_others(mesh: Mesh, app: Box) -> None:
    """What is said for all ports does not count on a port that has settings of its own."""
    pool = "connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}"
    ports = f"portLevelSettings: [{{port: {{number: {HTTP}}}, loadBalancer: {{simple: RANDOM}}}}]"
    await mesh.push(rule(f"{{{pool}, {ports}}}"))
    for server in mesh.servers:
        server.free.clear()
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(send(app, mesh.address("web"))) for _ in range(8)]
        await until_true(lambda: any(one.done() for one in asked) or _arrived(mesh) == 8)
        for server in mesh.servers:
            server.free.set()
    assert {one.result().status for one in asked} == {200}


def _arrived(mesh: Mesh) -> int:
    return sum(len(server.requests) for server in mesh.servers)


@pytest.mark.parametrize("algorithm", ["ringHash: {minimumRingSize: 128}", "maglev: {tableSize: 1009}"])
async def test_equal_keys_reach_the_same_endpoint(mesh: Mesh, app: Box, algorithm: str) -> None:
    async def reached(key: str, **headers: str) -> set[str]:
        path = f"/?user={key}"
        asked = (send(app, mesh.address("web"), path=path, x_user=key, **headers) for _ in range(5))
        return {answer.body for answer in await asyncio.gather(*asked)}

    for chosen in ("httpHeaderName: x-user", "httpQueryParameterName: user"):
        await mesh.push(rule(f"{{loadBalancer: {{consistentHash: {{{chosen}, {algorithm}}}}}}}"))
        found = [await reached(str(number)) for number in range(12)]
        assert {len(names) for names in found} == {1}
        assert len(set.union(*found)) > 2


async def test_a_cookie_is_given_and_kept_to(mesh: Mesh, app: Box) -> None:
    cookie = "httpCookie: {name: who, ttl: 60s, path: /, attributes: [{name: SameSite, value: Strict}]}"
    await mesh.push(rule(f"{{loadBalancer: {{consistentHash: {{{cookie}}}}}}}"))
    first = await send(app, mesh.address("web"))
    given = first.headers["set-cookie"]
    assert given.startswith('who="')
    assert "SameSite=Strict" in given
    again = {(await send(app, mesh.address("web"), cookie=given.partition(";")[0])).body for _ in range(10)}
    assert again == {first.body}


async def test_connections_of_a_caller_reach_the_same_endpoint(mesh: Mesh, app: Box, neighbour: Box) -> None:
    await mesh.push(rule("{loadBalancer: {consistentHash: {useSourceIp: true}}}"))
    for box in (app, neighbour):
        assert len({await greeting(box, mesh.address("web")) for _ in range(10)}) == 1


BINARY = b"\r\n\r\n\0\r\nQUIT\n"
"""What the PROXY header's second version begins with."""


@asynccontextmanager
async def listening(address: str, port: int) -> AsyncIterator[asyncio.Queue[bytes]]:
    """What each client sends first; it is answered as an HTTP proxy that opens a tunnel, then echoed."""
    heads: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(1)
        if head == BINARY[:1]:
            head += await reader.readexactly(15)
            head += await reader.readexactly(int.from_bytes(head[14:16], "big"))
        else:
            head += await reader.readuntil(b"\r\n")
        if not head.startswith((b"PROXY", BINARY)):
            head += await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await heads.put(head)
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    made = new_socket(address)
    made.bind((address, port))
    server = await asyncio.start_server(answer, sock=made)
    try:
        yield heads
    finally:
        server.close()


async def echo(box: Box, address: str, port: int) -> tuple[str, str]:
    """What comes back for a line, and the address it was sent from."""
    made = box.socket(address)
    async with asyncio.timeout(LIMIT):
        await asyncio.get_running_loop().sock_connect(made, (address, port))
        reader, writer = await asyncio.open_connection(sock=made)
        own = writer.get_extra_info("sockname")[0]
        writer.write(b"hello\n")
        found = (await reader.readline()).decode().strip()
        writer.close()
    return found, own


PORT = 5000


def lone(mesh: Mesh) -> None:
    mesh.servers.append(Server("raw", "127.0.1.9", {"ports": [f"tcp:{PORT}"]}))


async def test_the_proxy_header_says_who_calls(mesh: Mesh, app: Box) -> None:
    lone(mesh)
    await mesh.push(rule("{proxyProtocol: {version: V1}}", "raw"))
    async with listening("127.0.1.9", PORT) as heads:
        said, own = await echo(app, mesh.address("raw"), PORT)
        head = (await heads.get()).decode().split()
    assert said == "hello"
    assert head[:4] == ["PROXY", "TCP4", own, mesh.address("raw")]
    assert head[5] == str(PORT)


async def test_the_binary_proxy_header_says_who_calls(mesh: Mesh, app: Box) -> None:
    lone(mesh)
    await mesh.push(rule("{proxyProtocol: {version: V2}}", "raw"))
    async with listening("127.0.1.9", PORT) as heads:
        said, own = await echo(app, mesh.address("raw"), PORT)
        head = await heads.get()
    assert said == "hello"
    assert head[12:14] == b"\x21\x11", "version 2, a connection by TCP over IPv4"
    assert socket.inet_ntoa(head[16:20]) == own
    assert socket.inet_ntoa(head[20:24]) == mesh.address("raw")
    assert int.from_bytes(head[26:28], "big") == PORT


@pytest.mark.parametrize(("protocol", "verb"), [("", "CONNECT"), ("POST", "POST")])
async def test_connections_go_through_a_tunnel(mesh: Mesh, app: Box, protocol: str, verb: str) -> None:
    lone(mesh)
    tunnel = f"{{protocol: '{protocol}', targetHost: far.example.com, targetPort: 9443}}"
    await mesh.push(rule(f"{{tunnel: {tunnel}}}", "raw"))
    async with listening("127.0.1.9", PORT) as heads:
        writer = await echo_start(app, mesh.address("raw"))
        head = (await asyncio.wait_for(heads.get(), LIMIT)).decode()
        writer.close()
    assert head.startswith(f"{verb} ")
    assert "far.example.com:9443" in head


async def echo_start(box: Box, address: str) -> asyncio.StreamWriter:
    made = box.socket(address)
    await asyncio.get_running_loop().sock_connect(made, (address, PORT))
    _, writer = await asyncio.open_connection(sock=made)
    writer.write(b"hello\n")
    await writer.drain()
    return writer


async def test_passing_through_keeps_to_the_endpoint_dialled(mesh: Mesh, app: Box) -> None:
    """By the service's address any endpoint is meant, as a cluster's own balancing would have it."""
    await mesh.push(rule("{loadBalancer: {simple: PASSTHROUGH}}"))
    assert len(await answering(mesh, app)) > 1
    assert (await greeting(app, mesh.address("web"), TCP)).startswith("web-")
    assert (await send(app, mesh.address("web"), AUTO)).status == 200
