"""Calls to hosts outside the mesh: by the egress gateway, and as TLS that the mesh makes of plain HTTP."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlite.agent import credentials
from meshlite.config import Settings
from meshlite.model.exposure import Egress
from tests import certificates
from tests.agent.envoys import one_loop
from tests.netns.test_gateway import Client, Edge, captured, context, edge, https, until, web
from tests.netns.world import Box, new_socket

__all__ = ["edge"]

pytestmark = one_loop

HOST = "api.localhost"
"""A name that every resolver takes for the host's own loopback, so nothing has to be told of it."""

AUTHORITY = certificates.authority("outside")


@dataclass
class Outside:
    """A server of HTTPS on the host's loopback, and what it was told: names by SNI, clients' names."""

    names: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    requests: int = 0


@asynccontextmanager
async def outside(folder: Path, *hosts: str, port: int = 443) -> AsyncIterator[Outside]:
    """It trusts the authority's clients, needs no certificate of them, and answers once on a connection."""
    seen = Outside()
    tls = context(AUTHORITY.leaf(*(hosts or (HOST,)), serial=77), folder)
    tls.load_verify_locations(cadata=AUTHORITY.certificate)
    tls.verify_mode = ssl.CERT_OPTIONAL
    tls.sni_callback = lambda _socket, name, _context: seen.names.append(str(name))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = writer.get_extra_info("ssl_object").getpeercert() or {}
        seen.clients.append(found.get("subject", ((("commonName", ""),),))[0][0][1])
        try:
            await reader.readuntil(b"\r\n\r\n")
            seen.requests += 1
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecure")
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    listener = new_socket("127.0.0.1")
    listener.bind(("127.0.0.1", port))
    server = await asyncio.start_server(answer, sock=listener, ssl=tls)
    try:
        yield seen
    finally:
        server.close()


def trusted(folder: Path, of: certificates.Authority = AUTHORITY, name: str = "trusted.pem") -> str:
    file = folder / name
    file.write_text(of.certificate)
    return str(file)


async def test_the_mesh_leaves_by_the_egress_gateway(edge: Edge, settings: Settings, app: Box) -> None:
    """From a captured workload to the gateway on the host's loopback, and from there to where it leads."""
    async with captured(edge, settings, app):
        out = {"selector": {"istio": "egressgateway"}, "servers": [https(80, "*", mode="ISTIO_MUTUAL")]}
        edge.apply("Gateway", "out", out)
        host = "istio-egressgateway.istio-system.svc.cluster.local"
        rules = [
            _by("mesh", {"host": host, "port": {"number": 80}}),
            _by("out", {"host": "api"}, headers={"request": {"set": {"x-forwarded-client-cert": "seen"}}}),
        ]
        name = "web.shop.svc.cluster.local"
        edge.apply("VirtualService", "leaving", {"hosts": [name], "gateways": ["mesh", "out"], "http": rules})
        address = next(one.address for one in edge.snapshot.services if one.name == "web")
        client = Client(8000, address=address, where=app)
        await until(lambda: client.get(name), "200 api")
        assert (await client.get(name)).endswith("http seen")
        assert await Client(80).get(name) == "refused"
        assert edge.problems == ()


async def test_an_outside_host_is_called_through_the_egress_gateway(
    edge: Edge, settings: Settings, app: Box
) -> None:
    """What `meshlite egress HOST --http` writes, with a host that is really elsewhere."""
    host = "api.outside.com"
    async with captured(edge, settings, app), web(8090, "outside", "10.77.0.1"):
        for resource in Egress(host, "http").resources():
            spec = dict(resource.spec)
            if resource.kind == "ServiceEntry":
                ports = [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8090}]
                spec |= {"resolution": "STATIC", "endpoints": [{"address": "10.77.0.1"}], "ports": ports}
            edge.apply(resource.kind, resource.name, spec, resource.namespace)
        client = Client(80, address="10.77.0.1", where=app)
        await until(lambda: client.get(host), "200 outside")
        assert "outside -" not in await client.get(host), "the gateway says for whom it calls"
        assert edge.problems == ()
        edge.documents = [one for one in edge.documents if one["kind"] != "Gateway"]
        edge.push()
        await until(lambda: client.get(host), "503")


def _by(gateway: str, destination: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"match": [{"gateways": [gateway]}], "route": [{"destination": destination}], **more}


