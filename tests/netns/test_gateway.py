"""Gateways in a real Envoy, on a host of the test's own: by name, with certificates, through and refused."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest_asyncio
from cryptography import x509

from meshlite.agent import ads, gateways, launch_plan, proxy
from meshlite.agent.capture import Attached, Capture, Mode
from meshlite.agent.credentials import Credentials
from meshlite.config import Settings
from meshlite.translate.node import Attachment
from meshlite.translate.translate import translate
from tests import certificates
from tests.agent import envoys
from tests.agent.envoys import Node, one_loop
from tests.netns.world import LIMIT, Box, new_socket
from tests.translate import cases

pytestmark = one_loop

AUTHORITY = certificates.authority("clients")
WEB = {"name": "web-1", "service": "web", "ports": ["http:8000", "tcp:9000", "tls:9443"], "host": "127.0.0.1"}
API = {"name": "api-1", "service": "api", "ports": ["http:8001"], "host": "127.0.0.1"}
FRONT = {"istio": "ingressgateway"}


@dataclass
class Edge:
    """An Envoy that has what translate makes of the current resources, and the credentials of `folder`."""

    node: Node
    credentials: Credentials
    documents: list[dict[str, Any]] = field(default_factory=list)
    problems: tuple[str, ...] = ()
    attached: tuple[Attached, Box] | None = None
    workloads: list[dict[str, Any]] = field(default_factory=lambda: [WEB, API])

    @property
    def folder(self) -> Path:
        return self.credentials.folder

    def apply(
        self, kind: str, name: str, spec: dict[str, Any], namespace: str = "shop", **annotations: str
    ) -> None:
        meta = {"name": name, "namespace": namespace, "annotations": annotations}
        document = {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": meta, "spec": spec}
        others = [one for one in self.documents if (one["kind"], one["metadata"]["name"]) != (kind, name)]
        self.documents = [*others, document]
        self.push()

    def gateway(self, *servers: dict[str, Any], name: str = "front", **annotations: str) -> None:
        self.apply("Gateway", name, {"selector": FRONT, "servers": list(servers)}, **annotations)

    def route(self, host: str, service: str, name: str = "", **more: Any) -> None:
        rules = {"http": [{"route": [{"destination": {"host": service}}]}], **more}
        if service == "web" and "http" not in more:
            rules["http"][0]["route"][0]["destination"]["port"] = {"number": 8000}
        self.apply("VirtualService", name or host, {"hosts": [host], "gateways": ["front"], **rules})

    def push(self) -> None:
        self.snapshot, view = cases.mesh({"workloads": self.workloads, "resources": self.documents})
        if self.attached is not None:
            item, box = self.attached
            app = box.found.workload.model_copy(update={"node": view.name, "namespace": "shop", "ports": ()})
            workloads = (*self.snapshot.workloads, app)
            self.snapshot = self.snapshot.model_copy(update={"workloads": workloads})
            attachment = Attachment(item.key, item.path, item.link, app.id, (app.id,), (), item.ipv6)
            view = replace(view, attachments=(attachment,))
        self.translation = translation = translate(self.snapshot, view)
        self.problems = tuple(f"{one.resource}: {one.reason}" for one in translation.problems)
        self.node.xds.publish({**translation.resources, ads.SECRET: self.credentials.secrets}, 0.0)

    def credential(self, name: str, pair: certificates.Pair, roots: str = "") -> None:
        home = self.folder / "meshlite-system" / name
        home.mkdir(parents=True, exist_ok=True)
        for file, text in {"tls.key": pair.key, "tls.crt": pair.certificate, "ca.crt": roots}.items():
            if text:
                (home / f"{file}.new").write_text(text)
                (home / f"{file}.new").rename(home / file)


@pytest_asyncio.fixture(loop_scope="session")
async def edge(host: None, settings: Settings) -> AsyncIterator[Edge]:
    """A host with two web servers, an echo server and a TLS server on its loopback, and an Envoy."""
    settings = settings.model_copy(update={"proxy_concurrency": 1})
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(web(8000, "web"))
        await stack.enter_async_context(web(8001, "api"))
        await stack.enter_async_context(echo(9000, "tcp"))
        own = certificates.authority("own").leaf("own.example.com")
        await stack.enter_async_context(echo(9443, "tls", context(own, settings.paths.run.parent)))
        node = await stack.enter_async_context(envoys.agent(settings))
        edge = Edge(node, Credentials(settings.paths.run.parent / "credentials"))
        edge.push()
        group = await stack.enter_async_context(asyncio.TaskGroup())
        following = [
            group.create_task(edge.credentials.run(node.xds.secrets)),
            group.create_task(_follow(edge)),
        ]
        await node.state("running")
        try:
            yield edge
        finally:
            for task in following:
                task.cancel()
            proxy.remove(launch_plan.plan_of(settings))


async def _follow(edge: Edge) -> None:
    async for _ in edge.credentials.held:
        edge.push()


def context(pair: certificates.Pair, folder: Path, server: bool = True) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    file = folder / f"pair-{id(pair)}.pem"
    file.write_text(pair.certificate + pair.key)
    made.load_cert_chain(file)
    return made


def web(port: int, label: str, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Any:
    """An HTTP server that answers with its label and what it was told of its caller."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                told = {name: text for name, _, text in (line.partition(": ") for line in lines[1:])}
                if told.get("upgrade") == "websocket":
                    answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket"
                    writer.write(f"{answer}\r\n\r\n".encode())
                    writer.write(await reader.readline())
                    continue
                said = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-client-cert")
                body = " ".join((label, *(told.get(name, "-") for name in said)))
                writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return _serving(port, answer, tls, address)


