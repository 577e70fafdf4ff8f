"""What shorthands make of a service's rules: which resources are written, and which are left alone."""

from __future__ import annotations

from typing import Any

import pytest

from meshlite.model.mesh import Resource
from meshlite.model.shorthand import (
    OWNED,
    Change,
    Edit,
    NotOurs,
    Requests,
    Target,
    change,
    merged,
    put,
    split,
    subset_name,
    unrouted,
    without,
)
from meshlite.model.validate import validate
from meshlite.model.wire import Document

REVIEWS = Target("reviews", "shop")
KNOWN = ("reviews.shop.svc.cluster.local",)
VERSIONS = ("v1", "v2", "v3")
JASON = Requests((("user", "jason"),))
EVERY = Requests()


class Book:
    """Resources as a mesh keeps them, changed by one shorthand after another."""

    def __init__(self, *resources: Resource) -> None:
        self.resources = {resource.key: resource for resource in resources}

    def do(self, edit: Edit, requests: Requests = EVERY, forget: bool = False) -> Change:
        made = change(REVIEWS, tuple(self.resources.values()), KNOWN, VERSIONS, requests, edit, forget)
        for resource in made.apply:
            assert validate(Document(resource=resource)) == ((), ())
            self.resources[resource.key] = resource
        for key in made.delete:
            del self.resources[key]
        return made

    @property
    def rules(self) -> list[dict[str, Any]]:
        rules: Any = self.resources["VirtualService/shop/reviews"].spec["http"]
        return list(rules)

    @property
    def subsets(self) -> list[str]:
        subsets: Any = self.resources["DestinationRule/shop/reviews"].spec["subsets"]
        return [subset["name"] for subset in subsets]


def by_hand(kind: str, name: str, spec: dict[str, object], namespace: str = "shop") -> Resource:
    return Resource(
        api_version="networking.istio.io/v1", kind=kind, name=name, namespace=namespace, spec=spec
    )


def test_a_split_makes_a_rule_and_its_subsets() -> None:
    book = Book()
    made = book.do(split(REVIEWS, {"v1": 90, "v2": 10}))
    assert [resource.key for resource in made.apply] == [
        "DestinationRule/shop/reviews",
        "VirtualService/shop/reviews",
    ]
    assert all(resource.annotations == {OWNED: "true"} for resource in made.apply)
    assert book.rules == [
        {
            "route": [
                {"destination": {"host": "reviews", "subset": "v1"}, "weight": 90},
                {"destination": {"host": "reviews", "subset": "v2"}, "weight": 10},
            ]
        }
    ]
    assert book.subsets == ["v1", "v2"]


def test_some_requests_get_a_rule_of_their_own_before_the_rest() -> None:
    book = Book()
    book.do(split(REVIEWS, {"v1": 100}))
    book.do(split(REVIEWS, {"v2": 100}), JASON)
    book.do(split(REVIEWS, {"v3": 100}), Requests((("beta", "1"), ("user", "jason")), "/new"))
    matches = [rule.get("match") for rule in book.rules]
    assert matches == [
        [{"headers": {"beta": {"exact": "1"}, "user": {"exact": "jason"}}, "uri": {"prefix": "/new"}}],
        [{"headers": {"user": {"exact": "jason"}}}],
        None,
    ]
    assert book.subsets == ["v1", "v2", "v3"]


def test_what_holds_for_all_is_set_in_every_rule_and_kept_by_new_ones() -> None:
    book = Book()
    book.do(split(REVIEWS, {"v2": 100}), JASON)
    book.do(put("timeout", "2s"))
    book.do(put("retries", {"attempts": 1}), JASON)
    book.do(split(REVIEWS, {"v3": 100}), Requests(path="/x"))
    assert [(rule.get("timeout"), rule.get("retries")) for rule in book.rules] == [
        ("2s", {"attempts": 1}),
        ("2s", None),
        ("2s", None),
    ]


def test_parts_are_taken_back_until_nothing_is_left() -> None:
    book = Book()
    book.do(split(REVIEWS, {"v1": 50, "v2": 50}))
    book.do(split(REVIEWS, {"v2": 100}), JASON)
    book.do(merged("fault", {"delay": {"fixedDelay": "1s", "percentage": {"value": 10.0}}}))
    book.do(merged("fault", {"abort": {"httpStatus": 503, "percentage": {"value": 10.0}}}))
    assert set(book.rules[-1]["fault"]) == {"delay", "abort"}
    book.do(unrouted(REVIEWS), JASON, forget=True)
    assert len(book.rules) == 1
    book.do(unrouted(REVIEWS), forget=True)
    assert book.rules[0]["route"] == [{"destination": {"host": "reviews"}}]
    assert list(book.resources) == ["VirtualService/shop/reviews"]
    book.do(without("fault"))
    assert book.resources == {}
    assert book.do(without("fault")) == Change((), ())


def test_a_rule_that_says_no_more_than_the_usual_one_goes() -> None:
    book = Book()
    book.do(put("timeout", "2s"), JASON)
    assert len(book.rules) == 2
    book.do(put("timeout", "2s"))
    assert [rule.get("match") for rule in book.rules] == [None]


