"""Declared hosts in a real Envoy between captured namespaces: how they are found, and who finds them."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import yaml

from meshlite.agent.capture import Capture
from meshlite.config import Settings
from meshlite.model.mesh import Resource
from tests.netns.meshed import OUTSIDE, VIRTUAL, Proxy, captured, envoy, get, until, web
from tests.netns.world import LIMIT, PATIENCE, Box, dial, run, serving

HTTP = "number: 80, name: http, protocol: HTTP"
FAR = ("10.77.0.101", "10.77.0.102")
"""Further addresses of the host, which stand for machines outside the mesh."""


@pytest.fixture
async def proxy(settings: Settings, capture: Capture, boxes: tuple[Box, Box]) -> AsyncIterator[Proxy]:
    """The app captured and permissive, the neighbour strict; Envoy has a hosts file of its own."""
    for address in FAR:
        run(f"ip addr add {address}/32 dev br0")
    made = await captured(settings, capture, boxes)
    made.hosts_file = settings.paths.run / "hosts"
    lines = ["127.0.0.1 localhost", *(f"{address} both.example.com" for address in FAR)]
    lines += [f"{FAR[0]} a.example.org", f"{FAR[1]} b.example.org"]
    made.hosts_file.write_text("\n".join([*lines, ""]))
    async with envoy(capture, made, boxes):
        yield made


def resource(kind: str, spec: str, name: str = "it", namespace: str = "test") -> Resource:
    api = "networking.istio.io/v1"
    return Resource(api_version=api, kind=kind, name=name, namespace=namespace, spec=yaml.safe_load(spec))


def entry(host: str, spec: str, name: str = "", namespace: str = "test", port: str = HTTP) -> Resource:
    """A ServiceEntry for one host and one port."""
    text = f"hosts: [{host!r}]\nports: [{{{port}}}]\n{spec}"
    return resource("ServiceEntry", text, name or host.strip("*."), namespace)


def virtual(proxy: Proxy, host: str) -> str:
    return next(one.address for one in proxy.hosts if one.host == host)


async def found(proxy: Proxy, box: Box, host: str, answer: str, address: str = "") -> None:
    """Push what is declared, and wait until it is found by name."""
    await proxy.push()
    await until(lambda: asked(box, address or virtual(proxy, host), host), answer)


async def asked(box: Box, address: str, host: str) -> str:
    """The answer on port 80; `nothing` where there is none, or one that does not end."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await get(box, address, 80, host)
    except (ConnectionError, IndexError, TimeoutError):
        return "nothing"


@asynccontextmanager
async def webs(*places: tuple[str, int]) -> AsyncIterator[None]:
    """HTTP servers on the host that answer with their address."""
    async with AsyncExitStack() as stack:
        for address, port in places:
            await stack.enter_async_context(web(None, address, port, address))
        yield


async def answers(box: Box, address: str, host: str, times: int) -> Counter[str]:
    """Who answered how often."""
    return Counter([(await get(box, address, 80, host)).split()[1] for _ in range(times)])