def echo(port: int, label: str, tls: ssl.SSLContext | None = None) -> Any:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{label}\n".encode())
        try:
            while line := await reader.readline():
                writer.write(line)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    return _serving(port, answer, tls)


class _serving:
    def __init__(
        self, port: int, answer: Any, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1"
    ) -> None:
        self.address, self.port, self.answer, self.tls = address, port, answer, tls

    async def __aenter__(self) -> None:
        listener = new_socket(self.address)
        listener.bind((self.address, self.port))
        self.server = await asyncio.start_server(self.answer, sock=listener, ssl=self.tls)

    async def __aexit__(self, *_: object) -> None:
        self.server.close()


@dataclass
class Client:
    """How to ask: with TLS where `name` is given, maybe with a certificate. `first`: sent before all."""

    port: int
    name: str = ""
    own: ssl.SSLContext | None = None
    first: bytes = b""
    address: str = "10.77.0.1"
    where: Box | None = None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        made = self.where.socket(self.address) if self.where else new_socket(self.address)
        await asyncio.get_running_loop().sock_connect(made, (self.address, self.port))
        if self.first:
            await asyncio.get_running_loop().sock_sendall(made, self.first)
        if not self.name:
            return await asyncio.open_connection(sock=made)
        tls = self.own or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        return await asyncio.open_connection(sock=made, ssl=tls, server_hostname=self.name)

    async def get(self, host: str, path: str = "/") -> str:
        """`<status> <location or body>`; in a word what happened instead."""
        try:
            async with asyncio.timeout(LIMIT):
                reader, writer = await self.open()
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                answer = await reader.read()
                writer.close()
        except ConnectionRefusedError:
            return "refused"
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            return "broken"
        if not answer:
            return "closed"
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        location = [line.partition(": ")[2] for line in lines if line.lower().startswith("location")]
        return f"{status.split()[1]} {location[0] if location else body.decode()}".strip()

    async def greeting(self) -> str:
        try:
            async with asyncio.timeout(LIMIT):
                reader, writer = await self.open()
                line = (await reader.readline()).decode().strip()
                writer.close()
        except OSError:
            return "broken"
        return line

    async def serial_number(self) -> int:
        """The serial number of the certificate that is served for the name."""
        async with asyncio.timeout(LIMIT):
            _, writer = await self.open()
            found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.close()
        return x509.load_der_x509_certificate(found).serial_number


async def until(ask: Callable[[], Awaitable[str]], answer: str) -> None:
    """Ask until the answer begins so."""
    found = ""
    try:
        async with asyncio.timeout(LIMIT):
            while not (found := await ask()).startswith(answer):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"wanted {answer!r}, last seen {found!r}") from None


def http(port: int, *hosts: str, name: str = "http", **more: Any) -> dict[str, Any]:
    return {"port": {"number": port, "name": name, "protocol": "HTTP"}, "hosts": list(hosts), **more}


