"""Shorthands against a real server: they write ordinary resources, print them, and take them back."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Mesh

BY_HAND = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: mine, namespace: shop}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}
"""

OF_GATEWAY_API = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: theirs, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules: [{backendRefs: [{name: reviews, port: 9080}]}]
"""
DECLARED = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 192.0.2.1, labels: {version: v1}}, {address: 192.0.2.2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wide, namespace: shop}
spec: {hosts: ['*.example.org'], ports: [{number: 443, name: tls, protocol: TLS}], resolution: NONE}
"""


def stored(mesh: Mesh) -> dict[str, Any]:
    rows = mesh.server.get("/v1/resources")["resources"]
    return {f"{row['kind']}/{row['name']}": row["spec"] for row in rows}


def rules(mesh: Mesh) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stored(mesh)["VirtualService/reviews"]["http"]
    return found


def test_a_split_and_its_way_back(mesh: Mesh) -> None:
    done = mesh.cli("route", "reviews", "--to", "v1=90", "--to", "v2=10")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "DestinationRule/shop/reviews created\nVirtualService/shop/reviews created\n"
    assert [part["weight"] for part in rules(mesh)[0]["route"]] == [90, 10]
    done = mesh.cli("route", "reviews.shop", "--header", "user=jason", "--to", "v3", "-o", "json")
    value = json.loads(done.stdout)
    assert [one["action"] for one in value["applied"]] == ["configured", "configured"]
    assert value["deleted"] == []
    assert value["resources"][1]["spec"]["http"][0]["match"] == [{"headers": {"user": {"exact": "jason"}}}]
    done = mesh.cli("route", "reviews", "--undo")
    assert done.stdout == "VirtualService/shop/reviews deleted\nDestinationRule/shop/reviews deleted\n"
    assert stored(mesh) == {}
    assert mesh.cli("route", "reviews", "--clear").stdout == "nothing to change\n"


def test_a_dry_run_prints_what_apply_takes(mesh: Mesh) -> None:
    done = mesh.cli("route", "reviews", "--to", "v1", "--dry-run", "-o", "yaml")
    assert stored(mesh) == {}
    documents = list(yaml.safe_load_all(done.stdout))
    assert [one["kind"] for one in documents] == ["DestinationRule", "VirtualService"]
    applied = mesh.cli("apply", "-f", "-", stdin=done.stdout)
    assert applied.exit_code == 0, applied.stderr
    assert set(stored(mesh)) == {"DestinationRule/reviews", "VirtualService/reviews"}


def test_each_shorthand_sets_its_part_and_keeps_the_others(mesh: Mesh) -> None:
    for words in (
        ("timeout", "reviews", "2s"),
        ("retry", "reviews", "3", "--per-try-timeout", "500ms", "--on", "5xx,reset"),
        ("fault", "reviews", "--delay", "1s", "--percent", "10"),
        ("fault", "reviews", "--abort", "503", "--percent", "0.5"),
        ("mirror", "reviews", "--to", "v3", "--percent", "20"),
    ):
        done = mesh.cli(*words)
        assert done.exit_code == 0, done.stderr
    [rule] = rules(mesh)
    assert rule == {
        "route": [{"destination": {"host": "reviews"}}],
        "timeout": "2s",
        "retries": {"attempts": 3, "perTryTimeout": "500ms", "retryOn": "5xx,reset"},
        "fault": {
            "delay": {"fixedDelay": "1s", "percentage": {"value": 10.0}},
            "abort": {"httpStatus": 503, "percentage": {"value": 0.5}},
        },
        "mirrors": [{"destination": {"host": "reviews", "subset": "v3"}, "percentage": {"value": 20.0}}],
    }
    for verb in ("timeout", "retry", "fault", "mirror"):
        assert mesh.cli(verb, "reviews", "--clear").exit_code == 0
    assert stored(mesh) == {}


def test_rules_by_hand_are_refused_with_what_to_do(mesh: Mesh) -> None:
    mesh.cli("apply", "-f", "-", stdin=BY_HAND)
    done = mesh.cli("timeout", "reviews", "2s")
    assert done.exit_code == 1
    assert "VirtualService shop/mine already routes reviews" in done.stderr
    assert "meshlite delete VirtualService mine -n shop" in done.stderr
    assert set(stored(mesh)) == {"VirtualService/mine"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("route", "reviews"), 2, "--to VERSION=PERCENT"),
        (("route", "reviews", "--to", "v1=90", "--to", "v2=20"), 2, "sum to 110"),
        (("route", "reviews", "--to", "v1=90", "--to", "v1=10"), 2, "each version once"),
        (("route", "reviews", "--to", "v1=x"), 2, "percent"),
        (("route", "reviews", "--to", "v1", "--to", "v2"), 2, "write VERSION=PERCENT"),
        (("route", "reviews", "--to", "v9"), 1, "its versions are v1, v2, v3"),
        (("route", "nobody", "--to", "v1"), 1, "there is no service nobody"),
        (("route", "reviews", "--to", "v1", "--clear"), 2, "leave out"),
        (("route", "reviews", "--to", "v1", "--header", "jason"), 2, "NAME=VALUE"),
        (("timeout", "reviews", "5"), 1, "is not a duration"),
        (("fault", "reviews"), 2, "--delay DURATION or --abort STATUS"),
        (("fault", "reviews", "--abort", "99"), 1, "HTTP status"),
        (("mirror", "reviews", "--to", "v9"), 1, "no version v9"),
        (("retry", "reviews", "1", "--on", "5x"), 1, "did you mean 5xx"),
    ],
)
def test_mistakes_are_told(mesh: Mesh, words: tuple[str, ...], code: int, said: str) -> None:
    done = mesh.cli(*words)
    assert done.exit_code == code
    assert said in done.stderr
    assert stored(mesh) == {}


def test_a_route_of_gateway_api_is_told_of_and_stays(mesh: Mesh) -> None:
    applied = mesh.cli("apply", "-f", "-", stdin=OF_GATEWAY_API)
    assert applied.exit_code == 0, applied.stderr
    for words in (("route", "reviews", "--to", "v1"), ("fault", "reviews", "--abort", "503")):
        done = mesh.cli(*words)
        assert done.exit_code == 1
        assert "HTTPRoute shop/theirs already routes reviews" in done.stderr
        assert "meshlite delete HTTPRoute theirs -n shop" in done.stderr
    assert set(stored(mesh)) == {"HTTPRoute/theirs"}


def test_a_declared_host_is_shaped_like_a_service(mesh: Mesh) -> None:
    mesh.cli("apply", "-f", "-", stdin=DECLARED)
    done = mesh.cli("timeout", "api.example.com", "2s")
    assert done.exit_code == 0, done.stderr
    assert stored(mesh)["VirtualService/api.example.com"]["hosts"] == ["api.example.com"]
    assert mesh.cli("route", "api.example.com", "--to", "v2").exit_code == 0
    assert stored(mesh)["DestinationRule/api.example.com"]["subsets"] == [
        {"name": "v2", "labels": {"version": "v2"}}
    ]
    done = mesh.cli("timeout", "*.example.org", "2s")
    assert done.exit_code == 1
    assert "write a VirtualService" in done.stderr
