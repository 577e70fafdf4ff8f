"""What is told of a request: the same that Envoy would do by the plan, with who decided and what did not."""

from __future__ import annotations

from typing import Any

import pytest

from meshlite.model import external
from meshlite.model.mesh import HostAddress, Resource, Service, Snapshot
from meshlite.model.workload import Port, Workload
from meshlite.server.door import Door
from meshlite.translate.explain.edge import gateway
from meshlite.translate.explain.explain import explain
from meshlite.translate.explain.request import Request, destination
from meshlite.translate.explain.story import Step, Story

NETWORK = "240.240.0.0/16"
HTTP = Port(number=80, protocol="http", origin="label")


def workload(service: str, version: str, number: int, **changes: Any) -> Workload:
    fields: dict[str, Any] = {
        "id": f"{service}-{version}",
        "node": "n",
        "name": f"{service}-{version}-1",
        "service": service,
        "namespace": "shop",
        "version": version,
        "ports": (HTTP,),
        "addresses": (f"172.18.0.{number}",),
        "captured": True,
    }
    return Workload.model_validate(fields | changes)


WEB = workload("web", "v1", 2)
WORKLOADS = (
    WEB,
    workload("api", "v1", 3),
    workload("api", "v2", 4),
    workload("api", "v3", 5, health="unhealthy"),
    workload("db", "v1", 6, ports=(Port(number=3306, protocol="mysql", origin="image"),)),
)
SERVICES = (
    Service(name="web", namespace="shop", address="240.240.0.1", ports=(HTTP,)),
    Service(name="api", namespace="shop", address="240.240.0.2", ports=(HTTP,)),
    Service(name="db", namespace="shop", address="240.240.0.3", ports=WORKLOADS[-1].ports),
)


def resource(
    kind: str, name: str, spec: dict[str, Any], namespace: str = "shop", sequence: int = 1
) -> Resource:
    security = ("PeerAuthentication", "AuthorizationPolicy", "RequestAuthentication")
    group = "security" if kind in security else "networking"
    return Resource(
        api_version=f"{group}.istio.io/v1",
        kind=kind,
        name=name,
        namespace=namespace,
        spec=spec,
        sequence=sequence,
    )


def to(subset: str = "", **more: Any) -> dict[str, Any]:
    return {"destination": {"host": "api"} | ({"subset": subset} if subset else {}), **more}


SUBSETS = resource(
    "DestinationRule",
    "api",
    {"host": "api", "subsets": [{"name": v, "labels": {"version": v}} for v in ("v1", "v2", "v3")]},
)
ROUTES = resource(
    "VirtualService",
    "api",
    {
        "hosts": ["api"],
        "http": [
            {"match": [{"sourceLabels": {"app": "other"}}], "route": [to("v3")]},
            {
                "match": [{"headers": {"user": {"exact": "jason"}}}, {"uri": {"prefix": "/new"}}],
                "route": [to("v2")],
                "timeout": "2s",
                "fault": {"abort": {"httpStatus": 503, "percentage": {"value": 5}}},
            },
            {"match": [{"uri": {"exact": "/old"}}], "redirect": {"uri": "/", "redirectCode": 302}},
            {"match": [{"uri": {"prefix": "/gone"}}], "route": [to("v3")]},
            {"route": [to("v1", weight=90), to("v2", weight=10)]},
        ],
    },
)


def told(request: Request, *resources: Resource, source: Workload = WEB) -> Story:
    snapshot = Snapshot(services=SERVICES, workloads=WORKLOADS, resources=resources)
    return explain(snapshot, source, request, NETWORK)


def step(story: Story, name: str) -> Step:
    return next(one for one in story.steps if one.step == name)


def passed(story: Story, name: str) -> dict[str, str]:
    return {one.what: one.why for one in step(story, name).passed_over}


def test_without_rules_every_ready_replica_may_get_it() -> None:
    story = told(Request("api"))
    assert story.outcome == "sent to outbound|80||api.shop.svc.cluster.local"
    assert [end.workload for end in story.ends] == ["api-v1-1", "api-v2-1"]
    assert step(story, "route").by == ""
    assert step(story, "route").why == "no VirtualService routes it"
    assert step(story, "destination rule").decision == "none: Istio's defaults"
    assert passed(story, "endpoints") == {"api-v3-1": "it is unhealthy"}
    assert "the label meshlite.ports says so" in step(story, "name").why