def https(port: int, *hosts: str, name: str = "https", **tls: Any) -> dict[str, Any]:
    described = {"number": port, "name": name, "protocol": "HTTPS"}
    return {"port": described, "hosts": list(hosts), "tls": {"mode": "SIMPLE", **tls}}


async def test_hosts_are_told_apart_and_strangers_get_404(edge: Edge) -> None:
    edge.gateway(http(80, "*.example.com", "api.example.org"))
    edge.route("www.example.com", "web")
    edge.route("api.example.org", "api")
    edge.route("elsewhere.org", "api")
    ask = Client(80)
    await until(lambda: ask.get("www.example.com"), "200 web 10.77.0.1 http")
    await until(lambda: ask.get("api.example.org:80"), "200 api")
    assert await ask.get("elsewhere.org") == "404"
    assert await ask.get("other.example.com") == "404"


async def test_ports_open_and_close_with_the_gateway(edge: Edge) -> None:
    assert await Client(80).get("www.example.com") == "refused"
    edge.gateway(http(80, "*"))
    edge.route("www.example.com", "web")
    await until(lambda: Client(80).get("www.example.com"), "200 web")
    edge.gateway(http(8080, "*"))
    await until(lambda: Client(8080).get("www.example.com"), "200 web")
    await until(lambda: Client(80).get("www.example.com"), "refused")


async def test_a_client_cannot_forge_where_it_comes_from(edge: Edge) -> None:
    edge.gateway(http(80, "*"), **{"proxy.istio.io/config": "gatewayTopology: {proxyProtocol: {}}"})
    edge.route("www.example.com", "web")
    proxied = Client(80, first=b"PROXY TCP4 192.0.2.7 10.77.0.1 4711 80\r\n")
    await until(lambda: proxied.get("www.example.com"), "200 web 192.0.2.7 http")
    addresses = socket.inet_aton("192.0.2.8") + socket.inet_aton("10.77.0.1") + struct.pack("!HH", 4711, 80)
    binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", len(addresses)) + addresses
    assert await Client(80, first=binary).get("www.example.com") == "200 web 192.0.2.8 http -"
    assert await Client(80).get("www.example.com") in ("closed", "broken")


async def test_plain_http_is_sent_to_https(edge: Edge) -> None:
    edge.gateway(http(80, "www.example.com", tls={"httpsRedirect": True}))
    await until(lambda: Client(80).get("www.example.com", "/a?b"), "301 https://www.example.com/a?b")
    assert await Client(80).get("other.example.com") == "404"


async def test_certificates_by_server_name_and_renewed_with_their_files(edge: Edge) -> None:
    one, two = AUTHORITY.leaf("a.example.com", serial=11), AUTHORITY.leaf("b.example.com", serial=12)
    edge.credential("a", one)
    files = edge.folder / "b.crt", edge.folder / "b.key"
    files[0].write_text(two.certificate)
    files[1].write_text(two.key)
    by_file = {"serverCertificate": str(files[0]), "privateKey": str(files[1])}
    edge.gateway(
        https(443, "a.example.com", credentialName="a"), https(443, "*.example.com", name="b", **by_file)
    )
    edge.route("a.example.com", "web")
    edge.route("b.example.com", "api")
    await until(lambda: Client(443, "a.example.com").get("a.example.com"), "200 web 10.77.0.1 https")
    await until(lambda: Client(443, "b.example.com").get("b.example.com"), "200 api")
    assert await Client(443, "a.example.com").serial_number() == 11
    assert await Client(443, "b.example.com").serial_number() == 12
    assert await Client(443, "elsewhere.org").get("a.example.com") == "broken"
    edge.credential("a", AUTHORITY.leaf("a.example.com", serial=13))

    async def serial() -> str:
        return str(await Client(443, "a.example.com").serial_number())

    await until(serial, "13")
    (edge.folder / "meshlite-system/a/tls.crt").write_text("gone")
    await until(_problem(edge), "tls.crt holds no certificate in PEM form; what it was before is served on")
    assert await serial() == "13"
    assert await Client(443, "b.example.com").get("b.example.com") == "200 api 10.77.0.1 https -"


def _problem(edge: Edge) -> Callable[[], Awaitable[str]]:
    """What is wrong with credentials, from the file's name on."""

    async def ask() -> str:
        reasons = [one.reason for one in edge.credentials.problems]
        return reasons[0].rpartition("/")[2] if reasons else ""

    return ask


