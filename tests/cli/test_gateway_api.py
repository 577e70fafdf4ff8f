"""Resources of Gateway API on the command line: the same verbs, their own names, and a status to look at."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.cli.conftest import Mesh

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules: [{backendRefs: [{name: ratings, port: 9080}]}]
"""
CLASS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: mine}
spec: {controllerName: istio.io/gateway-controller}
"""


def test_apply_get_and_delete(mesh: Mesh) -> None:
    done = mesh.cli("apply", "-f", "-", stdin=ROUTE)
    assert (done.exit_code, done.stdout) == (0, "HTTPRoute/shop/reviews created\n")
    table = mesh.cli("get", "httproutes").stdout
    assert "all hosts of Service reviews" in table
    assert mesh.cli("delete", "httproute", "reviews").stdout == "HTTPRoute/shop/reviews deleted\n"
    assert json.loads(mesh.cli("get", "all", "-o", "json").stdout) == []


def test_what_get_prints_has_a_status_and_can_be_applied_again(mesh: Mesh) -> None:
    mesh.cli("apply", "-f", "-", stdin=ROUTE)
    shown = mesh.cli("get", "httproutes", "reviews", "-o", "yaml").stdout
    document = yaml.safe_load(shown)
    assert document["kind"] == "HTTPRoute"
    [parent] = document["status"]["parents"]
    assert parent["parentRef"] == {"group": "", "kind": "Service", "name": "reviews"}
    assert [(row["type"], row["status"]) for row in parent["conditions"]] == [
        ("Accepted", "True"),
        ("ResolvedRefs", "True"),
    ]
    assert mesh.cli("apply", "-f", "-", stdin=shown).stdout == "HTTPRoute/shop/reviews unchanged\n"


def test_apply_says_what_its_status_says_against_a_route(mesh: Mesh) -> None:
    done = mesh.cli("apply", "-f", "-", stdin=ROUTE.replace("name: ratings", "name: rating"))
    assert done.exit_code == 0
    assert "there is no service rating in namespace shop (ResolvedRefs: BackendNotFound)" in done.stderr
    assert "(BackendNotFound)" in mesh.cli("get", "httproutes").stdout


def test_what_shapes_a_service_is_the_route_that_somebody_wrote(mesh: Mesh) -> None:
    mesh.cli("apply", "-f", "-", stdin=ROUTE)
    service = json.loads(mesh.cli("describe", "reviews", "-o", "json").stdout)
    assert service["resources"] == ["HTTPRoute/shop/reviews"]


def test_classes_are_in_no_namespace(mesh: Mesh) -> None:
    mesh.cli("apply", "-n", "shop", "-f", "-", stdin=CLASS)
    mesh.cli("apply", "-n", "other", "-f", "-", stdin=CLASS)
    [found] = json.loads(mesh.cli("get", "gc", "-o", "json").stdout)
    assert found["status"]["conditions"][0]["reason"] == "Accepted"
    assert mesh.cli("delete", "gatewayclass", "mine").exit_code == 0
    assert json.loads(mesh.cli("get", "gc", "-o", "json").stdout) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("port: 9080", "port: '9080'", "-:7: HTTPRoute/default/reviews: spec.rules[0].backendRefs[0].port"),
        ("parentRefs", "parentRef", "did you mean parentRefs"),
        ("kind: HTTPRoute", "kind: HTTPRout", "did you mean HTTPRoute"),
        ("k8s.io/v1", "k8s.io/v1alpha1", "write apiVersion: gateway.networking.k8s.io/v1"),
        ("kind: HTTPRoute", "kind: UDPRoute", "UDPRoute is not supported"),
    ],
)
def test_validate_says_where_and_what(mesh: Mesh, old: str, new: str, said: str) -> None:
    done = mesh.cli("validate", "-f", "-", stdin=ROUTE.replace(old, new))
    assert done.exit_code == 1
    assert said in done.stderr