def test_the_rule_that_decides_is_named_and_those_before_it_say_why_not() -> None:
    story = told(Request("api", headers={"User": "jason"}), ROUTES, SUBSETS)
    chosen = step(story, "route")
    assert chosen.by == "VirtualService/shop/api spec.http[1].match[0]"
    assert passed(story, "route") == {
        "VirtualService/shop/api spec.http[0].match[0]": "it is for other callers: sourceLabels app=other"
    }
    assert step(story, "on the way").decision == (
        "aborted with 503 for 5 % of requests; ends after 2 s; tried again up to 2 times on connect-failure,"
        "refused-stream,unavailable,cancelled,retriable-status-codes,reset-before-request"
    )
    assert [end.workload for end in story.ends] == ["api-v2-1"]
    assert step(story, "destination rule").by == "DestinationRule/shop/api"
    assert passed(story, "endpoints") == {
        "api-v1-1": "it has not the labels of subset v2",
        "api-v3-1": "it is unhealthy",
    }


def test_each_condition_that_is_not_met_is_told() -> None:
    story = told(Request("api.shop", path="/x?a=b", headers={"user": "eve"}), ROUTES, SUBSETS)
    prefix = "VirtualService/shop/api spec.http"
    assert step(story, "route").by == f"{prefix}[4]"
    assert passed(story, "route") == {
        f"{prefix}[0].match[0]": "it is for other callers: sourceLabels app=other",
        f"{prefix}[1].match[0]": "header user is eve, which is not jason",
        f"{prefix}[1].match[1]": "path /x does not start with /new",
        f"{prefix}[2].match[0]": "path /x is not /old",
        f"{prefix}[3].match[0]": "path /x does not start with /gone",
    }
    assert [(end.workload, end.share) for end in story.ends] == [("api-v1-1", 90.0), ("api-v2-1", 10.0)]


def test_requests_that_nobody_serves() -> None:
    assert (
        told(Request("api", path="/old"), ROUTES, SUBSETS).outcome
        == "redirected with 302 to http://(same host)/"
    )
    story = told(Request("api", path="/gone/x"), ROUTES, SUBSETS)
    assert story.outcome.startswith("answered with 503: nobody stands behind outbound|80|v3|api")
    assert story.ends == ()
    only = resource(
        "VirtualService",
        "api",
        {"hosts": ["api"], "http": [{"match": [{"uri": {"exact": "/a"}}], "route": [to()]}]},
    )
    assert told(Request("api", path="/b"), only).outcome == "answered with 404: no route is for it"


def test_other_resources_for_the_host_are_passed_over_with_the_reason() -> None:
    def routes(name: str, sequence: int, **spec: Any) -> Resource:
        return resource(
            "VirtualService", name, {"hosts": ["api"], "http": [{"route": [to()]}]} | spec, sequence=sequence
        )

    story = told(
        Request("api"),
        routes("first", 1),
        routes("later", 2),
        routes("edge", 3, gateways=["g"]),
        routes("hidden", 4, exportTo=["elsewhere"]),
        routes("wide", 5, hosts=["*.shop.svc.cluster.local"]),
    )
    assert step(story, "route").by == "VirtualService/shop/first spec.http[0]"
    assert passed(story, "route") == {
        "VirtualService/shop/later": "VirtualService/shop/first has the host already: applied first, or"
        " exported more narrowly",
        "VirtualService/shop/edge": "it is for gateways: g",
        "VirtualService/shop/hidden": "it is not exported to namespace shop",
        "VirtualService/shop/wide": "its wildcard fits less closely than the host of"
        " VirtualService/shop/first",
    }


def test_the_destination_rule_of_the_nearest_namespace_is_followed() -> None:
    root = resource("DestinationRule", "all", {"host": "*.shop.svc.cluster.local"}, "meshlite-system", 1)
    clients = {"matchLabels": {"app": "other"}}
    other = resource("DestinationRule", "other", {"host": "api", "workloadSelector": clients}, sequence=2)
    story = told(Request("api"), root, other, SUBSETS)
    assert step(story, "destination rule").by == "DestinationRule/shop/api"
    assert passed(story, "destination rule") == {
        "DestinationRule/meshlite-system/all": "that of namespace shop with host"
        " api.shop.svc.cluster.local comes first",
        "DestinationRule/shop/other": "its workloadSelector is for other clients",
    }


def test_who_may_come_in() -> None:
    assert "PERMISSIVE" in step(told(Request("api")), "peer authentication").decision
    strict = resource("PeerAuthentication", "default", {"mtls": {"mode": "STRICT"}}, "meshlite-system")
    found = step(told(Request("api"), strict), "peer authentication")
    assert found.decision == "STRICT: only mesh identities get in"
    assert found.by == "PeerAuthentication/meshlite-system/default"