async def test_a_missing_credential_breaks_no_other_server(edge: Edge) -> None:
    edge.credential("a", AUTHORITY.leaf("a.example.com"))
    edge.gateway(
        https(443, "a.example.com", credentialName="a"),
        https(443, "b.example.com", name="b", credentialName="b"),
    )
    edge.route("a.example.com", "web")
    await until(lambda: Client(443, "a.example.com").get("a.example.com"), "200 web")
    await until(_problem(edge), "tls.crt does not exist; it is not served")
    assert await Client(443, "b.example.com").get("a.example.com") == "broken"
    edge.credential("b", AUTHORITY.leaf("b.example.com"))
    edge.route("b.example.com", "api")
    await until(lambda: Client(443, "b.example.com").get("b.example.com"), "200 api")
    assert edge.credentials.problems == ()


async def test_clients_with_and_without_certificates(edge: Edge) -> None:
    edge.credential("a", AUTHORITY.leaf("a.example.com"), roots=AUTHORITY.certificate)
    edge.gateway(
        https(443, "a.example.com", mode="MUTUAL", credentialName="a"),
        https(443, "b.example.com", name="b", mode="OPTIONAL_MUTUAL", credentialName="a"),
        https(
            443,
            "c.example.com",
            name="c",
            mode="MUTUAL",
            credentialName="a",
            subjectAltNames=["spiffe://good"],
        ),
    )
    for host in ("a.example.com", "b.example.com", "c.example.com"):
        edge.route(host, "web")
    known, folder = AUTHORITY.leaf(uri="spiffe://good"), edge.folder
    others = AUTHORITY.leaf(uri="spiffe://other")
    stranger = certificates.authority("strangers").leaf(uri="spiffe://good")

    def ask(letter: str, pair: certificates.Pair | None) -> Awaitable[str]:
        own = context(pair, folder, server=False) if pair is not None else None
        return Client(443, f"{letter}.example.com", own).get(f"{letter}.example.com")

    await until(lambda: ask("a", known), "200 web 10.77.0.1 https")
    assert "URI=spiffe://good" in await ask("a", known)
    assert await ask("a", None) in ("broken", "closed")
    assert await ask("a", stranger) in ("broken", "closed")
    assert (await ask("b", None)).startswith("200 web")
    assert (await ask("b", known)).startswith("200 web")
    assert (await ask("c", known)).startswith("200 web")
    assert await ask("c", others) in ("broken", "closed")


async def test_old_versions_of_tls_are_refused(edge: Edge) -> None:
    edge.credential("a", AUTHORITY.leaf("a.example.com"))
    edge.gateway(https(443, "a.example.com", credentialName="a", minProtocolVersion="TLSV1_3"))
    edge.route("a.example.com", "web")
    await until(lambda: Client(443, "a.example.com").get("a.example.com"), "200 web")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await Client(443, "a.example.com", old).get("a.example.com") == "broken"


async def test_a_port_that_is_taken_is_a_problem_until_it_is_free(edge: Edge) -> None:
    taken = new_socket("0.0.0.0")
    taken.bind(("0.0.0.0", 8080))
    taken.listen()
    edge.gateway(http(8080, "*", name="taken"), http(80, "*"))
    edge.route("www.example.com", "web")
    await until(lambda: Client(80).get("www.example.com"), "200 web")

    async def problem() -> str:
        found = gateways.unopened(edge.translation.gateways, edge.node.xds.rejections, {})
        return " ".join(f"{one.resource}: {one.reason}" for one in found)

    await until(problem, "Gateway/shop/front: port 8080 (0.0.0.0) is taken by another program")
    taken.close()
    await until(lambda: Client(8080).get("www.example.com"), "200 web")
    assert await problem() == ""


async def test_tcp_goes_where_its_route_says(edge: Edge) -> None:
    edge.gateway({"port": {"number": 3306, "name": "db", "protocol": "TCP"}, "hosts": ["*"]})
    assert edge.problems == (
        "Gateway/shop/front: port 3306: no VirtualService has a tcp route for it; the port is not served",
    )
    elsewhere = {"match": [{"port": 1}], "route": [{"destination": {"host": "api"}}]}
    here = {"match": [{"port": 3306}], "route": [{"destination": {"host": "web", "port": {"number": 9000}}}]}
    edge.route("db.example.com", "web", tcp=[elsewhere, here], http=[])
    await until(lambda: Client(3306).greeting(), "tcp")
    assert edge.problems == ()


