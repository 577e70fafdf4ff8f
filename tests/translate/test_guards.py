"""What stands before workloads, decided: which policies are whose, and where each is judged."""

from __future__ import annotations

from typing import Any

import pytest

from meshlite.model.mesh import Resource, Service, Snapshot
from meshlite.model.workload import Port, Workload
from meshlite.translate.node import Attachment, NodeView
from meshlite.translate.plan.condition import Principal, any_of
from meshlite.translate.plan.trust import Trust
from meshlite.translate.translate import translate
from tests.translate import cases
from tests.translate.envoy import parts

CLUSTER = "outbound|8080||web.shop.svc.cluster.local"


def workload(name: str, **more: Any) -> Workload:
    given: dict[str, Any] = {
        "id": name,
        "node": "here",
        "name": name,
        "service": "web",
        "namespace": "shop",
        "ports": (Port(number=8080, protocol="http", origin="label"),),
        "addresses": ("172.18.0.2",),
    }
    return Workload.model_validate(given | more)


def policy(name: str = "p", namespace: str = "shop", **spec: Any) -> Resource:
    return Resource(
        api_version="security.istio.io/v1",
        kind="AuthorizationPolicy",
        name=name,
        namespace=namespace,
        spec=spec or {"rules": [{}]},
    )


def made(*resources: Resource, workloads: tuple[Workload, ...] = (workload("web-1"),)) -> dict[str, Any]:
    """What Envoy is told where these run, all of them captured."""
    service = Service(name="web", namespace="shop", address="240.240.0.7", ports=workload("x").ports)
    snapshot = Snapshot(services=(service,), workloads=workloads, resources=resources)
    attachments = tuple(
        Attachment(one.id, f"/run/{one.id}", f"169.254.0.{place + 1}", one.id, (one.id,))
        for place, one in enumerate(workloads)
    )
    return cases.shown(translate(snapshot, NodeView("here", attachments)))


def filters(shown: dict[str, Any], cluster: str = CLUSTER) -> list[str]:
    options = shown["clusters"][cluster].get("typed_extension_protocol_options", {})
    return [one["name"] for option in options.values() for one in option.get("http_filters", [])]


def chained(shown: dict[str, Any]) -> bool:
    return any("server_listener_name" in part for part in parts(shown["endpoints"]))


def policies(shown: dict[str, Any], cluster: str = CLUSTER) -> set[str]:
    return {name for part in parts(shown["clusters"][cluster]) for name in part.get("policies", ())}


@pytest.mark.parametrize(
    ("resource", "holds"),
    [
        (policy(), True),
        (policy(namespace="meshlite-system"), True),
        (policy(namespace="other"), False),
        (policy(rules=[{}], selector={"matchLabels": {"app": "web"}}), True),
        (policy(rules=[{}], selector={"matchLabels": {"app": "db"}}), False),
        (policy(rules=[{}], selector={"matchLabels": {"version": "v9"}}), False),
        (policy(rules=[{}], targetRefs=[{"kind": "Service", "name": "web", "group": ""}]), True),
        (policy(rules=[{}], targetRefs=[{"kind": "Service", "name": "db", "group": ""}]), False),
    ],
)
def test_whose_a_policy_is(resource: Resource, holds: bool) -> None:
    shown = made(resource)
    assert bool(policies(shown)) == holds
    assert not chained(shown)


def test_what_the_callers_side_cannot_do_is_behind_an_inbound_chain() -> None:
    jwt = Resource(
        api_version="security.istio.io/v1",
        kind="RequestAuthentication",
        name="jwt",
        namespace="shop",
        spec={"jwtRules": [{"issuer": "me", "jwksUri": "https://me/keys"}]},
    )
    for one in (
        jwt,
        policy(action="AUDIT", rules=[{}]),
        policy(action="CUSTOM", provider={"name": "x"}, rules=[{}]),
    ):
        shown = made(one)
        assert chained(shown)
        assert filters(shown) == []


def test_replicas_that_are_guarded_differently_judge_for_themselves() -> None:
    first, second = workload("web-1", version="v1"), workload("web-2", version="v2")
    only = policy(rules=[{}], selector={"matchLabels": {"version": "v2"}})
    shown = made(only, workloads=(first, second))
    assert chained(shown)
    assert filters(shown) == []
    assert not chained(made(only, workloads=(second,)))


def test_a_service_without_replicas_lets_nobody_in_before_its_policies_are_known() -> None:
    by_version = policy(rules=[{}], selector={"matchLabels": {"version": "v2"}})
    assert policies(made(by_version, workloads=())) == {"no-replica"}
    assert policies(made(policy(), workloads=())) == {"ns[shop]-policy[p]-rule[0]"}
    assert filters(made(workloads=())) == []


def test_ports_are_settled_before_the_call() -> None:
    rule = {"to": [{"operation": {"ports": ["8080"]}}]}
    other = {"to": [{"operation": {"ports": ["9090"]}}]}
    shown = made(policy(rules=[rule, other]))
    assert policies(shown) == {"ns[shop]-policy[p]-rule[0]"}
    assert not any("destination_port" in part for part in parts(shown["clusters"][CLUSTER]))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("*", ["present "]),
        ("old/ns/a/sa/b", ["exact spiffe://new/ns/a/sa/b", "exact spiffe://old/ns/a/sa/b"]),
        ("cluster.local/ns/a/sa/b", ["exact spiffe://new/ns/a/sa/b", "exact spiffe://old/ns/a/sa/b"]),
        ("foreign/ns/a/sa/b", ["exact spiffe://foreign/ns/a/sa/b"]),
        ("*/ns/a/sa/b", ["regex spiffe://.*/ns/a/sa/b"]),
        ("new/ns/a/*", ["prefix spiffe://new/ns/a/"]),
    ],
)
def test_trust_domains_that_mean_the_same(written: str, meant: list[str]) -> None:
    found = any_of(Trust("new", ("old",)).principal(written))
    tests = getattr(found, "parts", (found,))
    texts = [f"{one.text.kind} {one.text.value}" for one in tests if isinstance(one, Principal)]
    assert texts == meant


def test_a_provider_that_nobody_declared_is_told_of() -> None:
    shown = made(policy(action="CUSTOM", provider={"name": "x"}, rules=[{}]))
    assert shown["problems"] == [
        "AuthorizationPolicy/shop/p: extension_providers in meshlite.yaml has no x: what it is for is denied"
    ]
