"""Global rate limits in a real Envoy, which asks a real service: EnvoyFilters as Istio documents them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from meshlite.agent.capture import Capture
from meshlite.config import Settings
from meshlite.model.mesh import Resource
from meshlite.model.workload import Port
from tests.netns.meshed import PORTS, VIRTUAL, Proxy, ask, captured, envoy, until, workload
from tests.netns.rate_limits import rate_limits
from tests.netns.test_envoy_filter import PREFIX, envoy_filter, http_filter
from tests.netns.world import Box, dial

SERVICE = "neighbour.test.svc.cluster.local"
PORT = Port(number=8081, protocol="grpc", origin="label")
ASKED = ("shop", (("PATH", "/limited"),))


@pytest.fixture
async def proxy(settings: Settings, capture: Capture, boxes: tuple[Box, Box]) -> AsyncIterator[Proxy]:
    """As without limits; the neighbour has a port for the rate limit service."""
    made = await captured(settings, capture, boxes)
    made.workloads[1] = workload(boxes[1], (*PORTS, PORT))
    async with envoy(capture, made, boxes):
        yield made


def limited(deny: bool) -> Resource:
    """The app's calls to port 8000 of the neighbour are asked about, by path."""
    service = {"grpc_service": {"envoy_grpc": {"cluster_name": "rate_limit_cluster"}}}
    config = {
        "@type": f"{PREFIX}.ratelimit.v3.RateLimit",
        "domain": "shop",
        "failure_mode_deny": deny,
        "rate_limit_service": {**service, "transport_api_version": "V3"},
        "timeout": "4s",
    }
    path = {"header_name": ":path", "descriptor_key": "PATH"}
    vhost = {"name": f"{SERVICE}:8000", "route": {"action": "ANY"}}
    route = {
        "applyTo": "VIRTUAL_HOST",
        "match": {"context": "SIDECAR_OUTBOUND", "routeConfiguration": {"vhost": vhost}},
        "patch": {
            "operation": "MERGE",
            "value": {"rate_limits": [{"actions": [{"request_headers": path}]}]},
        },
    }
    asking = http_filter("SIDECAR_OUTBOUND", "envoy.filters.http.ratelimit", config)
    return envoy_filter("app", asking, cluster(), route)


def cluster() -> dict[str, Any]:
    address = {"socket_address": {"address": SERVICE, "port_value": PORT.number}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    value = {
        "name": "rate_limit_cluster",
        "type": "STRICT_DNS",
        "connect_timeout": "10s",
        "lb_policy": "ROUND_ROBIN",
        "http2_protocol_options": {},
        "load_assignment": {"cluster_name": "rate_limit_cluster", "endpoints": endpoints},
    }
    match = {"context": "SIDECAR_OUTBOUND", "cluster": {"service": SERVICE}}
    return {"applyTo": "CLUSTER", "match": match, "patch": {"operation": "ADD", "value": value}}


async def test_the_service_is_asked_and_obeyed(proxy: Proxy, app: Box, neighbour: Box) -> None:
    """By path, for the caller that the filter selects; others are not asked about."""
    async with rate_limits(neighbour, PORT.number, "/limited") as limits:
        proxy.resources = [limited(deny=True)]
        await proxy.push()
        await until(lambda: status(app, "/limited"), "429")
        assert limits.asked[-1] == ASKED
        assert await status(app, "/free") == "200"
        assert limits.asked[-1] == ("shop", (("PATH", "/free"),))
        count = len(limits.asked)
        assert await status(neighbour, "/limited") == "200"
        assert len(limits.asked) == count


async def test_without_the_service_calls_pass_unless_denial_is_wanted(
    proxy: Proxy, app: Box, neighbour: Box
) -> None:
    async with rate_limits(neighbour, PORT.number, "/limited"):
        proxy.resources = [limited(deny=False)]
        await proxy.push()
        await until(lambda: status(app, "/limited"), "429")
    await until(lambda: status(app, "/limited"), "200")
    proxy.resources = [limited(deny=True)]
    await proxy.push()
    await until(lambda: status(app, "/limited"), "500")


async def test_a_label_limits_what_a_workload_takes(proxy: Proxy, app: Box, neighbour: Box) -> None:
    """From all of the mesh together; an hour is long enough that nothing is taken in again meanwhile."""
    proxy.workloads[1] = proxy.workloads[1].model_copy(update={"rate_limit": "5/h"})
    await proxy.push()
    limited: list[int] = []
    async with asyncio.timeout(60):
        while 429 not in limited:
            code, headers, _ = await ask(app, VIRTUAL["neighbour"], 8000, "neighbour")
            limited += [code] if "x-ratelimit-limit" in headers else []
    assert limited == [200] * 5 + [429]
    assert [await status(box, "/") for box in (app, neighbour)] == ["429", "429"]
    assert (await dial(app, VIRTUAL["neighbour"], 8080)).startswith("neighbour ")


async def status(box: Box, path: str) -> str:
    code, _, _ = await ask(box, VIRTUAL["neighbour"], 8000, "neighbour", path)
    return str(code)