async def ask_tls(box: Box, address: str, port: int, name: str) -> str:
    """What comes back for a TLS client's first message; the servers here speak no TLS."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    made = box.socket(address)
    async with asyncio.timeout(LIMIT):
        await asyncio.get_running_loop().sock_connect(made, (address, port))
        reader, writer = await asyncio.open_connection(sock=made)
        writer.write(outgoing.read())
        try:
            return (await reader.readline()).decode().strip()
        except ConnectionResetError:
            return ""
        finally:
            writer.close()


async def test_static_endpoints_get_their_shares(proxy: Proxy, app: Box) -> None:
    endpoints = f"endpoints: [{{address: {FAR[0]}, weight: 3}}, {{address: {FAR[1]}, ports: {{http: 9001}}}}]"
    proxy.resources = [
        entry("api.example.com", f"resolution: STATIC\n{endpoints}", port=HTTP + ", targetPort: 9000"),
        resource(
            "DestinationRule",
            "host: api.example.com\ntrafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}",
        ),
    ]
    async with webs((FAR[0], 9000), (FAR[1], 9001)):
        await found(proxy, app, "api.example.com", "200 ")
        address = virtual(proxy, "api.example.com")
        assert await answers(app, address, "api.example.com", 40) == {FAR[0]: 30, FAR[1]: 10}
        assert (await get(app, OUTSIDE, 80, "api.example.com")).startswith("200 10.77.0.10")
        assert (await get(app, address, 80, "anything.example.com")).startswith("200 10.77.0.10")


async def test_routes_and_rules_apply_to_declared_hosts(proxy: Proxy, app: Box) -> None:
    endpoints = ", ".join(
        f"{{address: {address}, labels: {{version: v{n}}}}}" for n, address in enumerate(FAR)
    )
    proxy.resources = [
        entry("api.example.com", f"resolution: STATIC\nendpoints: [{endpoints}]"),
        resource("DestinationRule", "host: api.example.com\nsubsets: [{name: v1, labels: {version: v1}}]"),
        resource(
            "VirtualService",
            "hosts: [api.example.com]\nhttp: [{route: [{destination: {host: api.example.com, subset: v1}}]}]",
        ),
    ]
    async with webs((FAR[0], 80), (FAR[1], 80)):
        await found(proxy, app, "api.example.com", "200 ")
        assert set(await answers(app, virtual(proxy, "api.example.com"), "api.example.com", 8)) == {FAR[1]}


async def test_tcp_by_virtual_address_by_own_address_and_by_subnet(proxy: Proxy, app: Box) -> None:
    spec = f"resolution: STATIC\nendpoints: [{{address: {FAR[0]}, ports: {{db: 7000}}}}]"
    mongo = "number: 27017, name: db, protocol: MONGO"
    ranges = "addresses: [192.0.2.50, 198.51.100.0/24, 'fd00:1::/64']\n"
    proxy.resources = [
        entry("db.example.com", spec, port=mongo),
        entry("old.example.com", ranges + spec.replace(FAR[0], FAR[1]), port=mongo),
    ]
    async with serving(None, FAR[0], 7000, "new"), serving(None, FAR[1], 7000, "old"):
        await proxy.push()
        await until(lambda: dial(app, virtual(proxy, "db.example.com"), 27017), "new ")
        for address in ("192.0.2.50", "198.51.100.200", "fd00:1::5"):
            assert (await dial(app, address, 27017)).startswith("old "), address
        assert await dial(app, virtual(proxy, "db.example.com"), 27018) == ""


async def test_names_are_resolved_to_all_addresses_or_to_one(proxy: Proxy, app: Box) -> None:
    """And one that nobody knows holds up no other."""
    rule = "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}"
    proxy.resources = [
        entry("nowhere.example.com", "resolution: DNS"),
        entry("both.example.com", "resolution: DNS"),
        entry("one.example.com", "resolution: DNS_ROUND_ROBIN\nendpoints: [{address: both.example.com}]"),
        resource("DestinationRule", f"host: both.example.com\n{rule}"),
    ]
    async with webs((FAR[0], 80), (FAR[1], 80)):
        await found(proxy, app, "both.example.com", "200 ")
        assert await answers(app, virtual(proxy, "both.example.com"), "both.example.com", 20) == {
            FAR[0]: 10,
            FAR[1]: 10,
        }
        one, nowhere = "one.example.com", "nowhere.example.com"
        await until(lambda: asked(app, virtual(proxy, one), one), "200 ")
        assert len(await answers(app, virtual(proxy, one), one, 10)) == 1
        assert await get(app, virtual(proxy, nowhere), 80, nowhere) == "503 no healthy upstream"


async def test_wildcards_are_known_by_the_name_that_is_asked_for(proxy: Proxy, app: Box) -> None:
    """Only registered names may be called; they are dialled where the caller dials, from where it is."""
    tls = "number: 443, name: tls, protocol: TLS"
    proxy.resources = [
        resource("Sidecar", "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"),
        entry("*.example.org", "resolution: NONE"),
        entry("*.example.org", "resolution: NONE", name="tls", port=tls),
        entry("one.example.net", "resolution: NONE", port=tls),
    ]
    async with webs((OUTSIDE, 80)), serving(None, OUTSIDE, 443, "outside"):
        await found(proxy, app, "a.example.org", f"200 {OUTSIDE} {app.v4}", OUTSIDE)
        assert await get(app, OUTSIDE, 80, "example.org") == "502 "
        assert await get(app, OUTSIDE, 80, "a.example.com") == "502 "
        for name in ("a.example.org", "A.B.example.org", "one.example.net"):
            assert (await ask_tls(app, OUTSIDE, 443, name)).startswith("outside "), name
        for name in ("example.org", "a.example.com", "two.example.net"):
            assert await ask_tls(app, OUTSIDE, 443, name) == "", name


async def test_plain_tcp_without_an_address_is_all_that_is_left_on_the_port(proxy: Proxy, app: Box) -> None:
    proxy.resources = [
        resource("Sidecar", "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"),
        entry("any.example.net", "resolution: NONE", port="number: 7000, name: tcp, protocol: TCP"),
    ]
    async with serving(None, OUTSIDE, 7000, "outside"), serving(None, OUTSIDE, 7001, "outside"):
        await proxy.push()
        await until(lambda: dial(app, OUTSIDE, 7000), "outside ")
        assert await dial(app, OUTSIDE, 7001) == ""


async def test_what_is_not_exported_is_not_found(proxy: Proxy, app: Box) -> None:
    far = f"resolution: STATIC\nendpoints: [{{address: {FAR[0]}}}]\n"
    proxy.resources = [
        entry("public.example.com", far, namespace="other"),
        entry("named.example.com", far + "exportTo: [test]", namespace="other"),
        entry("private.example.com", far + "exportTo: ['.']", namespace="other"),
        entry("hidden.example.com", far + "exportTo: ['~']", namespace="other"),
    ]
    async with webs((FAR[0], 80)):
        await found(proxy, app, "public.example.com", "200 ")
        assert (await get(app, virtual(proxy, "named.example.com"), 80, "named.example.com"))[:4] == "200 "
        for host in ("private.example.com", "hidden.example.com"):
            assert (await get(app, virtual(proxy, host), 80, host)).startswith("503 "), host


async def test_of_namesakes_each_namespace_means_its_own(proxy: Proxy, app: Box) -> None:
    far = "resolution: STATIC\nendpoints: [{address: WHERE}]"
    proxy.resources = [
        entry("api.example.com", far.replace("WHERE", FAR[0]), namespace="other"),
        entry("api.example.com", far.replace("WHERE", FAR[1])),
    ]
    own = next(one.address for one in proxy.hosts if one.namespace == "test")
    async with webs((FAR[0], 80), (FAR[1], 80)):
        await found(proxy, app, "api.example.com", f"200 {FAR[1]}", own)
        assert set(await answers(app, OUTSIDE, "api.example.com", 6)) == {FAR[1]}
        proxy.resources = proxy.resources[:1]
        await found(proxy, app, "api.example.com", f"200 {FAR[0]}")


async def test_entries_for_one_host_add_up(proxy: Proxy, app: Box) -> None:
    proxy.resources = [
        entry("api.example.com", f"resolution: STATIC\nendpoints: [{{address: {address}}}]", name=f"e{n}")
        for n, address in enumerate(FAR)
    ]
    async with webs((FAR[0], 80), (FAR[1], 80)):
        await found(proxy, app, "api.example.com", "200 ")
        assert set(await answers(app, virtual(proxy, "api.example.com"), "api.example.com", 20)) == {*FAR}


async def test_a_selector_takes_workloads_and_written_ones(proxy: Proxy, app: Box, neighbour: Box) -> None:
    """The workload is strict: it is reached by its link."""
    proxy.resources = [
        entry(
            "both.example.net",
            "resolution: STATIC\nlocation: MESH_INTERNAL\nworkloadSelector: {labels: {app: neighbour}}",
            port=HTTP + ", targetPort: 8000",
        ),
        resource(
            "WorkloadEntry", f"address: {FAR[0]}\nlabels: {{app: neighbour}}\nports: {{http: 8001}}", "vm"
        ),
    ]
    async with webs((FAR[0], 8001), (FAR[0], 8000)):
        await found(proxy, app, "both.example.net", "200 ")
        address = virtual(proxy, "both.example.net")
        assert set(await answers(app, address, "both.example.net", 20)) == {"neighbour", FAR[0]}
        answered = {(await get(app, VIRTUAL["neighbour"], 8000, "neighbour")).split()[1] for _ in range(20)}
        assert answered == {"neighbour", FAR[0]}


async def test_a_name_may_lead_to_a_service_of_the_mesh(proxy: Proxy, app: Box) -> None:
    spec = "resolution: DNS\nendpoints: [{address: neighbour.test.svc.cluster.local, ports: {http: 8000}}]"
    proxy.resources = [entry("api.example.com", spec)]
    await found(proxy, app, "api.example.com", "200 neighbour ")


async def test_loopback_is_the_callers_own(proxy: Proxy, app: Box) -> None:
    proxy.resources = [entry("me.example.com", "resolution: STATIC\nendpoints: [{address: 127.0.0.1}]")]
    async with web(app, "127.0.0.1", 80, "mine"), web(None, "127.0.0.1", 80, "host"):
        await found(proxy, app, "me.example.com", "200 mine ")


async def test_a_unix_socket_is_an_endpoint(proxy: Proxy, app: Box) -> None:
    path = proxy.folder / "app.sock"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix")
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    proxy.resources = [
        entry("u.example.com", f"resolution: STATIC\nendpoints: [{{address: 'unix://{path}'}}]")
    ]
    try:
        await found(proxy, app, "u.example.com", "200 unix")
    finally:
        server.close()


async def test_whatever_name_is_asked_for_is_resolved(proxy: Proxy, app: Box) -> None:
    """By the proxy: where the caller dials does not matter, so no name leads to another host."""
    tls = "number: 443, name: tls, protocol: TLS"
    proxy.resources = [
        entry("*.example.org", "resolution: DYNAMIC_DNS"),
        entry("*.example.org", "resolution: DYNAMIC_DNS", name="tls", port=tls),
    ]
    async with (
        webs((FAR[0], 80), (OUTSIDE, 80)),
        serving(None, FAR[0], 443, "a"),
        serving(None, OUTSIDE, 443, "outside"),
    ):
        await found(proxy, app, "a.example.org", f"200 {FAR[0]}", OUTSIDE)
        assert (await get(app, OUTSIDE, 80, "nobody.example.org")).startswith("503 ")
        assert (await ask_tls(app, OUTSIDE, 443, "a.example.org")).startswith("a ")
        assert await ask_tls(app, OUTSIDE, 443, "nobody.example.org") == ""
