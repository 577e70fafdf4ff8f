"""A service with what stands behind it and what shapes it."""

from __future__ import annotations

import pytest

from meshlite.model.mesh import HostAddress, Problem, Resource, Service, Snapshot
from meshlite.model.wire import ServiceView
from meshlite.model.workload import Port
from meshlite.server.overview import overview
from tests.server.conftest import workload


def resource(kind: str, name: str, namespace: str = "shop", **spec: object) -> Resource:
    group = "security" if kind == "PeerAuthentication" else "networking"
    return Resource(
        api_version=f"{group}.istio.io/v1", kind=kind, name=name, namespace=namespace, spec=dict(spec)
    )


def view(*resources: Resource, problems: tuple[Problem, ...] = ()) -> ServiceView:
    snapshot = Snapshot(
        services=(
            Service(name="ratings", namespace="shop", address="240.240.0.1"),
            Service(name="reviews", namespace="shop", address="240.240.0.2"),
        ),
        workloads=(
            workload("reviews-1", service="reviews", labels={"version": "v1"}, version="v1"),
            workload("reviews-2", service="reviews", labels={"version": "v2"}, health="starting"),
        ),
        resources=resources,
    )
    return next(one for one in overview(snapshot, problems) if one.name == "reviews")


def test_replicas_names_and_ports() -> None:
    found = view()
    assert [(one.name, one.version, one.health) for one in found.endpoints] == [
        ("reviews-1", "v1", "healthy"),
        ("reviews-2", "", "starting"),
    ]
    assert found.names[:3] == ("reviews", "reviews.shop", "reviews.shop.svc")
    assert found.ports == (Port(number=9080),)
    assert found.mode == "PERMISSIVE"


def test_subsets_count_their_members() -> None:
    subsets = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2", "v9")]
    found = view(resource("DestinationRule", "reviews", host="reviews", subsets=subsets))
    assert [(one.name, one.ready, one.total) for one in found.subsets] == [
        ("v1", 1, 1),
        ("v2", 0, 1),
        ("v9", 0, 0),
    ]


@pytest.mark.parametrize(
    ("one", "concerns"),
    [
        (resource("DestinationRule", "x", host="reviews"), True),
        (resource("DestinationRule", "x", host="reviews.shop"), True),
        (resource("DestinationRule", "x", host="*.shop.svc.cluster.local"), True),
        (resource("DestinationRule", "x", host="ratings"), False),
        (resource("DestinationRule", "x", namespace="bank", host="reviews"), False),
        (
            resource(
                "VirtualService", "x", hosts=["z"], http=[{"route": [{"destination": {"host": "reviews"}}]}]
            ),
            True,
        ),
        (resource("PeerAuthentication", "x"), True),
        (resource("PeerAuthentication", "x", namespace="bank"), False),
        (resource("PeerAuthentication", "x", namespace="meshlite-system"), True),
        (resource("PeerAuthentication", "x", selector={"matchLabels": {"version": "v2"}}), True),
        (resource("PeerAuthentication", "x", selector={"matchLabels": {"version": "v3"}}), False),
    ],
)
def test_resources_that_name_or_select_it(one: Resource, concerns: bool) -> None:
    assert view(one).resources == ((one.key,) if concerns else ())


@pytest.mark.parametrize(
    ("spec", "mode"),
    [
        ({"mtls": {"mode": "STRICT"}}, "STRICT"),
        ({"mtls": {"mode": "PERMISSIVE"}}, "PERMISSIVE"),
        ({"mtls": {"mode": "STRICT"}, "selector": {"matchLabels": {"version": "v1"}}}, "mixed"),
    ],
)
def test_the_mode_is_that_of_all_replicas(spec: dict[str, object], mode: str) -> None:
    assert view(resource("PeerAuthentication", "x", **spec)).mode == mode


@pytest.mark.parametrize(("captured", "mode"), [((False, False), "PERMISSIVE"), ((False, True), "mixed")])
def test_nobody_holds_what_is_not_captured_to_strict_and_it_says_so(
    captured: tuple[bool, bool], mode: str
) -> None:
    replicas = tuple(
        workload(f"r{n}", service="r", captured=held, reason="" if held else "uses the host's network")
        for n, held in enumerate(captured)
    )
    snapshot = Snapshot(
        services=(Service(name="r", namespace="shop", address="240.240.0.1"),),
        workloads=replicas,
        resources=(resource("PeerAuthentication", "x", mtls={"mode": "STRICT"}),),
    )
    (found,) = overview(snapshot, ())
    assert found.mode == mode
    assert found.problems[0] == "STRICT does not hold for r0, which uses the host's network"
    assert len(found.problems) == captured.count(False)


