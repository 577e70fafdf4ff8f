"""`meshlite describe`: what shapes a service, in order, and who contradicts whom."""

from __future__ import annotations

import json

from meshlite.cli.tour.rules import FOLDER
from tests.cli.conftest import Mesh

SECOND = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: second, namespace: shop}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}
"""


def test_what_shapes_a_service_and_what_contradicts(mesh: Mesh) -> None:
    mesh.cli("apply", "-f", str(FOLDER / "subsets.yaml"), "-f", str(FOLDER / "canary.yaml"))
    mesh.cli("apply", "-f", "-", stdin=SECOND)
    text = mesh.cli("describe", "reviews").stdout
    shaped = text[text.index("Shaped by") :].splitlines()[2:5]
    assert [line.split()[0] for line in shaped] == ["VirtualService", "VirtualService", "DestinationRule"]
    assert "routes its requests" in shaped[0]
    assert "says how it is called" in shaped[2]
    assert "conflict [IST0109]: VirtualService/shop/second:" in text
    assert "the container's label meshlite.ports" in text
    value = json.loads(mesh.cli("describe", "reviews.shop", "-o", "json").stdout)
    assert [shape["resource"].split("/")[0] for shape in value["shaped_by"]] == [
        "VirtualService",
        "VirtualService",
        "DestinationRule",
    ]
    assert {one["code"] for one in value["conflicts"]} == {"IST0109"}


def test_a_service_that_nothing_shapes(mesh: Mesh) -> None:
    text = mesh.cli("describe", "ratings").stdout
    assert "Shaped by" not in text
    assert "conflict" not in text
