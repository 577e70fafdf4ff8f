"""Another root for the mesh while requests run between two Envoys by mutual TLS, a handshake for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meshlite.agent import certs, keys, keysmith, upstream
from meshlite.agent.certs import ROOTS, Certificates
from meshlite.agent.upstream import Upstream
from meshlite.config import Paths, Ports, Settings
from meshlite.model.workload import Port, Workload
from meshlite.translate.envoy import schema
from meshlite.translate.translation import Encoded
from tests.agent.envoys import Node, agent, answering, answers, free_port, load, needs_root, one_loop, until
from tests.agent.test_upstream import Server

pytestmark = [needs_root, one_loop]

ADS = {"ads": {}, "resource_api_version": "V3"}


@dataclass
class Host:
    """A node's certificates in a real Envoy, and what it tells the server of them."""

    node: Node
    upstream: Upstream
    certificates: Certificates
    identity: str
    resources: Mapping[str, dict[str, Encoded]]
    trust: dict[str, Any]

    async def follow(self) -> None:
        async for snapshot in self.upstream.snapshot:
            self.certificates.follow(snapshot.trust)
            self._publish()

    async def hand_out(self) -> None:
        async for _ in self.certificates.held:
            self._publish()

    async def tell(self) -> None:
        """What it hands out, once the proxy has it."""
        while True:
            held, trust = self.certificates.held.value, self.certificates.trust
            signers = {one.signer for one in held.values() if one.certificate} | {self.upstream.signer}
            if await self.node.xds.caught_up(60.0) and held is self.certificates.held.value:
                told = {"roots": sorted(keys.pins(trust.roots)), "signers": sorted(signers)}
                if told != self.trust:
                    self.trust.clear()
                    self.trust.update(told)
                    self.upstream.tell()
            await asyncio.sleep(0.05)

    def _publish(self) -> None:
        held, roots = self.certificates.held.value, self.certificates.trust.roots
        self.node.publish(**self.resources, SDS=certs.secrets(held, roots))


@asynccontextmanager
async def host(
    settings: Settings, token: str, resources: Mapping[str, dict[str, Encoded]]
) -> AsyncIterator[Host]:
    name = settings.node
    trust: dict[str, Any] = {}
    link = Upstream(settings, token, lambda: {"trust": dict(trust)})
    identity = f"spiffe://cluster.local/ns/shop/sa/{name}"
    async with agent(settings) as node:
        made = Host(node, link, Certificates(link.sign, here), identity, resources, trust)
        one = Workload(
            id=name, node=name, name=name, service=name, namespace="shop", ports=(Port(number=80),)
        )
        link.report((one,))
        made.certificates.want(frozenset({identity}))
        async with asyncio.TaskGroup() as tasks:
            works = (link.run(), made.certificates.run(), made.follow(), made.hand_out(), made.tell())
            running = [tasks.create_task(work) for work in works]
            try:
                yield made
            finally:
                for task in running:
                    task.cancel()


async def here(count: int) -> list[keys.Key]:
    """Keys without a process for each: many are needed."""
    return [keys.Key(**keysmith.made()) for _ in range(count)]


def tls(kind: str, identity: str, **more: object) -> dict[str, object]:
    """Mutual TLS with secrets as workloads have them."""
    context = {
        "tls_certificate_sds_secret_configs": [{"name": identity, "sds_config": ADS}],
        "validation_context_sds_secret_config": {"name": ROOTS, "sds_config": ADS},
    }
    body = {"common_tls_context": context, **more}
    typed = schema.typed(f"envoy.extensions.transport_sockets.tls.v3.{kind}", body)
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


def called(port: int, identity: str) -> dict[str, dict[str, Encoded]]:
    """A listener that lets in who shows a certificate of the mesh."""
    name = f"web-{port}"
    body: dict[str, Any] = dict(schema.decode(schema.LISTENER, answering(port, "hello")[name].body))
    body["filter_chains"][0]["transport_socket"] = tls(
        "DownstreamTlsContext", identity, require_client_certificate=True
    )
    return {"LDS": {name: Encoded.of(schema.encode(schema.LISTENER, body))}}