def test_resources_stand_in_the_order_in_which_a_request_meets_them() -> None:
    policy = resource("PeerAuthentication", "default")
    rule = resource("DestinationRule", "rule", host="reviews")
    wide = resource("DestinationRule", "wide", host="*.shop.svc.cluster.local")
    routes = resource("VirtualService", "routes", hosts=["reviews"], gateways=["g", "mesh"])
    edge = resource(
        "VirtualService",
        "edge",
        hosts=["*"],
        gateways=["g"],
        http=[{"route": [{"destination": {"host": "reviews"}}]}],
    )
    elsewhere = resource("VirtualService", "elsewhere", hosts=["*"], gateways=["g"])
    sidecar = resource("Sidecar", "mine", workloadSelector={"labels": {"version": "v1"}})
    stored = (policy, sidecar, wide, rule, edge, routes, elsewhere)
    numbered = [one.model_copy(update={"sequence": place}) for place, one in enumerate(stored)]
    assert [(shape.resource, shape.role) for shape in view(*numbered).shaped_by] == [
        ("VirtualService/shop/edge", "sends to it from gateways g"),
        ("VirtualService/shop/routes", "routes its requests, also at gateways g"),
        ("DestinationRule/shop/wide", "says how it is called"),
        ("DestinationRule/shop/rule", "says how it is called"),
        ("PeerAuthentication/shop/default", "says who may connect"),
        ("Sidecar/shop/mine", "says what it may call"),
    ]


def test_conflicts_of_its_resources_are_told() -> None:
    first, later = (
        resource(
            "VirtualService",
            name,
            hosts=["reviews"],
            http=[{"route": [{"destination": {"host": "reviews"}}]}],
        )
        for name in ("first", "later")
    )
    found = view(first, later.model_copy(update={"sequence": 1})).conflicts
    assert [(one.code, one.resource) for one in found] == [("IST0109", first.key), ("IST0109", later.key)]
    assert "shop/first was applied first" in found[1].message


def test_what_nodes_say_of_its_resources_is_shown() -> None:
    rule = resource("DestinationRule", "reviews", host="reviews")
    problems = (Problem(resource=rule.key, reason="not translated"), Problem(resource="other", reason="no"))
    assert view(rule, problems=problems).problems == ("not translated",)


def declared(*resources: Resource) -> dict[str, ServiceView]:
    snapshot = Snapshot(
        services=(Service(name="reviews", namespace="shop", address="240.240.0.2"),),
        workloads=(workload("reviews-1", service="reviews", labels={"app": "reviews"}),),
        hosts=(HostAddress(host="api.example.com", namespace="shop", address="240.240.9.9"),),
        resources=resources,
    )
    return {one.name: one for one in overview(snapshot, ())}


def entry(host: str, name: str = "it", **spec: object) -> Resource:
    ports = [{"number": 80, "name": "http", "protocol": "HTTP"}]
    return resource("ServiceEntry", name, hosts=[host], ports=ports, **spec)


def test_a_declared_host_has_its_entrys_address_ports_and_endpoints() -> None:
    endpoints = [{"address": "192.0.2.1"}, {"address": "reviews.shop.svc.cluster.local"}]
    found = declared(entry("api.example.com", resolution="DNS", endpoints=endpoints))["api.example.com"]
    assert (found.fqdn, found.names, found.address) == (
        "api.example.com",
        ("api.example.com",),
        "240.240.9.9",
    )
    assert found.ports == (Port(number=80, protocol="http", name="http", origin="resource"),)
    assert [(one.name, one.address) for one in found.endpoints] == [
        ("api.example.com/0", "192.0.2.1"),
        ("reviews-1", ""),
    ]
    assert (found.declared_by, found.resolution) == (("ServiceEntry/shop/it",), "DNS")
    assert [(one.resource, one.role) for one in found.shaped_by] == [("ServiceEntry/shop/it", "declares it")]


def test_policies_count_for_a_declared_host_where_workloads_stand_behind_it_or_they_name_it() -> None:
    chosen = {"workloadSelector": {"labels": {"app": "reviews"}}}
    strict = resource("PeerAuthentication", "strict", mtls={"mode": "STRICT"})
    attached = Resource(
        api_version="security.istio.io/v1",
        kind="AuthorizationPolicy",
        name="guard",
        namespace="shop",
        spec={"targetRefs": [{"group": "networking.istio.io", "kind": "ServiceEntry", "name": "it"}]},
    )
    found = declared(
        entry("api.example.com", resolution="NONE"),
        entry("in.example.com", "in", resolution="STATIC", location="MESH_INTERNAL", **chosen),
        strict,
        attached,
    )
    assert found["api.example.com"].mode == "none"
    assert attached.key in found["api.example.com"].resources
    assert strict.key not in found["api.example.com"].resources
    assert found["in.example.com"].mode == "STRICT"
    assert strict.key in found["in.example.com"].resources
    assert attached.key not in found["in.example.com"].resources
    assert attached.key not in found["reviews"].resources


def test_a_host_that_is_a_service_of_its_namespace_is_shown_once() -> None:
    found = declared(entry("reviews.shop.svc.cluster.local", resolution="NONE"))
    assert list(found) == ["reviews"]
    assert [one.role for one in found["reviews"].shaped_by] == ["declares its host, too"]
