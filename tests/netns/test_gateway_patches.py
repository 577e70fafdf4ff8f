"""EnvoyFilter, WasmPlugin and TrafficExtension at gateways, in a real Envoy at the edge of a host."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.agent.envoys import one_loop
from tests.conformance import corpus
from tests.netns.meshed import ask
from tests.netns.rate_limits import rate_limits
from tests.netns.test_envoy_filter import MANAGER, lua
from tests.netns.test_gateway import AUTHORITY, FRONT, Client, Edge, edge, http, https, until

__all__ = ["edge"]

pytestmark = one_loop

OUTSIDE = "10.77.0.1"
SAMPLE = "1-samples/istio/samples/bookinfo/policy/productpage_envoy_ratelimit.yaml"
LIMITS = {
    "name": "ratelimit-1",
    "service": "ratelimit",
    "namespace": "default",
    "ports": ["grpc:8081"],
    "host": "127.0.0.1",
}


def add(edge: Edge, kind: str, name: str, spec: dict[str, Any], namespace: str = "istio-system") -> None:
    group = "networking.istio.io/v1alpha3" if kind == "EnvoyFilter" else "extensions.istio.io/v1alpha1"
    if kind == "AuthorizationPolicy":
        group = "security.istio.io/v1"
    home = "meshlite-system" if namespace == "istio-system" else namespace
    meta = {"name": name, "namespace": home}
    edge.documents = [one for one in edge.documents if one["metadata"]["name"] != name]
    edge.documents.append({"apiVersion": group, "kind": kind, "metadata": meta, "spec": spec})


def header_filter(named: str, /, **match: Any) -> dict[str, Any]:
    listener = {"filterChain": MANAGER, **match}
    patch = {"operation": "INSERT_BEFORE", "value": {"name": named, "typed_config": lua(f"x-{named}")}}
    return {"applyTo": "HTTP_FILTER", "match": {"context": "GATEWAY", "listener": listener}, "patch": patch}


def header_of(named: str, /, **match: Any) -> dict[str, Any]:
    """A header that a route table's virtual hosts add."""
    value = {"response_headers_to_add": [{"header": {"key": f"x-{named}", "value": "yes"}}]}
    return {
        "applyTo": "VIRTUAL_HOST",
        "match": {"context": "GATEWAY", "routeConfiguration": match},
        "patch": {"operation": "MERGE", "value": value},
    }


async def headers(host: str, port: int = 8080, path: str = "/") -> str:
    """`<status> <names of headers that tests add>`."""
    try:
        status, found, _ = await ask(None, OUTSIDE, port, host, path)
    except (OSError, IndexError):
        return "closed"
    names = sorted(name.removeprefix("x-") for name in found if name.startswith("x-") and "envoy" not in name)
    return " ".join((str(status), *names))


@corpus.needed
async def test_istios_sample_limits_at_the_edge(edge: Edge) -> None:
    """As it stands: a service of the mesh is asked, which is looked for by its name there."""
    edge.workloads = [*edge.workloads, LIMITS]
    edge.gateway(http(8080, "*"))
    edge.route("web.example.com", "web")
    for document in yaml.safe_load_all((corpus.ROOT / SAMPLE).read_text()):
        add(edge, document["kind"], document["metadata"]["name"], document["spec"])
    async with rate_limits(None, 8081, "/limited") as limits:
        edge.push()
        assert edge.problems == ()
        await until(lambda: headers("web.example.com", path="/limited"), "429")
        assert limits.asked[-1] == ("productpage-ratelimit", (("PATH", "/limited"),))
        assert (await headers("web.example.com", path="/free")).startswith("200")
    await until(lambda: headers("web.example.com", path="/free"), "500")


async def test_istios_names_choose_what_is_patched(edge: Edge) -> None:
    edge.credential("own", AUTHORITY.leaf("safe.example.com"))
    secure = https(8443, "safe.example.com", mode="SIMPLE", credentialName="own")
    edge.gateway(http(8080, "*"), http(8081, "*", name="other"), secure)
    for host in ("web.example.com", "other.example.com", "safe.example.com"):
        edge.route(host, "api")
    spec = {
        "workloadSelector": {"labels": FRONT},
        "configPatches": [
            header_filter("listener", name="0.0.0.0_8080"),
            header_filter("port", portNumber=8081),
            header_of("table", name="http.8080"),
            header_of("host", vhost={"name": "web.example.com:8080"}),
            header_of("gateway", portName="https", gateway="shop/front"),
            header_of("secure", name="https.8443.https.front.shop"),
            {"applyTo": "HTTP_FILTER", **_patch("SIDECAR_OUTBOUND", "sidecar")},
        ],
    }
    add(edge, "EnvoyFilter", "names", spec)
    edge.push()
    assert edge.problems == ()
    await until(lambda: headers("web.example.com"), "200 host listener table")
    assert await headers("other.example.com") == "200 listener table"
    await until(lambda: headers("other.example.com", 8081), "200 port")
    secured = Client(8443, "safe.example.com")
    await until(lambda: secured.get("safe.example.com"), "200")
    found = await answer(secured, "safe.example.com")
    assert "x-gateway: yes" in found
    assert "x-secure: yes" in found
    assert "x-host" not in found


def _patch(context: str, name: str) -> dict[str, Any]:
    return {
        "match": {"context": context, "listener": {"filterChain": MANAGER}},
        "patch": {"operation": "INSERT_FIRST", "value": {"name": name, "typed_config": lua(f"x-{name}")}},
    }


