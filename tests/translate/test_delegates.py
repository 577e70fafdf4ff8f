"""Which of a delegate's routes lie within the rule that delegates, and what they take from it."""

from __future__ import annotations

from typing import Any

import pytest

from meshlite.model.mesh import Resource
from meshlite.model.networking import VirtualService
from meshlite.translate.plan.delegate import delegated
from meshlite.translate.plan.resources import Applied


def applied(name: str, spec: dict[str, Any], namespace: str = "shop") -> Applied[VirtualService]:
    resource = Resource(
        api_version="networking.istio.io/v1", kind="VirtualService", name=name, namespace=namespace
    )
    return Applied(resource, VirtualService.model_validate(spec))


def merged(
    rule: dict[str, Any], route: dict[str, Any], **delegate: Any
) -> tuple[list[dict[str, Any]], list[str]]:
    """The routes of host web, whose one rule delegates to one route; and complaints."""
    root = applied("root", {"hosts": ["web"], "http": [{**rule, "delegate": {"name": "part"}}]})
    part = applied("part", {"http": [route], **delegate})
    [found], told = delegated((root, part), {"web.shop.svc.cluster.local"})
    made = [
        one.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_defaults=True)
        for one in found.spec.http
    ]
    return made, [reason for _, reason in told]


ROUTE = {"route": [{"destination": {"host": "web"}}]}


@pytest.mark.parametrize(
    ("outer", "inner", "together"),
    [
        ({"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/a/b"}}, {"uri": {"prefix": "/a/b"}}),
        ({"uri": {"prefix": "/a"}}, {"uri": {"exact": "/a/b"}}, {"uri": {"exact": "/a/b"}}),
        ({"uri": {"exact": "/a"}}, {"uri": {"exact": "/a"}}, {"uri": {"exact": "/a"}}),
        ({"uri": {"prefix": "/a/b"}}, {"uri": {"prefix": "/a"}}, None),
        ({"uri": {"exact": "/a"}}, {"uri": {"prefix": "/a"}}, None),
        ({"uri": {"regex": "/a"}}, {"uri": {"regex": "/a"}}, None),
        ({"uri": {"prefix": "/a"}}, {"uri": {"regex": "/a.*"}}, None),
        ({"uri": {"prefix": "/a"}}, {}, {"uri": {"prefix": "/a"}}),
        ({}, {"uri": {"regex": "/a"}}, {"uri": {"regex": "/a"}}),
        (
            {"headers": {"x": {"exact": "1"}}},
            {"headers": {"y": {"exact": "2"}}},
            {"headers": {"x": {"exact": "1"}, "y": {"exact": "2"}}},
        ),
        ({"headers": {"x": {"exact": "1"}}}, {"headers": {"x": {"exact": "2"}}}, None),
        ({"queryParams": {"q": {"exact": "1"}}}, {"queryParams": {"q": {"prefix": "1"}}}, None),
        ({"port": 80}, {"port": 81}, None),
        ({"port": 80}, {"method": {"exact": "GET"}}, {"port": 80, "method": {"exact": "GET"}}),
        ({"sourceNamespace": "a"}, {"uri": {"prefix": "/"}}, None),
        ({"sourceLabels": {"a": "1"}}, {"sourceLabels": {"a": "2"}}, None),
        (
            {"sourceLabels": {"a": "1"}},
            {"sourceLabels": {"b": "2"}},
            {"sourceLabels": {"a": "1", "b": "2"}},
        ),
        ({"gateways": ["mesh"]}, {"gateways": ["mesh", "g"]}, None),
        ({"ignoreUriCase": True, "uri": {"prefix": "/a"}}, {"uri": {"prefix": "/a"}}, None),
        ({"name": "x", "uri": {"prefix": "/a"}}, {"name": "y"}, {"name": "x-y", "uri": {"prefix": "/a"}}),
    ],
)
def test_a_match_holds_for_both_or_conflicts(
    outer: dict[str, Any], inner: dict[str, Any], together: dict[str, Any] | None
) -> None:
    made, told = merged({"match": [outer]} if outer else {}, {"match": [inner], **ROUTE})
    assert [one["match"] for one in made] == ([[together]] if together else [])
    assert bool(told) == (together is None)


def test_each_match_of_the_delegate_must_lie_within_some_match_of_the_rule() -> None:
    outer = {"match": [{"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/b"}}]}
    inner = {"match": [{"uri": {"prefix": "/b/1"}}, {"uri": {"prefix": "/a/1"}}], **ROUTE}
    made, _ = merged(outer, inner)
    assert made[0]["match"] == [{"uri": {"prefix": "/b/1"}}, {"uri": {"prefix": "/a/1"}}]
    made, told = merged(outer, {"match": [{"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/c"}}], **ROUTE})
    assert made == []
    assert told == [
        "spec.http[0] matches nothing that VirtualService/shop/root delegates in spec.http[0]; "
        "it has no effect there"
    ]


def test_what_the_delegate_says_counts_before_what_the_rule_says() -> None:
    rule = {
        "name": "r",
        "timeout": "1s",
        "retries": {"attempts": 1},
        "headers": {"request": {"remove": ["a"]}},
    }
    [made], told = merged(rule, {"name": "d", "timeout": "2s", **ROUTE})
    assert told == []
    assert made["name"] == "r-d"
    assert made["timeout"] == "2s"
    assert made["retries"] == {"attempts": 1}
    assert made["headers"] == {"request": {"remove": ["a"]}}
    assert made["route"] == [{"destination": {"host": "web.shop.svc.cluster.local"}}]


def test_a_delegate_must_be_visible_and_must_not_have_hosts() -> None:
    assert merged({}, ROUTE, exportTo=["other"])[0] == []
    assert "is not exported to shop" in merged({}, ROUTE, exportTo=["other"])[1][0]
    root = applied("root", {"hosts": ["web"], "http": [{"delegate": {"name": "other"}}]})
    other = applied("other", {"hosts": ["other"], "http": [ROUTE]})
    found, told = delegated((root, other), ())
    assert [len(one.spec.http) for one in found] == [0, 1]
    assert "is not there or has hosts" in told[0][1]