def test_other_protocols_and_other_hosts() -> None:
    story = told(Request("db"))
    assert story.outcome == "sent to outbound|3306||db.shop.svc.cluster.local"
    assert step(story, "listener").decision.startswith("TCP, to cluster outbound|3306|")
    assert told(Request("example.com", 80)).outcome == "passed on to where it was dialled"
    assert told(Request("example.com", 9999, http=False)).outcome == "passed on to where it was dialled"
    assert told(Request("240.240.9.9", 80, http=False)).outcome == "refused"
    assert told(Request("240.240.0.2", 80)).ends[0].workload == "api-v1-1"


def entry(host: str, resolution: str, port: dict[str, Any], **more: Any) -> Resource:
    spec = {"hosts": [host], "ports": [port], "resolution": resolution} | more
    return resource("ServiceEntry", host.strip("*.").replace(".", "-"), spec)


WEB_PORT = {"number": 80, "name": "http", "protocol": "HTTP"}
DB_PORT = {"number": 5432, "name": "tcp", "protocol": "TCP"}


@pytest.mark.parametrize(
    ("declared", "host", "outcome", "endpoints"),
    [
        (entry("api.test", "DNS", WEB_PORT), "api.test", "sent to outbound|80||api.test", "api.test:80"),
        (
            entry("db.test", "STATIC", DB_PORT, endpoints=[{"address": "192.0.2.1"}]),
            "db.test",
            "sent to outbound|5432||db.test",
            "192.0.2.1:5432",
        ),
        (
            entry("raw.test", "NONE", WEB_PORT),
            "raw.test",
            "sent to outbound|80||raw.test",
            "wherever the source dials",
        ),
        (
            entry("*.wild.test", "NONE", WEB_PORT),
            "x.wild.test",
            "sent to outbound|80||*.wild.test",
            "wherever the source dials",
        ),
    ],
)
def test_declared_hosts(declared: Resource, host: str, outcome: str, endpoints: str) -> None:
    addresses = tuple(
        HostAddress(host=one.host, namespace="shop", address="240.240.1.1")
        for one in external.read([declared])
        if one.allocated
    )
    snapshot = Snapshot(services=SERVICES, workloads=WORKLOADS, resources=(declared,), hosts=addresses)
    story = explain(snapshot, WEB, Request(host), NETWORK)
    assert story.outcome == outcome
    assert step(story, "name").by == declared.key
    assert step(story, "endpoints").decision == endpoints


def server(port: int, protocol: str, *hosts: str, **more: Any) -> dict[str, Any]:
    return {"port": {"number": port, "name": f"p{port}", "protocol": protocol}, "hosts": list(hosts)} | more


def test_requests_from_outside() -> None:
    tls = {"mode": "SIMPLE", "credentialName": "shop"}
    servers = [server(80, "HTTP", "shop.test"), server(443, "HTTPS", "shop.test", tls=tls)]
    edge = resource("Gateway", "edge", {"selector": {"istio": "ingressgateway"}, "servers": servers})
    rules = [
        {"match": [{"uri": {"prefix": "/api"}}], "route": [to("v2")]},
        {"match": [{"uri": {"exact": "/old"}}], "redirect": {"uri": "/new"}},
    ]
    routes = resource(
        "VirtualService", "edge", {"hosts": ["shop.test"], "gateways": ["edge"], "http": rules}, sequence=2
    )
    outside = gateway("ingressgateway", "n")
    assert outside is not None

    def asked(request: Request) -> Story:
        return told(request, edge, routes, SUBSETS, source=outside)

    story = asked(Request("shop.test", path="/api/x", tls=True))
    assert step(story, "gateway").by == "Gateway/shop/edge"
    assert step(story, "gateway").decision.startswith("port 443, route table https.443.")
    assert step(story, "route").by == "VirtualService/shop/edge spec.http[0].match[0]"
    assert [end.workload for end in story.ends] == ["api-v2-1"]
    assert asked(Request("shop.test", path="/api")).ends == story.ends
    assert asked(Request("shop.test", path="/old")).outcome.startswith("redirected with 301")
    assert asked(Request("shop.test")).outcome == "answered with 404: no route is for it"
    assert asked(Request("other.test")).outcome.startswith("answered with 404")
    closed = asked(Request("shop.test", 8080))
    assert closed.outcome == "refused: no Gateway takes it"
    assert step(closed, "gateway").why == "ports that Gateways ask for: 80, 443"
    refused = asked(Request("other.test", tls=True))
    assert refused.outcome == "refused: no Gateway takes it"
    assert "server names shop.test" in next(iter(passed(refused, "gateway").values()))
    assert gateway("web", "n") is None


