"""Gateway API in a running server: what people write stays theirs, agents get Istio's, and that follows."""

from __future__ import annotations

from typing import Any

import pytest

from meshlite.model.documents import read
from meshlite.model.made import made_from
from meshlite.model.wire import ApplyRequest, Projects
from meshlite.server.call import Parts
from tests.server.conftest import report, workload

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules:
  - backendRefs: [{name: ratings, port: 9080}]
"""
KEY = "HTTPRoute/shop/reviews"


async def apply(parts: Parts, text: str, **more: bool) -> tuple[tuple[str, tuple[str, ...]], ...]:
    documents = read(text, "f.yaml", "shop").documents
    answer = await parts.resources.apply(ApplyRequest(documents=documents, **more), "me", guarded=False)
    assert answer.rejected == ()
    return tuple((one.action, one.warnings) for one in answer.applied)


async def runs(parts: Parts, *services: str) -> None:
    await parts.registry.set_projects("web-1", Projects())
    await parts.registry.report("web-1", report(*(workload(name) for name in services)))


def published(parts: Parts) -> dict[str, dict[str, Any]]:
    return {one.key: one.spec for one in parts.registry.snapshots.value.resources}


def conditions(parts: Parts, key: str = KEY) -> dict[str, tuple[str, str]]:
    [parent] = parts.resources.get(key).status["parents"]  # type: ignore[misc,attr-defined]
    return {row["type"]: (row["status"], row["reason"]) for row in parent["conditions"]}


async def test_agents_get_istios_resources_and_people_get_their_own_back(parts: Parts) -> None:
    await runs(parts, "reviews", "ratings")
    assert await apply(parts, ROUTE) == (("created", ()),)
    [resource] = parts.registry.snapshots.value.resources
    assert resource.kind == "VirtualService"
    assert made_from(resource.annotations) == (KEY,)
    [stored] = parts.resources.select("HTTPRoute")
    assert stored.spec["rules"] == [{"backendRefs": [{"name": "ratings", "port": 9080}]}]
    assert conditions(parts) == {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}
    assert stored.status == parts.resources.get(KEY).status


BY_HAND = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: mine}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}
"""


async def test_who_wins_over_a_route_is_said_when_it_is_applied(parts: Parts) -> None:
    """Either way around, and by the names that people gave."""
    await runs(parts, "reviews", "ratings")
    await apply(parts, BY_HAND)
    [(_, [warning])] = await apply(parts, ROUTE)
    assert "is routed by shop/mine, too; shop/mine was applied first and wins" in warning
    await parts.resources.delete("VirtualService/shop/mine", "me")
    [(_, [warning])] = await apply(parts, BY_HAND)
    assert "is routed by HTTPRoute shop/reviews, too; HTTPRoute shop/reviews was applied first" in warning
    await parts.resources.delete("VirtualService/shop/mine", "me")
    assert await apply(parts, ROUTE) == (("unchanged", ()),)


async def test_what_is_made_follows_services_that_come(parts: Parts) -> None:
    await runs(parts, "reviews")
    [(_, [warning])] = await apply(parts, ROUTE)
    assert "no service ratings in namespace shop (ResolvedRefs: BackendNotFound)" in warning
    assert conditions(parts)["ResolvedRefs"] == ("False", "BackendNotFound")
    await runs(parts, "reviews", "ratings")
    assert conditions(parts)["ResolvedRefs"] == ("True", "ResolvedRefs")


async def test_a_route_waits_for_the_service_it_is_about(parts: Parts) -> None:
    [(_, warnings)] = await apply(parts, ROUTE.replace("name: ratings", "name: reviews"))
    assert any("NoMatchingParent" in warning for warning in warnings)
    assert published(parts) == {}
    await runs(parts, "reviews")
    [spec] = published(parts).values()
    assert spec["hosts"] == ["reviews.shop.svc.cluster.local"]


