"""How a DestinationRule's settings for all, for a port and for a subset come together."""

from __future__ import annotations

from typing import Any

from meshlite.model.mesh import Resource
from meshlite.model.networking import DestinationRule
from meshlite.translate.plan.caller import Caller
from meshlite.translate.plan.cluster import Policy
from meshlite.translate.plan.policy import policy
from meshlite.translate.plan.resources import Applied
from meshlite.translate.plan.rules import Rule, rules

WEB = "web.shop.svc.cluster.local"
SHOP = Caller("shop")


def rule(*specs: dict[str, Any], caller: Caller = SHOP) -> Rule:
    """What callers in shop follow, of rules applied in this order."""
    applied = [
        Applied(
            Resource(
                api_version="networking.istio.io/v1",
                kind="DestinationRule",
                name=str(place),
                namespace="shop",
                sequence=place,
            ),
            DestinationRule.model_validate({"host": "web", **spec}),
        )
        for place, spec in enumerate(specs)
    ]
    found = rules(applied, {WEB}).of(WEB, "shop", caller)
    assert found is not None
    return found


def of(spec: dict[str, Any], port: int, subset: str = "") -> Policy:
    found = rule(spec)
    return policy(found, found.subset(subset), port)


POLICY = {
    "loadBalancer": {"simple": "RANDOM"},
    "connectionPool": {"tcp": {"maxConnections": 7}},
    "outlierDetection": {"consecutive5xxErrors": 3},
    "tls": {"mode": "SIMPLE", "sni": "all"},
    "proxyProtocol": {"version": "V2"},
    "retryBudget": {"percent": 50},
}


def test_a_port_takes_nothing_from_what_is_said_for_all_but_what_cannot_be_said_for_it() -> None:
    port = {"port": {"number": 80}, "loadBalancer": {"simple": "ROUND_ROBIN"}}
    spec = {"trafficPolicy": {**POLICY, "portLevelSettings": [port]}}
    general, special = of(spec, 81), of(spec, 80)
    assert (general.balancer.kind, general.pool.connections) == ("random", 7)
    assert general.outliers is not None
    assert general.tls is not None
    assert special.balancer.kind == "round_robin"
    assert special.pool.connections == Policy().pool.connections
    assert (special.outliers, special.tls) == (None, None)
    assert special.proxy_protocol == general.proxy_protocol == 2
    assert special.pool.retry_budget == general.pool.retry_budget is not None


def test_a_subset_replaces_part_by_part() -> None:
    subset = {"name": "v1", "trafficPolicy": {"loadBalancer": {"simple": "ROUND_ROBIN"}}}
    found = of({"trafficPolicy": POLICY, "subsets": [subset]}, 80, "v1")
    assert found.balancer.kind == "round_robin"
    assert found.pool.connections == 7
    assert found.outliers is not None


def test_a_port_of_a_subset_replaces_all_four_parts() -> None:
    port = {"port": {"number": 80}, "connectionPool": {"tcp": {"maxConnections": 1}}}
    subset = {"name": "v1", "trafficPolicy": {"portLevelSettings": [port]}}
    spec = {"trafficPolicy": POLICY, "subsets": [subset]}
    found = of(spec, 80, "v1")
    assert found.balancer.kind == "least_request"
    assert found.pool.connections == 1
    assert (found.outliers, found.tls) == (None, None)
    assert of(spec, 81, "v1") == of(spec, 81)


def test_a_subset_has_a_tunnel_of_its_own() -> None:
    tunnel = {"targetHost": "far", "targetPort": 443}
    subset = {"name": "v1", "trafficPolicy": {"tunnel": tunnel}}
    spec = {"trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}, "subsets": [subset]}
    assert of(spec, 80).tunnel is None
    found = of(spec, 80, "v1").tunnel
    assert found is not None
    assert (found.host, found.port, found.post) == ("far", 443, False)


def test_rules_of_one_host_are_merged() -> None:
    first = {"subsets": [{"name": "v1", "labels": {"version": "v1"}}]}
    second = {
        "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}},
        "subsets": [{"name": "v1", "labels": {"version": "other"}}, {"name": "v2"}],
    }
    third = {"trafficPolicy": {"loadBalancer": {"simple": "ROUND_ROBIN"}}}
    found = rule(first, second, third)
    assert [subset.name for subset in found.subsets] == ["v1", "v2"]
    assert found.subsets[0].labels == {"version": "v1"}
    assert policy(found, None, 80).balancer.kind == "random"


def test_a_rule_seen_by_more_also_adds_to_the_one_seen_by_fewer() -> None:
    near = {"exportTo": ["."], "subsets": [{"name": "v1"}]}
    far = {"exportTo": [".", "elsewhere"], "subsets": [{"name": "v2"}]}
    assert [subset.name for subset in rule(near, far).subsets] == ["v1", "v2"]
    assert [subset.name for subset in rule(near, far, caller=Caller("elsewhere")).subsets] == ["v2"]
    assert [subset.name for subset in rule(far, near).subsets] == ["v2"]


def test_a_rule_for_some_callers_is_theirs_alone() -> None:
    chosen = {"workloadSelector": {"matchLabels": {"app": "a"}}, "subsets": [{"name": "v1"}]}
    general = {"subsets": [{"name": "v2"}]}
    theirs = Caller("shop", frozenset({(("app", "a"),)}))
    assert [subset.name for subset in rule(general, chosen, caller=theirs).subsets] == ["v1"]
    assert [subset.name for subset in rule(general, chosen).subsets] == ["v2"]