def calling(front: int, port: int, identity: str) -> dict[str, dict[str, Encoded]]:
    """A plain listener whose requests go to `port` by TLS, each on a connection of its own."""
    once = {
        "common_http_protocol_options": {"max_requests_per_connection": 1},
        "explicit_http_config": {"http_protocol_options": {}},
    }
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    end = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
    cluster = {
        "name": "away",
        "type": "STATIC",
        "connect_timeout": "60s",
        "load_assignment": {"cluster_name": "away", "endpoints": [{"lb_endpoints": [{"endpoint": end}]}]},
        "transport_socket": tls("UpstreamTlsContext", identity, sni="away"),
        "typed_extension_protocol_options": {options: schema.typed(options, once)},
    }
    name = f"web-{front}"
    body: dict[str, Any] = dict(schema.decode(schema.LISTENER, answering(front, "")[name].body))
    manager = body["filter_chains"][0]["filters"][0]["typed_config"]
    route = manager["route_config"]["virtual_hosts"][0]["routes"][0]
    del route["direct_response"]
    route["route"] = {"cluster": "away"}
    return {
        "LDS": {name: Encoded.of(schema.encode(schema.LISTENER, body))},
        "CDS": {"away": Encoded.of(schema.encode(schema.CLUSTER, cluster))},
    }


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    ports = Ports(server=free_port(), agent=settings.ports.agent)
    made = Server(settings.model_copy(update={"ports": ports, "node": "caller"}))
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates are renewed all the time, and soon by another authority."""
    monkeypatch.setattr(certs, "refresh_at", lambda got, end, jitter: got + 0.5 + jitter)
    monkeypatch.setattr(keys, "make", here)
    for module in (certs, upstream):
        monkeypatch.setattr(module, "SPREAD_SECONDS", 0.2)
    monkeypatch.setattr(upstream, "BACK_OFF", (0.05, 0.2))


async def step(server: Server, wanted: str) -> dict[str, Any]:
    """The next step, as soon as nobody is in its way."""
    async with asyncio.timeout(60):
        while True:
            value = await server.ask("GET", "/v1/authorities")
            assert value["next"] == wanted
            if not value["waiting"]:
                break
            await asyncio.sleep(0.05)
    answer: dict[str, Any] = await server.ask("POST", "/v1/authorities/rotation", {"step": wanted})
    return answer


async def test_another_root_fails_no_request_also_with_the_server_killed_in_between(
    server: Server, other: Settings, soon: None
) -> None:
    front, back = free_port(), free_port()
    await server.start()
    token = (await server.ask("POST", "/v1/tokens", {"node": "called"}))["token"]
    url = f"https://127.0.0.1:{server.settings.ports.server}"
    remote = other.model_copy(update={"server": url, "node": "called"})
    ids = {name: f"spiffe://cluster.local/ns/shop/sa/{name}" for name in ("caller", "called")}
    async with (
        host(server.settings, "", calling(front, back, ids["caller"])) as caller,
        host(remote, token, called(back, ids["called"])) as callee,
    ):
        await answers(front, "hello")
        first = (await server.ask("GET", "/v1/authorities"))["signing"]["sha256"]
        serials = {one.certificates.held.value[one.identity].serial for one in (caller, callee)}
        async with load(front, clients=2) as seen:
            for wanted in ("announce", "sign", "drop"):
                await step(server, wanted)
                await seen.more(20)
                if wanted != "sign":
                    continue
                server.kill()
                await seen.more(20)
                await server.start()
                for one in (caller, callee):
                    await until(lambda one=one: one.upstream.link.connected)
            last = (await server.ask("GET", "/v1/authorities"))["signing"]["sha256"]
            for one in (caller, callee):
                await until(lambda one=one: one.trust == {"roots": [last], "signers": [last]})
            await seen.more(50)
        assert not seen.failures
        assert last != first
        assert not serials & {one.certificates.held.value[one.identity].serial for one in (caller, callee)}
        handshakes = await caller.node.counter("cluster.away.ssl.handshake")
        assert handshakes >= seen.done, "each request was a handshake"


@pytest.fixture
def other(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Another host's folders."""
    from meshlite.agent import launch_plan, proxy

    folder = Path(settings.paths.run).parent / "other"
    folder.mkdir(mode=0o755)
    paths = Paths(state=folder / "state", run=folder / "run")
    made = settings.model_copy(update={"paths": paths, "ports": Ports(agent=free_port())})
    try:
        yield made
    finally:
        proxy.remove(launch_plan.plan_of(made))
