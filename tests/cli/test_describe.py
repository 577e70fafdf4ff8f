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


DECLARED = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.example.com]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: STATIC
  endpoints: [{address: 192.0.2.1}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wide, namespace: shop}
spec: {hosts: ['*.example.org'], ports: [{number: 443, name: tls, protocol: TLS}], resolution: NONE}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: old, namespace: shop, labels: {app: ratings}}
spec: {address: 192.0.2.9}
"""


def test_declared_hosts_stand_beside_services_and_say_where_they_come_from(mesh: Mesh) -> None:
    applied = mesh.cli("apply", "-f", "-", stdin=DECLARED)
    assert applied.exit_code == 0, applied.stderr
    listed = [line.split() for line in mesh.cli("get", "services").stdout.splitlines()[1:]]
    rows = {row[1]: row for row in listed}
    assert rows["api.example.com"][3:] == ["443/tls", "1/1", "-", "ServiceEntry", "shop/api"]
    assert rows["api.example.com"][2].startswith("240.240.")
    assert rows["*.example.org"][2:] == ["-", "443/tls", "as", "dialled", "-", "ServiceEntry", "shop/wide"]
    assert rows["ratings"][4] == "2/2"
    text = mesh.cli("describe", "api.example.com").stdout
    for words in (
        "from   ServiceEntry shop/api, MESH_EXTERNAL",
        "STATIC: its endpoints are written",
        "written: 192.0.2.1",
    ):
        assert words in text
    assert "mTLS" not in text
    assert "declares it" in text
    text = mesh.cli("describe", "ratings").stdout
    assert "written: 192.0.2.9" in text
    assert "is one of its endpoints" in text