async def test_changes_and_deletion_reach_what_was_made_and_history_is_the_users(parts: Parts) -> None:
    await runs(parts, "reviews", "ratings")
    await apply(parts, ROUTE)
    await apply(parts, ROUTE.replace("9080", "9081"))
    [spec] = published(parts).values()
    assert spec["http"][0]["route"][0]["destination"]["port"] == {"number": 9081}
    await parts.resources.delete(KEY, "me")
    assert published(parts) == {}
    history = await parts.resources.history(KEY)
    assert [(one.action, one.resource.generation) for one in history] == [
        ("deleted", 3),
        ("configured", 2),
        ("created", 1),
    ]
    assert {one.resource.kind for one in history} == {"HTTPRoute"}
    assert all(one.resource.status == {} for one in history)


async def test_a_status_that_somebody_sends_is_not_taken(parts: Parts) -> None:
    await runs(parts, "reviews", "ratings")
    documents = read(ROUTE, "f.yaml", "shop").documents
    forged = documents[0].resource.model_copy(update={"status": {"parents": []}})
    document = documents[0].model_copy(update={"resource": forged})
    await parts.resources.apply(ApplyRequest(documents=(document,)), "me", guarded=False)
    assert conditions(parts)["Accepted"] == ("True", "Accepted")


async def test_routes_of_one_service_are_merged_and_both_shape_it(parts: Parts) -> None:
    await runs(parts, "reviews", "ratings")
    other = ROUTE.replace("name: reviews}", "name: paths}", 1).replace(
        "- backendRefs", "- matches: [{path: {value: /a}}]\n    backendRefs"
    )
    await apply(parts, f"{ROUTE}---{other}")
    [resource] = parts.registry.snapshots.value.resources
    assert made_from(resource.annotations) == (KEY, "HTTPRoute/shop/paths")
    rules = resource.spec["http"]
    assert isinstance(rules, list)
    assert [rule.get("match") for rule in rules] == [[{"uri": {"prefix": "/a"}}], None]


async def test_istios_resources_stay_as_they_are(parts: Parts) -> None:
    await runs(parts, "reviews", "ratings")
    rule = (
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
        "metadata: {name: reviews}\nspec: {host: reviews}\n"
    )
    await apply(parts, f"{ROUTE}---\n{rule}")
    assert published(parts)["DestinationRule/shop/reviews"] == {"host": "reviews"}
    assert len(published(parts)) == 2
    assert parts.resources.get("DestinationRule/shop/reviews").status == {}


@pytest.mark.parametrize("annotation", ["internal.istio.io/parents", "internal.istio.io/route-semantics"])
async def test_nobody_can_claim_that_a_resource_was_made(parts: Parts, annotation: str) -> None:
    text = f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: a, annotations: {{{annotation}: gateway}}}}
spec: {{hosts: [reviews], http: [{{route: [{{destination: {{host: reviews}}}}]}}]}}
"""
    documents = read(text, "f.yaml", "shop").documents
    request = ApplyRequest(documents=documents, allow_missing_hosts=True)
    answer = await parts.resources.apply(request, "me", guarded=False)
    assert [one.field for one in answer.rejected] == [f'metadata.annotations["{annotation}"]']


ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [api.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
"""
OUT = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: networking.istio.io, kind: ServiceEntry, name: outside}]
  rules:
  - backendRefs: [{group: networking.istio.io, kind: Hostname, name: api.example.com, port: 80}]
"""


async def test_hosts_that_a_service_entry_declares_are_parents_and_backends(parts: Parts) -> None:
    [(_, warnings)] = await apply(parts, OUT)
    assert any("there is no ServiceEntry outside" in warning for warning in warnings)
    await apply(parts, ENTRY)
    assert conditions(parts) == {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}
    [spec] = [spec for key, spec in published(parts).items() if key.startswith("VirtualService/")]
    assert spec["hosts"] == ["api.example.com"]
    assert spec["http"][0]["route"][0]["destination"] == {"host": "api.example.com", "port": {"number": 80}}
    await parts.resources.delete("ServiceEntry/shop/outside", "me")
    assert conditions(parts)["Accepted"] == ("False", "NoMatchingParent")
    assert published(parts) == {}
