"""EnvoyFilter in a real Envoy between captured namespaces: on both sides of a call, for all who come in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml

from meshlite.agent.capture import Capture
from meshlite.config import Settings
from meshlite.model.mesh import Resource
from meshlite.model.names import ROOT_NAMESPACE as ROOT
from tests.conformance import corpus
from tests.netns.meshed import VIRTUAL, Proxy, ask, captured, envoy, get, until
from tests.netns.world import LIMIT, Box, dial
from tests.translate import cases

MANAGER = {"filter": {"name": "envoy.filters.network.http_connection_manager"}}
SAMPLE = "1-samples/istio/samples/ratelimit/local-rate-limit-service.yaml"
PREFIX = "type.googleapis.com/envoy.extensions.filters.http"


@pytest.fixture
async def proxy(settings: Settings, capture: Capture, boxes: tuple[Box, Box]) -> AsyncIterator[Proxy]:
    """The app captured and permissive, the neighbour strict; Envoy has what translate makes of them."""
    made = await captured(settings, capture, boxes)
    async with envoy(capture, made, boxes):
        yield made


def envoy_filter(app: str, *patches: dict[str, Any]) -> Resource:
    spec = {"workloadSelector": {"labels": {"app": app}}, "configPatches": list(patches)}
    return Resource(
        api_version="networking.istio.io/v1alpha3",
        kind="EnvoyFilter",
        name=app,
        namespace="test",
        spec=spec,
    )


def http_filter(context: str, name: str, config: dict[str, Any], port: int = 0) -> dict[str, Any]:
    match = {"context": context, "listener": {"portNumber": port, "filterChain": MANAGER}}
    patch = {"operation": "INSERT_BEFORE", "value": {"name": name, "typed_config": config}}
    return {"applyTo": "HTTP_FILTER", "match": match, "patch": patch}


def lua(name: str, value: str = "yes") -> dict[str, Any]:
    code = f"function envoy_on_response(h) h:headers():add('{name}', '{value}') end"
    return {"@type": f"{PREFIX}.lua.v3.Lua", "default_source_code": {"inline_string": code}}


def limit(tokens: int) -> dict[str, Any]:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return {
        "@type": f"{PREFIX}.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "limit",
        "token_bucket": {"max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": "600s"},
        "filter_enabled": always,
        "filter_enforced": always,
    }


async def test_lua_of_a_patch_has_neither_files_nor_programs(proxy: Proxy, app: Box) -> None:
    names = ("io", "os.execute", "os.remove", "package", "require", "load", "loadstring", "dofile", "debug")
    found = " .. ' ' .. ".join(f"tostring({name})" for name in (*names, "type(os.time())"))
    code = f"function envoy_on_response(h) h:headers():add('x-reach', {found}) end"
    config = {"@type": f"{PREFIX}.lua.v3.Lua", "default_source_code": {"inline_string": code}}
    proxy.resources = [envoy_filter("app", http_filter("SIDECAR_OUTBOUND", "lua", config))]
    await proxy.push()
    await until(
        lambda: header(app, VIRTUAL["neighbour"], "x-reach"), " ".join([*("nil" for _ in names), "number"])
    )


async def test_headers_are_added_on_both_sides(proxy: Proxy, app: Box, neighbour: Box) -> None:
    """The called side sees every caller, by every way; the calling side only its own."""
    proxy.resources = [
        envoy_filter("neighbour", http_filter("SIDECAR_INBOUND", "called", lua("x-called"), port=8000)),
        envoy_filter("app", http_filter("SIDECAR_OUTBOUND", "calling", lua("x-calling"))),
    ]
    await proxy.push()
    await until(lambda: header(app, VIRTUAL["neighbour"], "x-called"), "yes")
    await until(lambda: header(app, VIRTUAL["neighbour"], "x-calling"), "yes")
    for address in (VIRTUAL["neighbour"], neighbour.v4):
        status, headers, body = await ask(app, address, 8000, "neighbour")
        assert (status, headers.get("x-called"), headers.get("x-calling")) == (200, "yes", "yes")
        assert body.startswith("neighbour ")
    status, headers, _ = await ask(neighbour, VIRTUAL["app"], 8000, "app")
    assert (status, headers.get("x-called"), headers.get("x-calling")) == (200, None, None)
    assert (await dial(app, VIRTUAL["neighbour"], 8080)).startswith("neighbour ")
    assert await dial(None, neighbour.v4, 8080) == "refused"


async def header(box: Box | None, address: str, name: str, host: str = "neighbour") -> str:
    _, headers, _ = await ask(box, address, 8000, host)
    return headers.get(name, "")


async def test_strangers_meet_the_called_sides_patches(proxy: Proxy, app: Box, neighbour: Box) -> None:
    proxy.resources = [envoy_filter("app", http_filter("SIDECAR_INBOUND", "called", lua("x-called")))]
    await proxy.push()
    await until(lambda: header(None, app.v4, "x-called", "app"), "yes")
    assert await header(neighbour, VIRTUAL["app"], "x-called", "app") == "yes"
    assert (await dial(None, app.v4, 8080)).startswith("app ")


async def test_a_local_rate_limit_as_istio_documents_it(proxy: Proxy, app: Box) -> None:
    """The filter without limits in the chain, the limits on the route."""
    name = "envoy.filters.http.local_ratelimit"
    idle = {"@type": f"{PREFIX}.local_ratelimit.v3.LocalRateLimit", "stat_prefix": "idle"}
    vhost = {"name": "inbound|http|8000", "route": {"action": "ANY"}}
    route = {
        "applyTo": "HTTP_ROUTE",
        "match": {"context": "SIDECAR_INBOUND", "routeConfiguration": {"vhost": vhost}},
        "patch": {"operation": "MERGE", "value": {"typed_per_filter_config": {name: limit(3)}}},
    }
    proxy.resources = [envoy_filter("neighbour", http_filter("SIDECAR_INBOUND", name, idle), route)]
    await proxy.push()
    await until(lambda: get(app, VIRTUAL["neighbour"], 8000, "neighbour"), "429 ")
    assert (await dial(app, VIRTUAL["neighbour"], 8080)).startswith("neighbour ")
    proxy.resources = []
    await proxy.push()
    await until(lambda: get(app, VIRTUAL["neighbour"], 8000, "neighbour"), "200 ")


@corpus.needed
async def test_istios_sample_of_a_local_rate_limit(proxy: Proxy, app: Box) -> None:
    """As it stands, but for the minute, which a slow machine would see the end of: 10 pass by one path."""
    document = yaml.safe_load((corpus.ROOT / SAMPLE).read_text().replace("60s", "3600s"))
    proxy.resources = [cases.resource({**document, "metadata": {"name": "it", "namespace": ROOT}}, 1)]
    proxy.workloads[1] = proxy.workloads[1].model_copy(update={"labels": {"app": "productpage"}})
    await proxy.push()
    found: list[tuple[int, str]] = []
    async with asyncio.timeout(LIMIT):
        while len(found) < 15:
            code, headers, _ = await ask(app, VIRTUAL["neighbour"], 8000, "neighbour", "/productpage")
            limited = "x-ratelimit-limit" in headers
            found += [(code, headers.get("x-local-rate-limit", ""))] if limited else []
    assert found == [(200, "")] * 10 + [(429, "true")] * 5
    assert (await get(app, VIRTUAL["neighbour"], 8000, "neighbour")).startswith("200 "), "another path"
    assert (await get(app, VIRTUAL["app"], 8000, "app")).startswith("200 "), "another service"
    assert (await dial(app, VIRTUAL["neighbour"], 8080)).startswith("neighbour ")


async def test_a_limit_on_a_callers_route_holds_whatever_host_it_names(proxy: Proxy, app: Box) -> None:
    name = "envoy.filters.http.local_ratelimit"
    idle = {"@type": f"{PREFIX}.local_ratelimit.v3.LocalRateLimit", "stat_prefix": "idle"}
    vhost = {"name": "neighbour.test.svc.cluster.local:8000", "route": {"action": "ANY"}}
    route = {
        "applyTo": "HTTP_ROUTE",
        "match": {"context": "SIDECAR_OUTBOUND", "routeConfiguration": {"vhost": vhost}},
        "patch": {"operation": "MERGE", "value": {"typed_per_filter_config": {name: limit(1)}}},
    }
    proxy.resources = [envoy_filter("app", http_filter("SIDECAR_OUTBOUND", name, idle), route)]
    await proxy.push()
    await until(lambda: get(app, VIRTUAL["neighbour"], 8000, "neighbour"), "429 ")
    await until(lambda: get(app, VIRTUAL["neighbour"], 8000, "elsewhere.example.com"), "429 ")
    assert (await get(app, VIRTUAL["app"], 8000, "app")).startswith("200 ")


async def test_the_called_side_knows_who_calls(proxy: Proxy, app: Box, neighbour: Box) -> None:
    who = {"filter_state": {"key": "meshlite.source.principal", "string_match": {"suffix": "/sa/app"}}}
    policy = {"permissions": [{"any": True}], "principals": [who]}
    rules = {"rules": {"action": "ALLOW", "policies": {"app": policy}}}
    rbac = {"@type": f"{PREFIX}.rbac.v3.RBAC", **rules}
    proxy.resources = [
        envoy_filter("neighbour", http_filter("SIDECAR_INBOUND", "envoy.filters.http.rbac", rbac))
    ]
    await proxy.push()
    await until(lambda: get(neighbour, VIRTUAL["neighbour"], 8000, "neighbour"), "403 ")
    for _ in range(3):
        assert (await get(app, VIRTUAL["neighbour"], 8000, "neighbour")).startswith("200 ")
        assert (await get(neighbour, VIRTUAL["neighbour"], 8000, "neighbour")).startswith("403 ")
