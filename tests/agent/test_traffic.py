"""Envoy's compact counters are told as services calling services, and as Istio's metric."""

from __future__ import annotations

from meshlite.agent import traffic
from meshlite.agent.traffic import Edge, Names
from meshlite.model.mesh import Snapshot
from meshlite.model.workload import Workload

PAGE = Workload(id="1", node="n", name="shop-page-1", service="page", namespace="shop")
NAMES = Names(Snapshot(version="v", workloads=(PAGE,)))
TO_V2 = 'cluster="outbound|9080|v2|reviews.shop.svc.cluster.local"'


def test_a_request_is_told_by_services_not_by_containers() -> None:
    text = f'envoy_meshlite_requests{{source="shop/shop-page-1",{TO_V2},code="200",flags="-"}} 12\n'
    assert traffic.edges(text, NAMES) == (
        Edge(
            "page.shop.svc.cluster.local",
            "shop-page-1",
            "reviews.shop.svc.cluster.local",
            9080,
            "v2",
            "200",
            "-",
            12,
        ),
    )


def test_connections_count_only_where_they_carried_no_http() -> None:
    text = (
        'envoy_meshlite_connections{source="shop/shop-page-1",cluster="",flags="-"} 3\n'
        'envoy_meshlite_connections{source="shop/shop-page-1",'
        'cluster="outbound|3306||db.shop.svc.cluster.local",flags="-"} 2\n'
    )
    (edge,) = traffic.edges(text, NAMES)
    assert (edge.destination, edge.port, edge.count) == ("db.shop.svc.cluster.local", 3306, 2)


def test_a_stranger_is_unknown_and_its_destination_known() -> None:
    text = (
        'envoy_meshlite_requests{source="unknown",cluster="InboundPassthroughCluster",code="403",'
        'flags="RBAC",destination="page.shop.svc.cluster.local:9080"} 1\n'
    )
    (edge,) = traffic.edges(text, NAMES)
    assert (edge.source, edge.destination, edge.port) == ("unknown", "page.shop.svc.cluster.local", 9080)


def test_what_envoy_says_besides_is_left_alone() -> None:
    text = "# TYPE envoy_meshlite_requests counter\nenvoy_server_live 1\nenvoy_meshlite_requests{} x\n"
    assert traffic.edges(text, NAMES) == ()


def test_istios_metric_sums_what_has_the_same_labels() -> None:
    edge = traffic.edges(
        f'envoy_meshlite_requests{{source="shop/shop-page-1",{TO_V2},code="200",flags="-"}} 12', NAMES
    )[0]
    kind, line = traffic.istio((edge, edge), "cluster.local")
    assert kind == "# TYPE istio_requests_total counter"
    assert line.startswith('istio_requests_total{reporter="source",source_workload="shop-page-1"')
    assert 'source_principal="spiffe://cluster.local/ns/shop/sa/page"' in line
    assert 'destination_service="reviews.shop.svc.cluster.local"' in line
    assert line.endswith("} 24")


def test_an_outside_host_is_told_by_its_whole_name() -> None:
    to = 'cluster="outbound|443||api.example.com"'
    text = f'envoy_meshlite_requests{{source="shop/shop-page-1",{to},code="200",flags="-"}} 1\n'
    _, line = traffic.istio(traffic.edges(text, NAMES), "cluster.local")
    assert 'destination_service="api.example.com"' in line
    assert 'destination_service_name="api.example.com"' in line
    assert 'destination_service_namespace="unknown"' in line
    assert 'destination_principal="unknown"' in line