async def test_tls_passes_through_by_server_name(edge: Edge) -> None:
    edge.credential("a", AUTHORITY.leaf("a.example.com", serial=21))
    passed = {"number": 443, "name": "passed", "protocol": "TLS"}
    edge.gateway(
        {"port": passed, "hosts": ["*.example.com"], "tls": {"mode": "PASSTHROUGH"}},
        https(443, "a.example.org", credentialName="a"),
    )
    route = [{"destination": {"host": "web", "port": {"number": 9443}}}]
    names = ["own.example.com", "other.example.org"]
    edge.apply(
        "VirtualService",
        "own",
        {"hosts": names, "gateways": ["front"], "tls": [{"match": [{"sniHosts": names}], "route": route}]},
    )
    edge.route("a.example.org", "web")
    await until(lambda: Client(443, "own.example.com").greeting(), "tls")
    await until(lambda: Client(443, "a.example.org").get("a.example.org"), "200 web")
    assert await Client(443, "a.example.org").serial_number() == 21
    assert await Client(443, "own.example.com").serial_number() != 21
    assert await Client(443, "other.example.org").greeting() == "broken"
    assert await Client(443, "unknown.example.com").greeting() == "broken"


async def test_tls_that_ends_at_the_gateway_carries_tcp(edge: Edge) -> None:
    edge.credential("a", AUTHORITY.leaf("a.example.com"))
    port = {"number": 9993, "name": "mail", "protocol": "TLS"}
    edge.gateway({"port": port, "hosts": ["a.example.com"], "tls": {"mode": "SIMPLE", "credentialName": "a"}})
    route = [{"destination": {"host": "web", "port": {"number": 9000}}}]
    edge.route("a.example.com", "web", tcp=[{"route": route}], http=[])
    await until(lambda: Client(9993, "a.example.com").greeting(), "tcp")
    assert await Client(9993, "b.example.com").greeting() == "broken"


@asynccontextmanager
async def captured(edge: Edge, settings: Settings, box: Box) -> AsyncIterator[tuple[Capture, Attached]]:
    """The box is a workload of the mesh meanwhile, which anybody may call."""
    capture = Capture(settings)
    await capture.start()
    item = await capture.attach(box.found)
    try:
        await capture.set_mode(item.key, Mode())
        edge.attached = (item, box)
        edge.push()
        yield capture, item
    finally:
        await capture.detach(item.key)


async def test_a_captured_workload_can_be_a_gateway(edge: Edge, settings: Settings, app: Box) -> None:
    """Its ports are open in its own namespace, for strangers and for the mesh, also where it is STRICT."""
    async with captured(edge, settings, app) as (capture, item):
        server = http(80, "www.example.com")
        edge.apply("Gateway", "front", {"selector": {"app": "app"}, "servers": [server]})
        edge.route("www.example.com", "web")
        mode = edge.translation.strict[item.key]
        await capture.set_mode(item.key, Mode(strict=True, gateways=mode.gateways))
        ask = Client(80, address=app.v4)
        await until(lambda: ask.get("www.example.com"), "200 web 10.77.0.1 http")
        assert await Client(80).get("www.example.com") == "refused"


async def test_websockets_and_http2_in_plain_text(edge: Edge) -> None:
    edge.gateway(http(80, "*"))
    edge.route("www.example.com", "web")
    await until(lambda: Client(80).get("www.example.com"), "200 web")
    reader, writer = await Client(80).open()
    head = "GET /chat HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with asyncio.timeout(LIMIT):
        writer.write(head.encode())
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"ping\n")
        assert await reader.readline() == b"ping\n"
        writer.close()
    command = [
        "curl",
        "-sS",
        "--http2-prior-knowledge",
        "-H",
        "host: www.example.com",
        "-w",
        " %{http_version}",
    ]
    done = await asyncio.create_subprocess_exec(*command, "http://10.77.0.1/", stdout=asyncio.subprocess.PIPE)
    answer, _ = await done.communicate()
    assert answer.decode().startswith("web ")
    assert answer.decode().endswith(" 2")


