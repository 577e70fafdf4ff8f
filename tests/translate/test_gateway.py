"""Which servers of Gateways are served beside each other, and what VirtualServices do there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshlite.model.mesh import Resource
from meshlite.model.validate import faults
from meshlite.translate.translate import translate
from tests.translate import cases, envoy

WORKLOADS = [{"name": "web-1", "service": "web", "ports": ["http:80", "tcp:9000"], "link": "169.254.1.1"}]


def gateway(name: str, *servers: dict[str, Any], selector: dict[str, str] | None = None) -> dict[str, Any]:
    chosen = {"istio": "ingressgateway"} if selector is None else selector
    return _document("Gateway", name, {"selector": chosen, "servers": list(servers)})


def routed(
    name: str, hosts: list[str], gateways: list[str], *paths: str, space: str = "shop"
) -> dict[str, Any]:
    target = {"destination": {"host": "web.shop.svc.cluster.local", "port": {"number": 80}}}
    rules = [{"match": [{"uri": {"prefix": path}}], "route": [target]} for path in paths] or [
        {"route": [target]}
    ]
    spec = {"hosts": hosts, "gateways": gateways, "http": rules}
    return _document("VirtualService", name, spec, space)


def _document(kind: str, name: str, spec: dict[str, Any], space: str = "shop") -> dict[str, Any]:
    meta = {"name": name, "namespace": space}
    return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": meta, "spec": spec}


def http(port: int, *hosts: str, name: str = "http", **more: Any) -> dict[str, Any]:
    return {"port": {"number": port, "name": name, "protocol": "HTTP"}, "hosts": list(hosts), **more}


def https(port: int, *hosts: str, name: str = "https", mode: str = "SIMPLE") -> dict[str, Any]:
    tls = {"mode": mode} | ({"credentialName": "c"} if mode == "SIMPLE" else {})
    return {"port": {"number": port, "name": name, "protocol": "HTTPS"}, "hosts": list(hosts), "tls": tls}


def made(*documents: dict[str, Any], tmp_path: Path | None = None) -> dict[str, Any]:
    result = cases.shown(translate(*cases.mesh({"workloads": WORKLOADS, "resources": list(documents)})))
    if tmp_path is not None:
        assert envoy.validate(envoy.bootstrap(result), tmp_path) == ""
    return result


def prefixes(result: dict[str, Any], table: str) -> dict[str, list[str]]:
    """Domain -> prefixes of its routes, in order."""
    hosts = result["routes"][table].get("virtual_hosts", [])
    return {
        host["domains"][0]: [route["match"]["prefix"] for route in host.get("routes", [])] for host in hosts
    }


def test_a_host_of_several_rules_has_the_routes_of_all_and_the_open_one_last() -> None:
    result = made(
        gateway("front", http(80, "*.example.com")),
        routed("a", ["www.example.com"], ["front"]),
        routed("b", ["www.example.com"], ["shop/front"], "/b"),
        routed("c", ["www.example.com"], ["./front"]),
    )
    assert prefixes(result, "http.80") == {"www.example.com": ["/b", "/"]}


@pytest.mark.parametrize(
    ("allowed", "hosts", "found"),
    [
        ("*", ["a.com"], ["a.com"]),
        ("*.a.com", ["*.b.a.com", "a.com"], ["*.b.a.com"]),
        ("b.a.com", ["*.a.com"], ["b.a.com"]),
        ("./a.com", ["a.com"], ["a.com"]),
        ("shop/a.com", ["a.com"], ["a.com"]),
        ("*/a.com", ["a.com"], ["a.com"]),
        ("other/a.com", ["a.com"], []),
        ("a.com", ["b.com"], []),
        ("*", ["web"], ["web.shop.svc.cluster.local"]),
        ("::1", ["::1"], ["[::1]"]),
    ],
)
def test_hosts_are_those_that_both_have(allowed: str, hosts: list[str], found: list[str]) -> None:
    result = made(gateway("front", http(80, allowed)), routed("a", hosts, ["front"]))
    assert list(prefixes(result, "http.80")) == found


@pytest.mark.parametrize("written", ["other/front", "front.other", "front.other.svc.cluster.local"])
def test_gateways_of_another_namespace_are_named_in_all_of_istios_ways(written: str) -> None:
    front = gateway("front", http(80, "*"))
    front["metadata"]["namespace"] = "other"
    assert list(prefixes(made(front, routed("a", ["a.com"], [written])), "http.80")) == ["a.com"]
    assert prefixes(made(front, routed("a", ["a.com"], ["front"])), "http.80") == {}


def test_without_selector_the_built_in_gateways_serve_and_workloads_do_not() -> None:
    listeners = made(gateway("front", http(80, "*"), selector={}))["listeners"]
    assert {name for name in listeners if "_80" in name} == {"0.0.0.0_80", "127.0.0.7_80"}


def test_the_egress_gateway_opens_nothing_but_loopback() -> None:
    server = http(80, "*", bind="0.0.0.0")
    other = http(81, "*", name="other", bind="10.0.0.1")
    listeners = made(gateway("out", server, other, selector={"istio": "egressgateway"}))["listeners"]
    found = [listeners[name]["address"]["socket_address"]["address"] for name in listeners if "_8" in name]
    assert found == ["127.0.0.7", "127.0.0.7"]


@pytest.mark.parametrize(
    ("servers", "reason"),
    [
        (
            [
                http(80, "*"),
                {**http(80, "*", name="b"), "port": {"number": 80, "name": "b", "protocol": "TCP"}},
            ],
            "HTTP",
        ),
        ([http(80, "*"), https(80, "*")], "already serves HTTP there"),
        ([https(80, "*"), http(80, "*")], "already serves HTTPS there"),
        ([https(443, "a.com"), https(443, "a.com", name="b")], "already serves a.com there"),
        ([https(443, "a.com"), https(443, "b/a.com", name="b")], "already serves a.com there"),
        ([https(443, "a.com"), https(443, "*-b.com", name="b")], "whole parts of a name"),
        (
            [https(443, "a.com"), https(443, "b.com", name="b", mode="ISTIO_MUTUAL")],
            "istio-egressgateway only",
        ),
    ],
)
def test_what_cannot_stand_beside_an_earlier_server_is_said(
    servers: list[dict[str, Any]], reason: str, tmp_path: Path
) -> None:
    result = made(gateway("front", *servers), tmp_path=tmp_path)
    [problem] = result["problems"]
    assert problem.startswith("Gateway/shop/front: spec.servers[1]")
    assert reason in problem
    assert len([name for name in result["listeners"] if name.startswith("0.0.0.0_")]) == 1


def test_the_same_name_in_passed_and_ended_tls_leaves_the_port_working(tmp_path: Path) -> None:
    passed = https(443, "*.com", name="passed", mode="PASSTHROUGH")
    spec = {
        "hosts": ["a.com", "*-x.com"],
        "gateways": ["front"],
        "tls": [
            {
                "match": [{"sniHosts": ["a.com", "*-x.com"]}],
                "route": [{"destination": {"host": "web", "port": {"number": 9000}}}],
            }
        ],
    }
    result = made(
        gateway("front", https(443, "a.com"), passed),
        _document("VirtualService", "a", spec),
        tmp_path=tmp_path,
    )
    assert len(result["listeners"]["0.0.0.0_443"]["filter_chains"]) == 1
    assert "Gateway/shop/front: port 443: a.com is already served there" in result["problems"]
    assert any("VirtualService/shop/a: *-x.com" in problem for problem in result["problems"])


def test_tcp_is_shared_by_weights(tmp_path: Path) -> None:
    server = {"port": {"number": 9000, "name": "tcp", "protocol": "TCP"}, "hosts": ["*"]}
    parts = [
        {"destination": {"host": "web", "port": {"number": port}}, "weight": weight}
        for port, weight in ((9000, 90), (80, 10), (80, 0))
    ]
    spec = {"hosts": ["*"], "gateways": ["front"], "tcp": [{"route": parts}]}
    result = made(gateway("front", server), _document("VirtualService", "a", spec), tmp_path=tmp_path)
    [chain] = result["listeners"]["0.0.0.0_9000"]["filter_chains"]
    clusters = chain["filters"][0]["typed_config"]["weighted_clusters"]["clusters"]
    assert [(one["name"].split("|")[1], one["weight"]) for one in clusters] == [("9000", 90), ("80", 10)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{gatewayTopology: {numTrustedProxies: 2, proxyProtocol: {}}}", ""),
        ("gatewayTopology: [", "must be YAML"),
        ("gatewayTopology: 5", "must be YAML"),
        ("{gatewayTopology: {numTrustedProxies: -1}}", "number of proxies"),
        ("{concurrency: 2}", "concurrency has no effect"),
    ],
)
def test_what_stands_in_front_is_judged(text: str, words: str) -> None:
    document = gateway("front", http(80, "*"))
    annotations = {"proxy.istio.io/config": text}
    resource = Resource(
        api_version=document["apiVersion"],
        kind="Gateway",
        name="front",
        namespace="shop",
        annotations=annotations,
        spec=document["spec"],
    )
    found = [fault.reason for fault in faults(resource)]
    assert bool(found) == bool(words)
    assert words in " ".join(found)


def test_what_is_for_other_clusters_opens_no_port_and_takes_none() -> None:
    clusters = https(15443, "*.local", name="tls", mode="AUTO_PASSTHROUGH")
    alone = made(gateway("far", clusters))
    assert alone["listeners"].keys() == made()["listeners"].keys()
    assert alone["problems"] == []
    beside = made(gateway("far", clusters), gateway("near", http(15443, "*")), routed("r", ["*"], ["near"]))
    assert [name for name in beside["listeners"] if name.endswith("15443")] == ["0.0.0.0_15443"]
    assert beside["problems"] == []
