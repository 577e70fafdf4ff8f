"""Istio's own files, unchanged, for its tasks: what they make of traffic, counted in a real Envoy."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import yaml

from meshlite.agent.capture import Capture, Mode
from meshlite.config import Settings
from tests.agent.envoys import one_loop
from tests.conformance import corpus
from tests.netns.mesh import Mesh, Server, proxied, send
from tests.netns.test_gateway import Client, Edge, edge, until
from tests.netns.world import Box, new_socket, serving

__all__ = ["edge"]

pytestmark = corpus.needed

SAMPLES = corpus.ROOT / "1-samples/istio/samples"
PORT = 9080
VERSIONS = {"productpage": 1, "details": 1, "ratings": 1, "reviews": 3}


def read(*files: str) -> str:
    return "\n---\n".join((SAMPLES / file).read_text() for file in files)


def bookinfo(*files: str) -> str:
    names = ("destination-rule-all", *files)
    return read(*(f"bookinfo/networking/{name}.yaml" for name in names))


@asynccontextmanager
async def listening(servers: list[Server]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for server in servers:
            listener = new_socket(server.address)
            listener.bind((server.address, PORT))
            stack.callback((await asyncio.start_server(server.answer, sock=listener)).close)
        yield


@pytest.fixture
async def mesh(settings: Settings, capture: Capture, app: Box) -> AsyncIterator[Mesh]:
    """Bookinfo's services in all their versions, and a caller beside them."""
    item = await capture.attach(app.found)
    await capture.set_mode(item.key, Mode())
    workload = app.found.workload.model_copy(update={"namespace": "shop", "ports": ()})
    made = Mesh(settings.paths.run, [(app, item, workload)])
    versions = [(name, f"v{n}") for name, most in VERSIONS.items() for n in range(1, most + 1)]
    made.servers = [
        Server(f"{name}-{version}", f"127.0.2.{place}", {"version": version, "ports": [f"http:{PORT}"]})
        for place, (name, version) in enumerate(versions, 1)
    ]
    async with listening(made.servers), proxied(made):
        yield made


async def asked(mesh: Mesh, app: Box, times: int, service: str = "reviews", **headers: str) -> Counter[str]:
    """Who answers how often; a status where it is not the service that answers."""
    found: Counter[str] = Counter()
    for _ in range(times):
        answer = await send(app, mesh.address(service), PORT, **headers)
        found[answer.body if answer.status == 200 else str(answer.status)] += 1
    return found


async def test_requests_are_routed_to_one_version_and_a_users_to_another(mesh: Mesh, app: Box) -> None:
    await mesh.push(bookinfo("virtual-service-all-v1"))
    assert mesh.problems == []
    assert await asked(mesh, app, 12) == {"reviews-v1": 12}
    await mesh.push(bookinfo("virtual-service-reviews-test-v2"))
    assert await asked(mesh, app, 12) == {"reviews-v1": 12}
    assert await asked(mesh, app, 12, end_user="jason") == {"reviews-v2": 12}
    await mesh.push(bookinfo("virtual-service-reviews-jason-v2-v3"))
    assert await asked(mesh, app, 12, end_user="jason") == {"reviews-v2": 12}
    assert await asked(mesh, app, 12) == {"reviews-v3": 12}


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("virtual-service-reviews-50-v3", {"v1": 50, "v3": 50}),
        ("virtual-service-reviews-80-20", {"v1": 80, "v2": 20}),
        ("virtual-service-reviews-v2-v3", {"v2": 50, "v3": 50}),
        ("virtual-service-reviews-v3", {"v3": 100}),
    ],
)
async def test_traffic_is_shifted(mesh: Mesh, app: Box, file: str, wanted: dict[str, int]) -> None:
    """Shares by chance: the bounds are so wide that not one run in a million leaves them."""
    await mesh.push(bookinfo(file))
    found = await asked(mesh, app, 100)
    assert found.keys() == {f"reviews-{version}" for version in wanted}
    for version, share in wanted.items():
        assert abs(found[f"reviews-{version}"] - share) < 26 or share == 100


async def test_faults_for_one_user(mesh: Mesh, app: Box) -> None:
    await mesh.push(bookinfo("virtual-service-ratings-test-abort"))
    assert await asked(mesh, app, 5, "ratings", end_user="jason") == {"500": 5}
    assert await asked(mesh, app, 5, "ratings") == {"ratings-v1": 5}
    await mesh.push(bookinfo("fault-injection-details-v1"))
    assert await asked(mesh, app, 5, "details") == {"555": 5}


def apply(edge: Edge, *files: str) -> None:
    for one in yaml.safe_load_all(read(*files)):
        if one and one["apiVersion"].startswith("networking.istio.io/"):
            edge.apply(one["kind"], one["metadata"]["name"], one["spec"])


@one_loop
async def test_connections_are_shifted_at_the_gateway(edge: Edge) -> None:
    replica = {"service": "tcp-echo", "ports": ["tcp:9000"]}
    edge.workloads = [
        {"name": f"tcp-echo-{n}", "host": f"127.0.3.{n}", "version": f"v{n}", **replica} for n in (1, 2)
    ]
    client = Client(31400)

    async def greetings(times: int) -> Counter[str]:
        return Counter([(await client.greeting()).split()[0] for _ in range(times)])

    async with serving(None, "127.0.3.1", 9000, "one"), serving(None, "127.0.3.2", 9000, "two"):
        apply(edge, "tcp-echo/tcp-echo-all-v1.yaml")
        await until(client.greeting, "one")
        assert await greetings(20) == {"one": 20}
        apply(edge, "tcp-echo/tcp-echo-20-v2.yaml")
        await until(client.greeting, "two")
        found = await greetings(100)
        assert found.keys() == {"one", "two"}
        assert found["two"] < 50
        assert edge.problems == ()


@one_loop
@pytest.mark.parametrize(
    ("file", "service", "port", "path"),
    [
        ("httpbin/httpbin-gateway.yaml", "httpbin", 8000, "/status/200"),
        ("helloworld/helloworld-gateway.yaml", "helloworld", 5000, "/hello"),
        ("websockets/route.yaml", "tornado", 8888, "/"),
    ],
)
async def test_services_answer_at_the_gateway(
    edge: Edge, file: str, service: str, port: int, path: str
) -> None:
    place = {"name": service, "ports": [f"http:{port}"], "host": "127.0.3.3"}
    edge.workloads = [place]
    server = Server(service, "127.0.3.3")
    listener = new_socket("127.0.3.3")
    listener.bind(("127.0.3.3", port))
    listening = await asyncio.start_server(server.answer, sock=listener)
    try:
        apply(edge, file)
        await until(lambda: Client(80).get("any.example.com", path), f"200 {service}")
        assert edge.problems == ()
        elsewhere = await Client(80).get("any.example.com", "/elsewhere")
        assert elsewhere == ("404" if service == "helloworld" else f"200 {service}")
    finally:
        listening.close()