GREETER = """
import sys, grpc
from concurrent import futures
class Greeter(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == "/demo.Greeter/Unary":
            return grpc.unary_unary_rpc_method_handler(lambda request, _: sys.argv[1].encode())
        if details.method == "/demo.Greeter/Stream":
            return grpc.stream_stream_rpc_method_handler(lambda requests, _: map(bytes.upper, requests))
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers([Greeter()])
server.add_insecure_port(f"{sys.argv[1]}:50051")
server.start()
print("ready", flush=True)
server.wait_for_termination()
"""
ASK_GREETER = """
import collections, grpc, sys
roots = open(sys.argv[1], "rb").read()
options = [("grpc.ssl_target_name_override", "greeter.example.com")]
with grpc.secure_channel("10.77.0.1:443", grpc.ssl_channel_credentials(roots), options) as channel:
    unary = channel.unary_unary("/demo.Greeter/Unary")
    print(sorted(collections.Counter(unary(b"", wait_for_ready=True, timeout=60) for _ in range(40)).items()))
    print(b"".join(channel.stream_stream("/demo.Greeter/Stream")(iter([b"a", b"b"]), timeout=60)).decode())
    for method in ("/demo.Greeter/Missing", "/demo.Other/Unary"):
        try:
            channel.unary_unary(method)(b"", timeout=60)
        except grpc.RpcError as error:
            print(error.code().name)
"""


@asynccontextmanager
async def greeters(*addresses: str) -> AsyncIterator[None]:
    """Servers of gRPC, each in a process of its own; they answer with their address."""
    running = []
    try:
        for address in addresses:
            command = (sys.executable, "-c", GREETER, address)
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            running.append(process)
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        yield
    finally:
        for process in running:
            process.kill()
            await process.wait()


async def test_grpc_enters_by_tls_and_is_balanced_by_request(edge: Edge) -> None:
    """One connection of a client; unary calls, streams both ways, and statuses of server and gateway."""
    addresses = ("127.0.0.1", "127.0.0.2")
    replica = {"service": "greeter", "ports": ["grpc:50051"]}
    edge.workloads = [
        *edge.workloads,
        *({"name": f"greeter-{place}", "host": one, **replica} for place, one in enumerate(addresses)),
    ]
    edge.credential("greeter", AUTHORITY.leaf("greeter.example.com"))
    edge.gateway(https(443, "greeter.example.com", credentialName="greeter"))
    rule = {
        "match": [{"uri": {"prefix": "/demo.Greeter/"}}],
        "route": [{"destination": {"host": "greeter"}}],
    }
    edge.route("greeter.example.com", "greeter", http=[rule])
    edge.apply(
        "DestinationRule",
        "greeter",
        {"host": "greeter", "trafficPolicy": {"loadBalancer": {"simple": "ROUND_ROBIN"}}},
    )
    roots = edge.folder / "roots.pem"
    roots.write_text(AUTHORITY.certificate)
    async with greeters(*addresses):
        await until(lambda: Client(443, "greeter.example.com").get("greeter.example.com"), "404")
        command = (sys.executable, "-c", ASK_GREETER, str(roots))
        done = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await done.communicate()
    counts = [(b"127.0.0.1", 20), (b"127.0.0.2", 20)]
    assert said.decode().splitlines() == [str(counts), "AB", "UNIMPLEMENTED", "UNIMPLEMENTED"]


async def test_http2_of_clients_is_not_asked_of_servers_whose_protocol_nobody_declared(edge: Edge) -> None:
    """As in Istio, a gateway calls them by HTTP/1.1, which every server of HTTP speaks."""
    edge.workloads.append({"name": "plain", "ports": ["8001"], "host": "127.0.0.1"})
    edge.credential("a", AUTHORITY.leaf("a.example.com"))
    edge.gateway(https(443, "a.example.com", credentialName="a"))
    edge.route("a.example.com", "plain")
    await until(lambda: Client(443, "a.example.com").get("a.example.com"), "200 api")
    command = ["curl", "-sSk", "--http2", "-m", "30", "-w", " %{http_version}"]
    command += ["--resolve", "a.example.com:443:10.77.0.1", "https://a.example.com/"]
    done = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    answer, _ = await done.communicate()
    assert answer.decode() == "api 10.77.0.1 https - 2"
