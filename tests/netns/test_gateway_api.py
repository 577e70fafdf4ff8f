"""Gateway API in a real Envoy at the edge of a host: listeners, routes by path, certificates, TLS and TCP."""

from __future__ import annotations

from typing import Any

import yaml

from tests.agent.envoys import one_loop
from tests.netns.test_egress import outside, problems, trusted
from tests.netns.test_gateway import AUTHORITY, Client, Edge, edge, until

__all__ = ["edge"]

pytestmark = one_loop

EDGE = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: infra}
spec:
  gatewayClassName: istio
  listeners:
  - name: http
    port: 80
    protocol: HTTP
    hostname: "*.example.com"
    allowedRoutes: {namespaces: {from: All}}
  - name: https
    port: 443
    protocol: HTTPS
    hostname: safe.example.com
    tls: {certificateRefs: [{name: safe}]}
    allowedRoutes: {namespaces: {from: All}}
  - {name: own, port: 81, protocol: HTTP}
  - {name: tcp, port: 9100, protocol: TCP, allowedRoutes: {namespaces: {from: All}}}
  - {name: tls, port: 9101, protocol: TLS, tls: {mode: Passthrough}, allowedRoutes: {namespaces: {from: All}}}
"""
WEB = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: edge, namespace: infra}]
  hostnames: [www.example.com, safe.example.com, elsewhere.org]
  rules:
  - backendRefs: [{name: web, port: 8000}]
  - matches: [{path: {value: /api}}]
    backendRefs: [{name: api, port: 8001}]
  - matches: [{path: {type: Exact, value: /api/old}}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]
  - matches: [{path: {value: /lost}}]
    backendRefs: [{name: lost, port: 80}]
"""
MORE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: more}
spec:
  parentRefs: [{name: edge, namespace: infra, sectionName: http}]
  hostnames: [www.example.com]
  rules:
  - matches: [{path: {value: /web/api}}]
    backendRefs: [{name: api, port: 8001}]
"""
CONNECTIONS = """
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: echo}
spec:
  parentRefs: [{name: edge, namespace: infra, sectionName: tcp}]
  rules: [{backendRefs: [{name: web, port: 9000}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: own}
spec:
  parentRefs: [{name: edge, namespace: infra, sectionName: tls}]
  hostnames: [own.example.com]
  rules: [{backendRefs: [{name: web, port: 9443}]}]
"""


def apply(edge: Edge, *texts: str) -> None:
    documents: list[dict[str, Any]] = [one for text in texts for one in yaml.safe_load_all(text)]
    edge.documents = documents
    edge.push()


async def test_routes_by_path_and_host_merged_from_several(edge: Edge) -> None:
    apply(edge, EDGE, WEB, MORE)
    ask = Client(80)
    await until(lambda: ask.get("www.example.com"), "200 web 10.77.0.1 http")
    assert (await ask.get("www.example.com", "/api")).startswith("200 api")
    assert (await ask.get("www.example.com", "/api/x?y")).startswith("200 api")
    assert (await ask.get("www.example.com", "/apis")).startswith("200 web")
    assert await ask.get("www.example.com", "/api/old") == "301 https://www.example.com/api/old"
    assert (await ask.get("www.example.com", "/web/api")).startswith("200 api")
    assert await ask.get("www.example.com", "/lost") == "500"
    assert await ask.get("elsewhere.org") == "404", "not a host of the listener"
    assert await ask.get("other.example.com") == "404", "not a host of the route"


async def test_a_listener_takes_routes_of_allowed_namespaces_only(edge: Edge) -> None:
    apply(edge, EDGE, WEB)
    await until(lambda: Client(80).get("www.example.com"), "200 web")
    assert await Client(81).get("www.example.com") == "404"


async def test_a_certificate_of_the_gateways_own_namespace(edge: Edge) -> None:
    edge.credential("safe", AUTHORITY.leaf("safe.example.com"))
    (edge.folder / "infra").mkdir()
    (edge.folder / "meshlite-system/safe").rename(edge.folder / "infra/safe")
    apply(edge, EDGE, WEB)
    ask = Client(443, "safe.example.com")
    await until(lambda: ask.get("safe.example.com"), "200 web 10.77.0.1 https")
    assert await ask.get("www.example.com") == "404"


async def test_routes_come_and_go_with_their_documents(edge: Edge) -> None:
    apply(edge, EDGE, WEB)
    await until(lambda: Client(80).get("www.example.com"), "200 web")
    apply(edge, EDGE)
    await until(lambda: Client(80).get("www.example.com"), "404")
    apply(edge, WEB)
    await until(lambda: Client(80).get("www.example.com"), "refused")


async def test_tcp_and_tls_by_name(edge: Edge) -> None:
    apply(edge, EDGE, CONNECTIONS)
    await until(lambda: Client(9100).greeting(), "tcp")
    await until(lambda: Client(9101, "own.example.com").greeting(), "tls")
    assert await Client(9101, "other.example.com").greeting() in ("broken", "")


async def test_what_is_wrong_with_a_port_is_told_of_the_gateway_that_somebody_wrote(edge: Edge) -> None:
    apply(
        edge,
        EDGE,
        EDGE.replace("name: edge", "name: late").replace("81, protocol: HTTP", "81, protocol: TCP"),
    )
    key = "Gateway.gateway.networking.k8s.io/infra"
    [problem] = [one for one in edge.problems if "already serves HTTP" in one]
    assert problem.startswith(f"{key}/late: ")
    assert f"{key}/edge already serves HTTP there" in problem
    assert not [one for one in edge.problems if "~" in one]


SAFE = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: both}
spec:
  parentRefs: [{name: front}]
  rules:
  - matches: [{path: {value: /safe}}]
    backendRefs: [{name: safe, port: 8443}]
  - backendRefs: [{name: web, port: 8000}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: safe}
spec:
  targetRefs: [{group: "", kind: Service, name: safe}]
  validation:
    hostname: safe.example.com
    caCertificateRefs: [{group: "", kind: ConfigMap, name: authorities}]
"""


async def test_tls_to_a_backend_believes_the_authorities_of_its_policy(edge: Edge) -> None:
    """They are files of the node, which may be missing and may change; other backends are not concerned."""
    edge.workloads.append({"name": "safe", "ports": ["http:8443"], "host": "127.0.0.1"})
    home = edge.folder / "shop" / "authorities"
    client = Client(80)
    async with outside(edge.folder.parent, "safe.example.com", port=8443) as seen:
        apply(edge, SAFE)
        await until(lambda: problems(edge), "credential shop/authorities-cacert: ")
        await until(lambda: client.get("any", "/other"), "200 web")
        assert (await client.get("any", "/safe")).startswith("503")
        home.mkdir(parents=True)
        trusted(home, name="ca.crt")
        await until(lambda: client.get("any", "/safe"), "200 secure")
        assert set(seen.names) == {"safe.example.com"}
        assert await problems(edge) == "none"
        trusted(home, AUTHORITY, "ca.crt")
        await until(lambda: client.get("any", "/safe"), "503")
