"""Feeding a real Envoy: what is in effect when, what is refused and by whom, and what happens to the rest."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from meshlite.agent import ads, launch_plan, proxy
from meshlite.agent.process import Process
from meshlite.config import Settings
from meshlite.translate.envoy import schema
from meshlite.translate.translation import Encoded
from tests.agent.envoys import LIMIT, agent, answering, answers, free_port, get, needs_root, one_loop, until

pytestmark = [needs_root, one_loop]

ADS = {"ads": {}, "resource_api_version": "V3"}


def cluster(name: str, timeout: str = "1s", **fields: object) -> dict[str, Encoded]:
    body = {
        "name": name,
        "type": "EDS",
        "connect_timeout": timeout,
        "eds_cluster_config": {"eds_config": ADS | {"initial_fetch_timeout": "5s"}},
        **fields,
    }
    return {name: Encoded.of(schema.encode(schema.CLUSTER, body))}


def endpoints(name: str, *ports: int) -> dict[str, Encoded]:
    members = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
        for port in ports
    ]
    body = {"cluster_name": name, "endpoints": [{"lb_endpoints": members}] if members else []}
    return {name: Encoded.of(schema.encode(schema.ENDPOINTS, body))}


def routed(port: int, route: str) -> dict[str, Encoded]:
    """A listener whose routes come by RDS."""
    router = schema.typed("envoy.extensions.filters.http.router.v3.Router")
    manager = schema.typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        {
            "stat_prefix": "test",
            "rds": {"route_config_name": route, "config_source": ADS},
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        },
    )
    body = {
        "name": "routed",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }
    return {"routed": Encoded.of(schema.encode(schema.LISTENER, body))}


def route(name: str, to: str) -> dict[str, Encoded]:
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": to}}]
    body = {"name": name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]}
    return {name: Encoded.of(schema.encode(schema.ROUTES, body))}


async def test_a_bad_resource_is_found_among_many_and_the_others_are_in_effect(settings: Settings) -> None:
    port, backend = free_port(), free_port()
    good = {n: c for number in range(30) for n, c in cluster(f"good-{number}").items()}
    async with agent(settings) as node:
        node.publish(
            CDS=good | cluster("bad", timeout="0s"),
            EDS={n: e for name in good for n, e in endpoints(name, backend).items()},
            LDS=answering(port, "hello"),
        )
        await answers(port, "hello")
        await until(lambda: bool(node.xds.rejections))
        assert await node.xds.caught_up(LIMIT)
        (rejection,) = node.xds.rejections
        assert (rejection.type_url, rejection.name) == (ads.CLUSTER, "bad")
        assert "ConnectTimeout" in rejection.reason
        assert await node.counter("cluster_manager.active_clusters") == 31  # and the agent's own
        assert await node.counter("cluster_manager.warming_clusters") == 0


async def test_a_bad_change_leaves_the_good_version_serving_until_it_is_mended(settings: Settings) -> None:
    port = free_port()
    async with agent(settings) as node:
        node.publish(LDS=answering(port, "one"))
        await answers(port, "one")
        broken = schema.encode(
            schema.LISTENER,
            schema.decode(schema.LISTENER, answering(port, "two")[f"web-{port}"].body)
            | {"listener_filters": [{"name": "no.such.filter"}]},
        )
        node.publish(LDS={f"web-{port}": Encoded.of(broken)})
        await until(lambda: bool(node.xds.rejections))
        assert await get(port) == "one"
        node.publish(LDS=answering(port, "three"))
        await answers(port, "three")
        await until(lambda: not node.xds.rejections)


async def test_a_changed_cluster_does_not_wait_for_endpoints_that_envoy_has(settings: Settings) -> None:
    backend, front = free_port(), free_port()
    async with agent(settings) as node:
        back = answering(backend, "backend")
        parts = {
            "EDS": endpoints("web", backend),
            "LDS": back | routed(front, "all"),
            "RDS": route("all", "web"),
        }
        node.publish(CDS=cluster("web"), **parts)
        await answers(front, "backend")
        node.publish(CDS=cluster("web", timeout="2s"), **parts)
        assert await node.xds.caught_up(10), "sooner than Envoy gives up waiting"
        assert await node.counter("cluster_manager.warming_clusters") == 0
        assert await get(front) == "backend"


async def test_moving_to_a_new_cluster_never_answers_without_one(settings: Settings) -> None:
    """Each step takes the former cluster away and routes to a new one, with requests all the while."""
    from tests.agent.envoys import load

    backend, front = free_port(), free_port()
    back = answering(backend, "backend")
    async with agent(settings) as node:

        def publish(name: str) -> None:
            node.publish(
                CDS=cluster(name),
                EDS=endpoints(name, backend),
                LDS=back | routed(front, "all"),
                RDS=route("all", name),
            )

        publish("web-0")
        await answers(front, "backend")
        async with load(front) as seen:
            for number in range(1, 8):
                publish(f"web-{number}")
                await seen.more(30)
        assert not seen.failures
        assert await node.xds.caught_up(LIMIT)
        await node.counter_is("cluster_manager.active_clusters", 2)


async def test_envoy_started_without_an_agent_is_served_soon_after_one_comes(settings: Settings) -> None:
    """Its first attempts fail; how long it waits between them is up to our bootstrap."""
    port = free_port()
    plan = launch_plan.plan_of(settings)
    launch_plan.prepare(plan)
    plan.config.write_text(plan.bootstrap)
    nobody = proxy.Instance(Process(0, 0), 0, plan.fingerprint)
    process = await launch_plan.spawn(plan, 0, asdict(proxy.Record(nobody)))
    assert process is not None
    proxy.Record(proxy.Instance(process, 0, plan.fingerprint)).write(plan.record)
    await asyncio.sleep(3.0)
    async with agent(settings) as node:
        node.publish(LDS=answering(port, "hello"))
        await answers(port, "hello")
        assert (await node.state("running")).pid == process.pid


async def test_an_agent_that_does_not_know_the_mesh_yet_takes_nothing_away(settings: Settings) -> None:
    port = free_port()
    async with agent(settings) as node:
        node.publish(LDS=answering(port, "hello"))
        await answers(port, "hello")
    async with agent(settings):
        await asyncio.sleep(1.0)
        assert await get(port) == "hello"


@pytest.fixture
def namespace() -> Iterator[str]:
    """The name of a network namespace that does not exist; gone again afterwards."""
    name = f"ml-test-{free_port()}"
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


async def test_a_listener_opens_when_its_namespace_appears(settings: Settings, namespace: str) -> None:
    port = free_port()
    path = f"/run/netns/{namespace}"
    async with agent(settings) as node:
        node.publish(
            LDS=answering(port, "outside") | answering(15001, "inside", name="inside", namespace=path)
        )
        await answers(port, "outside")
        await until(lambda: [r.name for r in node.xds.rejections] == ["inside"])
        await asyncio.to_thread(make_namespace, namespace)
        await until(lambda: not node.xds.rejections)
        assert await asyncio.to_thread(fetched_inside, namespace) == "inside"


def make_namespace(name: str) -> None:
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)


def fetched_inside(name: str) -> str:
    command = ["ip", "netns", "exec", name, "curl", "-sS", "--max-time", "5", "http://127.0.0.1:15001/"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


async def test_secrets_are_sent_when_envoy_asks_for_them_and_again_when_they_change(
    settings: Settings, tmp_path: Path
) -> None:
    """A listener with a certificate by SDS stays closed until the certificate is there."""
    port = free_port()
    tls = schema.typed(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        {"common_tls_context": {"tls_certificate_sds_secret_configs": [{"name": "web", "sds_config": ADS}]}},
    )
    plain = schema.decode(schema.LISTENER, answering(port, "hello", name="tls")["tls"].body)
    plain["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": tls}
    listener = {"tls": Encoded.of(schema.encode(schema.LISTENER, plain))}
    async with agent(settings) as node:
        node.publish(LDS=listener)
        await until(lambda: bool(node.xds.connections))
        node.publish(LDS=listener, SDS=secret(tmp_path, "first"))
        assert await asyncio.to_thread(common_name, port) == "first"
        node.publish(LDS=listener, SDS=secret(tmp_path, "second"))
        assert await node.xds.caught_up(LIMIT)
        assert await asyncio.to_thread(common_name, port) == "second"


def secret(folder: Path, name: str) -> dict[str, Encoded]:
    key, chain = folder / "key.pem", folder / "chain.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    options = ["-keyout", str(key), "-out", str(chain), "-subj", f"/CN={name}"]
    subprocess.run([*command, *options], check=True, capture_output=True)
    certificate = {
        "certificate_chain": {"inline_string": chain.read_text()},
        "private_key": {"inline_string": key.read_text()},
    }
    return {"web": Encoded.of(schema.encode(schema.SECRET, {"name": "web", "tls_certificate": certificate}))}


def common_name(port: int) -> str:
    """Of the certificate that the port shows, once it is open."""
    import socket
    import ssl

    from cryptography import x509

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 2) as raw, context.wrap_socket(raw) as wrapped:
                der = wrapped.getpeercert(binary_form=True)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    assert der is not None
    name = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(name[0].value)