def test_policies_of_a_gateway_judge_its_clients_first() -> None:
    """By the gateway's labels, and by the Gateway that they are attached to; others are passed over."""
    edge = resource(
        "Gateway", "edge", {"selector": {"istio": "ingressgateway"}, "servers": [server(80, "HTTP", "*")]}
    )
    routes = resource(
        "VirtualService",
        "edge",
        {"hosts": ["*"], "gateways": ["edge"], "http": [{"route": [to("v2")]}]},
        sequence=2,
    )
    no_admin = {
        "selector": {"matchLabels": {"istio": "ingressgateway"}},
        "action": "DENY",
        "rules": [{"to": [{"operation": {"paths": ["/admin*"]}}]}],
    }
    tokens = {
        "targetRefs": [{"kind": "Gateway", "group": "gateway.networking.k8s.io", "name": "edge"}],
        "jwtRules": [{"issuer": "ours", "jwks": '{"keys": []}', "presence": "REQUIRED"}],
    }
    resources = (
        edge,
        routes,
        SUBSETS,
        resource("AuthorizationPolicy", "no-admin", no_admin, "meshlite-system", 3),
        resource("RequestAuthentication", "tokens", tokens, sequence=4),
        resource("AuthorizationPolicy", "elsewhere", no_admin, "elsewhere", 5),
    )
    outside = gateway("ingressgateway", "n")
    assert outside is not None

    def asked(path: str, claims: dict[str, object] | None) -> Story:
        return told(Request("any.test", path=path, claims=claims), *resources, source=outside)

    denied = asked("/admin/x", {"sub": "ann"})
    by = "AuthorizationPolicy/meshlite-system/no-admin spec.rules[0]"
    assert denied.outcome == f"denied with 403 by {by}"
    assert step(denied, "authorization").by == by
    assert "RequestAuthentication/shop/tokens" in passed(denied, "authorization")
    assert [one.step for one in denied.steps] == ["source", "gateway", "authorization"]
    nobody = asked("/", None)
    assert nobody.outcome == "denied with 401 by RequestAuthentication/shop/tokens spec.jwtRules[0]"
    let_in = asked("/", {"sub": "ann"})
    assert step(let_in, "authorization").decision == "allowed"
    assert [end.workload for end in let_in.ends] == ["api-v2-1"]


def test_a_source_that_is_not_captured_goes_directly() -> None:
    stranger = workload("web", "v9", 9, captured=False, reason="network_mode: host")
    story = told(Request("api"), source=stranger)
    assert story.outcome == "goes directly, past the mesh: the source is not captured"
    assert step(story, "source").why == "network_mode: host"


def test_a_port_must_be_said_where_there_are_several() -> None:
    service = Service(name="two", namespace="shop", address="240.240.0.9", ports=(HTTP, Port(number=81)))
    snapshot = Snapshot(services=(service,), workloads=WORKLOADS)
    with pytest.raises(ValueError, match="two has 80, 81: say which port"):
        explain(snapshot, WEB, Request("two"), NETWORK)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("reviews", ("reviews", 0, "")),
        ("reviews.shop:9080", ("reviews.shop", 9080, "")),
        ("http://reviews/a/b?c=d", ("reviews", 80, "/a/b?c=d")),
        ("https://reviews", ("reviews", 443, "")),
        ("[2001:db8::1]:80", ("2001:db8::1", 80, "")),
    ],
)
def test_destinations_as_people_write_them(text: str, parts: tuple[str, int, str]) -> None:
    assert destination(text) == parts


@pytest.mark.parametrize("text", ["", "http://", "a:b", "a:99999"])
def test_what_names_no_host(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        destination(text)


ROUTE: dict[str, Any] = {
    "parentRefs": [{"group": "", "kind": "Service", "name": "api"}],
    "rules": [
        {"matches": [{"path": {"value": "/a"}}], "backendRefs": [{"name": "gone", "port": 80}]},
        {"backendRefs": [{"name": "api", "port": 80}]},
    ],
}


@pytest.mark.parametrize(
    ("path", "rule", "outcome"),
    [
        ("/a/b", "route shop.api.0", "answered with 500"),
        ("/ab", "route shop.api.1", "sent to outbound|80||api.shop"),
    ],
)
def test_a_route_of_gateway_api_is_told_by_its_own_name(path: str, rule: str, outcome: str) -> None:
    route = Resource(
        api_version="gateway.networking.k8s.io/v1", kind="HTTPRoute", name="api", namespace="shop", spec=ROUTE
    )
    resources = Door().through((route,), SERVICES, ())
    snapshot = Snapshot(services=SERVICES, workloads=WORKLOADS, resources=resources)
    story = explain(snapshot, WEB, Request("api", path=path), NETWORK)
    assert story.outcome.startswith(outcome)
    step = next(step for step in story.steps if step.step == "route")
    assert (step.decision, step.by) == (rule, "HTTPRoute/shop/api")
    assert "VirtualService" not in str(story)