async def answer(client: Client, host: str) -> str:
    reader, writer = await client.open()
    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    found = (await reader.read()).decode()
    writer.close()
    return found


async def test_clusters_are_patched_for_the_gateway_alone(edge: Edge) -> None:
    edge.gateway(http(8080, "*"))
    edge.route("web.example.com", "web")
    value = {"circuit_breakers": {"thresholds": [{"max_connections": 7}]}}
    patch = {
        "applyTo": "CLUSTER",
        "match": {"context": "GATEWAY", "cluster": {"service": "web.shop.svc.cluster.local"}},
        "patch": {"operation": "MERGE_AND_REPLACE_LIST", "value": value},
    }
    add(edge, "EnvoyFilter", "clusters", {"configPatches": [patch]})
    edge.push()
    assert edge.problems == ()
    await until(lambda: headers("web.example.com"), "200")
    names = {name for kind in edge.translation.resources.values() for name in kind}
    shared, own = "outbound|8000||web.shop.svc.cluster.local", "meshlite-system@istio-ingressgateway"
    assert {shared, f"{shared}|{own}"} <= names


async def test_chains_are_taken_away_and_added(edge: Edge) -> None:
    """At gateways chains are chosen by their own matches, as in Istio."""
    edge.gateway(http(8080, "*"), http(8081, "*", name="other"))
    edge.route("web.example.com", "web")
    told = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config",
        "response": {"inline_string": "added\n"},
    }
    filters = [{"name": "envoy.filters.network.direct_response", "typed_config": told}]
    at = {"context": "GATEWAY", "listener": {"portNumber": 8080}}
    patches = [
        {"applyTo": "FILTER_CHAIN", "match": at, "patch": {"operation": "REMOVE"}},
        {
            "applyTo": "FILTER_CHAIN",
            "match": at,
            "patch": {"operation": "ADD", "value": {"filters": filters}},
        },
    ]
    add(edge, "EnvoyFilter", "chains", {"configPatches": patches})
    edge.push()
    assert edge.problems == ()
    await until(lambda: Client(8080).greeting(), "added")
    await until(lambda: headers("web.example.com", 8081), "200")
    assert await Client(8080).greeting() == "added"


@pytest.mark.parametrize("chosen", ["selector", "targetRefs"])
async def test_extensions_stand_among_policies_by_their_phase(edge: Edge, chosen: str) -> None:
    """A denied request has met the filter before policies, and not the one after them."""
    if chosen == "selector":
        edge.gateway(http(8080, "*"))
        edge.gateway(http(8081, "*"), name="back")
        whom: dict[str, Any] = {"selector": {"matchLabels": FRONT}}
    else:
        edge.documents += list(yaml.safe_load_all(GATEWAY_API))
        reference = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "front"}
        whom = {"targetRefs": [reference]}
    space = "istio-system" if chosen == "selector" else "shop"
    for phase in ("AUTHN", "STATS"):
        add(edge, "TrafficExtension", phase.lower(), {**whom, **_lua(phase), "phase": phase}, space)
    shut = {**_lua("shut"), **whom, "match": [{"mode": "SERVER"}]}
    add(edge, "TrafficExtension", "shut", shut, space)
    elsewhere = {**_lua("port"), **whom, "match": [{"mode": "CLIENT", "ports": [{"number": 8081}]}]}
    add(edge, "TrafficExtension", "port", elsewhere, space)
    rules = [{"to": [{"operation": {"paths": ["/denied"]}}]}]
    add(edge, "AuthorizationPolicy", "deny", {"action": "DENY", "rules": rules, **whom}, space)
    if chosen == "selector":
        edge.route("web.example.com", "web")
    edge.push()
    assert edge.problems == ()
    await until(lambda: headers("web.example.com"), "200 authn stats")
    assert await headers("web.example.com", path="/denied") == "403 authn"
    others = "404 authn port stats" if chosen == "selector" else "404"
    await until(lambda: headers("web.example.com", 8081), others)
    assert await headers("web.example.com", 8081) == others


def _lua(name: str) -> dict[str, Any]:
    """It adds a header to answers of requests that have come to it."""
    code = f"""
    local seen = "seen.{name.lower()}"
    function envoy_on_request(h) h:streamInfo():dynamicMetadata():set(seen, "it", "yes") end
    function envoy_on_response(h)
      if h:streamInfo():dynamicMetadata():get(seen) then h:headers():add("x-{name.lower()}", "yes") end
    end"""
    return {"lua": {"inlineCode": code}}


GATEWAY_API = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: shop}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 8080, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: back, namespace: shop}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 8081, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{name: front}]
  rules: [{backendRefs: [{name: web, port: 8000}]}]
"""


async def test_a_module_that_is_not_there_shuts_the_gateway_it_is_for(edge: Edge) -> None:
    edge.gateway(http(8080, "*"))
    edge.route("web.example.com", "web")
    spec = {"selector": {"matchLabels": FRONT}, "url": "https://modules.invalid/a.wasm"}
    add(edge, "WasmPlugin", "w", spec)
    edge.push()
    await until(lambda: headers("web.example.com"), "403")
    assert [module.url for module in edge.translation.modules] == ["https://modules.invalid/a.wasm"]
    add(edge, "WasmPlugin", "w", {**spec, "failStrategy": "FAIL_OPEN"})
    edge.push()
    await until(lambda: headers("web.example.com"), "200")