async def test_tls_of_applications_passes_by_the_egress_gateway(
    edge: Edge, settings: Settings, app: Box
) -> None:
    """What `meshlite egress HOST` writes, unchanged: the application's TLS ends at the host itself."""
    async with captured(edge, settings, app), outside(edge.folder.parent) as seen:
        write(edge, Egress(HOST))
        client = Client(443, HOST, address="10.77.0.1", where=app)
        await until(lambda: client.get(HOST), "200 secure")
        assert await client.serial_number() == 77
        assert set(seen.names) == {HOST}
        assert edge.problems == ()
        edge.documents = [one for one in edge.documents if one["kind"] != "Gateway"]
        edge.push()
        await until(lambda: client.get(HOST), "broken")


async def test_the_egress_gateway_makes_tls_of_plain_http(
    edge: Edge, settings: Settings, app: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `meshlite egress HOST --originate-tls` writes, unchanged, with whom the system trusts."""
    folder = edge.folder.parent
    system = Path(trusted(folder, certificates.authority("others"), "system.pem"))
    monkeypatch.setattr(credentials, "TRUSTED", (system,))
    async with captured(edge, settings, app), outside(folder) as seen:
        write(edge, Egress(HOST, "originate"))
        client = Client(80, address="10.77.0.1", where=app)
        await until(lambda: client.get(HOST), "503 upstream connect error")
        assert seen.requests == 0
        trusted(folder, name="system.pem")
        await until(lambda: client.get(HOST), "200 secure")
        before = seen.requests
        assert [await client.get(HOST) for _ in range(5)] == ["200 secure"] * 5
        assert seen.requests == before + 5
        assert set(seen.names) == {HOST}
        assert edge.problems == ()
        write(edge, Egress("other.localhost", "originate"))

        async def reached() -> str:
            answer = await client.get("other.localhost")
            return answer if "other.localhost" in seen.names else "not asked"

        await until(reached, "503 upstream connect error")
        assert seen.requests == before + 5, "its certificate is for another host"


def write(edge: Edge, egress: Egress) -> None:
    for resource in egress.resources():
        edge.apply(resource.kind, resource.name, dict(resource.spec), resource.namespace)


def originated(edge: Edge, tls: dict[str, Any], **more: Any) -> None:
    """Istio's task: applications speak HTTP on port 80 of the host, the mesh speaks TLS to its port 443."""
    port = {"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 443}
    edge.apply("ServiceEntry", "api", {"hosts": [HOST], "ports": [port], "resolution": "DNS", **more})
    settings = [{"port": {"number": 80}, "tls": tls}]
    edge.apply("DestinationRule", "api", {"host": HOST, "trafficPolicy": {"portLevelSettings": settings}})


async def test_the_mesh_makes_tls_of_plain_http_with_files_that_come_and_change(
    edge: Edge, settings: Settings, app: Box
) -> None:
    """A client's certificate that is missing stops this host alone; later ones are shown at once."""
    folder = edge.folder.parent
    client = Client(80, address="10.77.0.1", where=app)
    async with captured(edge, settings, app), outside(folder) as seen:
        originated(edge, {"mode": "MUTUAL", "credentialName": "client"})
        await until(lambda: problems(edge), "credential shop/client-cacert: ")
        assert "shop/client/tls.crt does not exist; it is not served" in await problems(edge)
        await until(lambda: client.get(HOST), "503")
        web_address = next(one.address for one in edge.snapshot.services if one.name == "web")
        there = Client(8000, address=web_address, where=app)
        await until(lambda: there.get("web"), "200 web")
        give(edge, AUTHORITY.leaf("first.example.com"))
        await until(lambda: client.get(HOST), "200 secure")
        assert seen.clients[-1] == "first.example.com"
        await until(lambda: problems(edge), "none")
        give(edge, AUTHORITY.leaf("second.example.com"))

        async def shown() -> str:
            await client.get(HOST)
            return seen.clients[-1]

        await until(shown, "second.example.com")
        (edge.folder / "shop/client/tls.crt").write_text("gone")
        await until(lambda: problems(edge), "credential shop/client: ")
        assert "what it was before is served on" in await problems(edge)
        assert await client.get(HOST) == "200 secure"


def give(edge: Edge, pair: certificates.Pair) -> None:
    """The client's credential of namespace shop; the key first, so that the two never differ for long."""
    home = edge.folder / "shop" / "client"
    home.mkdir(parents=True, exist_ok=True)
    for file, text in {
        "ca.crt": AUTHORITY.certificate,
        "tls.key": pair.key,
        "tls.crt": pair.certificate,
    }.items():
        (home / f"{file}.new").write_text(text)
        (home / f"{file}.new").rename(home / file)


async def problems(edge: Edge) -> str:
    found = [f"{one.resource}: {one.reason}" for one in edge.credentials.problems]
    return "; ".join(found) or "none"


async def test_an_entrys_names_are_looked_for_in_the_certificate(
    edge: Edge, settings: Settings, app: Box
) -> None:
    """Where the rule names none itself: of a service whose certificate is not for its host."""
    folder = edge.folder.parent
    simple = {"mode": "SIMPLE", "caCertificates": trusted(folder)}
    client = Client(80, address="10.77.0.1", where=app)
    async with captured(edge, settings, app), outside(folder, "inner.example.net"):
        originated(edge, simple)
        await until(lambda: client.get(HOST), "503 upstream connect error")
        originated(edge, simple, subjectAltNames=["inner.example.net"])
        await until(lambda: client.get(HOST), "200 secure")
        originated(edge, {**simple, "subjectAltNames": [HOST]}, subjectAltNames=["inner.example.net"])
        await until(lambda: client.get(HOST), "503 upstream connect error")


async def test_a_certificate_that_was_taken_back_is_not_believed(
    edge: Edge, settings: Settings, app: Box
) -> None:
    folder = edge.folder.parent
    revoked = folder / "revoked.pem"
    revoked.write_text(AUTHORITY.revoked(5))
    tls = {"mode": "SIMPLE", "caCertificates": trusted(folder), "caCrl": str(revoked)}
    client = Client(80, address="10.77.0.1", where=app)
    async with captured(edge, settings, app), outside(folder):
        originated(edge, tls)
        await until(lambda: client.get(HOST), "200 secure")
        revoked.write_text(AUTHORITY.revoked(5, 77))
        await until(lambda: client.get(HOST), "503 upstream connect error")


TASK = """
kind: ServiceEntry
metadata: {name: api}
spec:
  hosts: [api.localhost]
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: https, protocol: HTTPS}]
  resolution: DNS
---
kind: Gateway
metadata: {name: out}
spec:
  selector: {istio: egressgateway}
  servers:
  - port: {number: 80, name: https-port-for-tls-origination, protocol: HTTPS}
    hosts: [api.localhost]
    tls: {mode: ISTIO_MUTUAL}
---
kind: DestinationRule
metadata: {name: to-the-gateway}
spec:
  host: istio-egressgateway.istio-system.svc.cluster.local
  subsets:
  - name: api
    trafficPolicy:
      loadBalancer: {simple: ROUND_ROBIN}
      portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL, sni: api.localhost}}]
---
kind: VirtualService
metadata: {name: by-the-gateway}
spec:
  hosts: [api.localhost]
  gateways: [out, mesh]
  http:
  - match: [{gateways: [mesh], port: 80}]
    route:
    - destination: {host: istio-egressgateway.istio-system.svc.cluster.local, subset: api, port: {number: 80}}
      weight: 100
  - match: [{gateways: [out], port: 80}]
    route: [{destination: {host: api.localhost, port: {number: 443}}, weight: 100}]
---
kind: DestinationRule
metadata: {name: from-the-gateway}
spec:
  host: api.localhost
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    portLevelSettings:
    - port: {number: 443}
      tls: {mode: MUTUAL, credentialName: client, sni: api.localhost}
"""


async def test_istios_task_of_tls_from_the_egress_gateway(edge: Edge, settings: Settings, app: Box) -> None:
    """Plain HTTP to the gateway, which shows the client's certificate of the rule's namespace."""
    give(edge, AUTHORITY.leaf("client.example.com"))
    async with captured(edge, settings, app), outside(edge.folder.parent) as seen:
        for one in yaml.safe_load_all(TASK):
            edge.apply(one["kind"], one["metadata"]["name"], one["spec"])
        client = Client(80, address="10.77.0.1", where=app)
        await until(lambda: client.get(HOST), "200 secure")
        assert edge.problems == ()
        assert set(seen.names) == {HOST}
        assert set(seen.clients) == {"client.example.com"}
        requests = seen.requests
        assert [await client.get(HOST) for _ in range(5)] == ["200 secure"] * 5
        assert seen.requests == requests + 5
        await until(lambda: by_the_subset(edge), str(seen.requests))


async def by_the_subset(edge: Edge) -> str:
    """How many requests of the application the gateway has answered well, by the proxy's own count."""
    gateway = "cluster.outbound|80|api|istio-egressgateway.meshlite-system.svc.cluster.local"
    stats = (await edge.node.proxy.admin.get("/stats")).decode().splitlines()
    found = [line for line in stats if line.startswith(f"meshlite.requests.source.shop/app.{gateway}")]
    return str(sum(int(line.rsplit(": ", 1)[1]) for line in found if ".code.200." in line))
