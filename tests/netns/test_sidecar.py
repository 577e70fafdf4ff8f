"""Sidecar in a real Envoy between captured namespaces: what is unknown, and what is not to be seen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from meshlite.agent.capture import Capture
from meshlite.config import Settings
from meshlite.model.mesh import Resource
from tests.netns.meshed import OUTSIDE, VIRTUAL, Proxy, captured, envoy, get, until, web
from tests.netns.world import Box, dial, serving


@pytest.fixture
async def proxy(settings: Settings, capture: Capture, boxes: tuple[Box, Box]) -> AsyncIterator[Proxy]:
    """The app captured and permissive, the neighbour strict; Envoy has what translate makes of them."""
    made = await captured(settings, capture, boxes)
    async with envoy(capture, made, boxes):
        yield made


def sidecar(spec: dict[str, Any], app: str) -> Resource:
    """A Sidecar for one of the two workloads."""
    spec = {"workloadSelector": {"labels": {"app": app}}, **spec}
    return Resource(
        api_version="networking.istio.io/v1", kind="Sidecar", name=app, namespace="test", spec=spec
    )


async def test_registry_only_refuses_what_no_service_is(proxy: Proxy, app: Box, neighbour: Box) -> None:
    async with web(None, OUTSIDE, 8000, "outside"), serving(None, OUTSIDE, 7000, "outside"):
        assert await get(app, OUTSIDE, 8000, "outside.example.com") == f"200 outside {app.v4}"
        proxy.resources = [sidecar({"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}, "app")]
        await proxy.push()
        await until(lambda: get(app, OUTSIDE, 8000, "outside.example.com"), "502 ")
        assert await dial(app, OUTSIDE, 7000) == ""
        assert (await get(app, VIRTUAL["neighbour"], 8000, "neighbour")).startswith("200 neighbour ")
        assert (await dial(app, VIRTUAL["neighbour"], 8080)).startswith("neighbour ")
        assert (await dial(neighbour, OUTSIDE, 7000)).startswith("outside ")
        assert await get(neighbour, OUTSIDE, 8000, "a.b") == f"200 outside {neighbour.v4}"


async def test_what_is_not_imported_is_not_there(proxy: Proxy, app: Box, neighbour: Box) -> None:
    proxy.resources = [
        sidecar({"egress": [{"hosts": ["elsewhere/*", "./app.test.svc.cluster.local"]}]}, "app")
    ]
    await proxy.push()
    await until(lambda: get(app, VIRTUAL["neighbour"], 8000, "neighbour"), "503 ")
    assert await dial(app, VIRTUAL["neighbour"], 8080) == ""
    assert (await get(neighbour, VIRTUAL["app"], 8000, "app")).startswith("200 app ")
    only_http = {"port": {"number": 8000, "protocol": "HTTP", "name": "http"}, "hosts": ["./*"]}
    proxy.resources = [sidecar({"egress": [only_http]}, "app")]
    await proxy.push()
    await until(lambda: get(app, VIRTUAL["neighbour"], 8000, "neighbour"), "200 neighbour ")
    assert await dial(app, VIRTUAL["neighbour"], 8080) == ""


async def test_a_proxy_takes_what_is_unknown(proxy: Proxy, app: Box) -> None:
    to = {"host": "neighbour.test.svc.cluster.local", "port": {"number": 8000}}
    policy = {"mode": "ALLOW_ANY", "egressProxy": to}
    proxy.resources = [sidecar({"outboundTrafficPolicy": policy}, "app")]
    await proxy.push()
    await until(lambda: get(app, OUTSIDE, 8000, "outside.example.com"), "200 neighbour ")