def test_subsets_that_are_defined_by_hand_are_used_and_the_rest_is_added() -> None:
    hand = by_hand("DestinationRule", "reviews", {"host": "reviews.shop", "subsets": [{"name": "v1"}]})
    book = Book(hand)
    book.do(split(REVIEWS, {"v1": 100}))
    assert set(book.resources) == {"DestinationRule/shop/reviews", "VirtualService/shop/reviews"}
    book.do(split(REVIEWS, {"v1": 50, "v2": 50}))
    added: Any = book.resources["DestinationRule/shop/reviews-versions"].spec["subsets"]
    assert added == [{"name": "v2", "labels": {"version": "v2"}}]
    book.do(unrouted(REVIEWS), forget=True)
    assert list(book.resources.values()) == [hand]


@pytest.mark.parametrize(
    "resource",
    [
        by_hand("VirtualService", "reviews", {"hosts": ["other"]}),
        by_hand("VirtualService", "mine", {"hosts": ["reviews"]}),
        by_hand("VirtualService", "mine", {"hosts": ["reviews.shop"], "gateways": ["g", "mesh"]}, "other"),
    ],
)
def test_what_somebody_wrote_by_hand_is_not_touched(resource: Resource) -> None:
    with pytest.raises(NotOurs) as refused:
        Book(resource).do(put("timeout", "2s"))
    assert refused.value.key == resource.key


def test_rules_of_a_gateway_are_no_hindrance() -> None:
    gateway = by_hand("VirtualService", "edge", {"hosts": ["reviews"], "gateways": ["g"]})
    assert Book(gateway).do(put("timeout", "2s")).apply


def test_a_version_becomes_the_name_of_a_subset() -> None:
    assert subset_name("1.2.3") == "1-2-3"
    made = change(REVIEWS, (), KNOWN, ("1.2",), EVERY, split(REVIEWS, {"1.2": 100}))
    assert made.apply[0].spec["subsets"] == [{"name": "1-2", "labels": {"version": "1.2"}}]


def of_gateway_api(kind: str, *parents: dict[str, str], namespace: str = "shop") -> Resource:
    return Resource(
        api_version="gateway.networking.k8s.io/v1",
        kind=kind,
        name="theirs",
        namespace=namespace,
        spec={"parentRefs": list(parents)},
    )


@pytest.mark.parametrize(
    ("route", "holds"),
    [
        (of_gateway_api("HTTPRoute", {"group": "", "kind": "Service", "name": "reviews"}), True),
        (of_gateway_api("GRPCRoute", {"name": "edge"}, {"kind": "Service", "name": "reviews"}), True),
        (
            of_gateway_api(
                "HTTPRoute", {"kind": "Service", "name": "reviews", "namespace": "shop"}, namespace="other"
            ),
            True,
        ),
        (of_gateway_api("HTTPRoute", {"kind": "Service", "name": "reviews"}, namespace="other"), False),
        (of_gateway_api("HTTPRoute", {"kind": "Service", "name": "ratings"}), False),
        (of_gateway_api("HTTPRoute", {"name": "reviews"}), False),
        (of_gateway_api("TCPRoute", {"kind": "Service", "name": "reviews"}), False),
    ],
)
def test_a_route_of_gateway_api_for_the_service_is_told_of(route: Resource, holds: bool) -> None:
    book = Book(route)
    if holds:
        with pytest.raises(NotOurs) as refused:
            book.do(put("timeout", "2s"))
        assert refused.value.key == route.key
    else:
        assert book.do(put("timeout", "2s")).apply


def test_what_was_written_can_be_taken_back_also_beside_what_came_later() -> None:
    book = Book()
    book.do(put("timeout", "2s"))
    later = of_gateway_api("HTTPRoute", {"kind": "Service", "name": "reviews"})
    book.resources[later.key] = later
    with pytest.raises(NotOurs):
        book.do(put("timeout", "3s"))
    made = change(
        REVIEWS, tuple(book.resources.values()), KNOWN, VERSIONS, EVERY, without("timeout"), clear=True
    )
    assert made == Change((), ("VirtualService/shop/reviews",))


def test_a_declared_host_is_shaped_under_its_own_name() -> None:
    host = Target("api.example.com", "shop", ("ServiceEntry/shop/api",))
    made = change(host, (), ("api.example.com",), (), EVERY, put("timeout", "2s"))
    assert [(one.key, one.spec["hosts"]) for one in made.apply] == [
        ("VirtualService/shop/api.example.com", ["api.example.com"])
    ]
    [written] = made.apply
    assert validate(Document(resource=written)) == ((), ())
    egress = by_hand("VirtualService", "api-egress", {"hosts": ["api.example.com"]}, "meshlite-system")
    theirs = egress.model_copy(update={"annotations": {OWNED: "true"}})
    route = of_gateway_api("HTTPRoute", {"kind": "ServiceEntry", "name": "api"})
    for other in (theirs, route):
        with pytest.raises(NotOurs) as refused:
            change(host, (other,), ("api.example.com",), (), EVERY, put("timeout", "2s"))
        assert refused.value.key == other.key
