"""Hosts and subsets that nobody has."""

from __future__ import annotations

import pytest

from meshlite.model.dangling import dangling, subsets_of
from meshlite.model.names import fqdn
from meshlite.model.networking import DestinationRule
from meshlite.model.validate import parse
from tests.model.resources import document

HOSTS = {
    fqdn(name, namespace)
    for name, namespace in (("reviews", "shop"), ("ratings", "shop"), ("billing", "back"))
}
RULE = document("DestinationRule", "host: reviews\nsubsets: [{name: v1}, {name: v2}]")
SUBSETS = subsets_of([(RULE.resource.namespace, parse(RULE.resource, DestinationRule))], HOSTS)


def faults(kind: str, spec: str) -> dict[str, str]:
    return {found.field: found.reason for found in dangling(document(kind, spec), HOSTS, SUBSETS)}


def route(host: str, subset: str = "") -> str:
    return f"hosts: [reviews]\nhttp: [{{route: [{{destination: {{host: {host}, subset: '{subset}'}}}}]}}]"


@pytest.mark.parametrize(
    "host",
    [
        "reviews",
        "reviews.shop",
        "reviews.shop.svc",
        "reviews.shop.mesh",
        "billing.back",
        "Reviews.shop.svc.cluster.local",
    ],
)
def test_every_name_of_a_service_is_known(host: str) -> None:
    assert faults("VirtualService", route(host)) == {}


@pytest.mark.parametrize(
    ("host", "word"),
    [
        ("revews", "no service revews.shop in the mesh (did you mean reviews.shop?)"),
        ("billing", "no service billing.shop in the mesh (did you mean billing.back?)"),
        ("reviews.shpo", "nothing declares the host reviews.shpo"),
        ("api.example.com", "nothing declares the host api.example.com"),
        ("nothing-like-it", "no service nothing-like-it.shop in the mesh"),
    ],
)
def test_an_unknown_destination(host: str, word: str) -> None:
    assert word in faults("VirtualService", route(host))["spec.http[0].route[0].destination.host"]


def test_it_is_said_where() -> None:
    [found] = dangling(document("VirtualService", route("x").replace("http: ", "http:\n  ")), HOSTS, SUBSETS)
    assert found.where == "it.yaml:7"


def test_mirrors_and_tcp_routes_are_looked_at() -> None:
    text = """
    hosts: [reviews]
    http:
    - mirror: {host: x}
      mirrors: [{destination: {host: w}}]
      route: [{destination: {host: reviews}}]
    tcp: [{route: [{destination: {host: z}}]}]
    """
    assert set(faults("VirtualService", text)) == {
        "spec.http[0].mirror.host",
        "spec.http[0].mirrors[0].destination.host",
        "spec.tcp[0].route[0].destination.host",
    }


def test_subsets() -> None:
    assert faults("VirtualService", route("reviews.shop", "v2")) == {}
    unknown = faults("VirtualService", route("reviews", "v3"))["spec.http[0].route[0].destination.subset"]
    assert unknown == "no subset v3 of reviews.shop; known: v1, v2"
    assert "apply its DestinationRule first" in next(
        iter(faults("VirtualService", route("ratings", "v1")).values())
    )


@pytest.mark.parametrize(
    "host", ["reviews", "reviews.shop", "'*.shop.svc.cluster.local'", "example.com", "10.0.0.1"]
)
def test_a_resource_may_be_about_outside_names(host: str) -> None:
    text = f"hosts: [{host}]\nhttp: [{{route: [{{destination: {{host: reviews}}}}]}}]"
    assert faults("VirtualService", text) == {}
    if host != "10.0.0.1":
        assert faults("DestinationRule", f"host: {host}") == {}


def test_a_resource_about_a_service_that_is_not_there() -> None:
    assert "did you mean reviews.shop" in faults("DestinationRule", "host: review")["spec.host"]
    text = "hosts: [review]\nhttp: [{route: [{destination: {host: reviews}}]}]"
    assert "did you mean reviews.shop" in faults("VirtualService", text)["spec.hosts[0]"]


def test_other_kinds_refer_to_nothing() -> None:
    assert faults("PeerAuthentication", "mtls: {mode: STRICT}") == {}
