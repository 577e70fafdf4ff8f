"""`expose` and `egress` against a real server: they write ordinary resources, and take them back."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Mesh

BY_HAND = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: reviews-exposed, namespace: shop}
spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
"""


def stored(mesh: Mesh) -> dict[str, Any]:
    rows = mesh.server.get("/v1/resources")["resources"]
    return {f"{row['kind']}/{row['namespace']}/{row['name']}": row["spec"] for row in rows}


def test_a_service_is_exposed_changed_and_hidden_again(mesh: Mesh) -> None:
    done = mesh.cli("expose", "reviews")
    assert done.exit_code == 0, done.stderr
    created = "Gateway/shop/reviews-exposed created\nVirtualService/shop/reviews-exposed created\n"
    assert done.stdout == created
    [server] = stored(mesh)["Gateway/shop/reviews-exposed"]["servers"]
    assert server == {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    done = mesh.cli(
        "expose", "reviews", "--host", "a.example.com", "--tls-credential", "a", "--redirect", "--path", "/x"
    )
    assert done.exit_code == 0, done.stderr
    plain, secure = stored(mesh)["Gateway/shop/reviews-exposed"]["servers"]
    assert plain["tls"] == {"httpsRedirect": True}
    assert secure["port"]["number"] == 443
    assert secure["tls"] == {"mode": "SIMPLE", "credentialName": "a"}
    service = stored(mesh)["VirtualService/shop/reviews-exposed"]
    assert service["hosts"] == ["a.example.com"]
    assert service["http"][0]["match"] == [{"uri": {"prefix": "/x"}}]
    done = mesh.cli("expose", "reviews", "--clear")
    assert done.exit_code == 0, done.stderr
    assert stored(mesh) == {}
    assert mesh.cli("expose", "reviews", "--clear").stdout == "nothing to change\n"


def test_a_dry_run_prints_what_apply_takes(mesh: Mesh) -> None:
    done = mesh.cli("expose", "reviews", "--dry-run", "-o", "yaml")
    assert stored(mesh) == {}
    assert [one["kind"] for one in yaml.safe_load_all(done.stdout)] == ["Gateway", "VirtualService"]
    applied = mesh.cli("apply", "-f", "-", stdin=done.stdout)
    assert applied.exit_code == 0, applied.stderr


def test_what_was_written_by_hand_stays(mesh: Mesh) -> None:
    mesh.cli("apply", "-f", "-", stdin=BY_HAND)
    before = stored(mesh)
    done = mesh.cli("expose", "reviews")
    assert done.exit_code == 1
    assert "Gateway shop/reviews-exposed was written by hand" in done.stderr
    assert "meshlite delete Gateway reviews-exposed -n shop" in done.stderr
    mesh.cli("expose", "reviews", "--clear")
    assert stored(mesh) == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("expose", "nobody"), 1, "there is no service nobody"),
        (("expose", "reviews", "--redirect"), 2, "--tls-credential"),
        (("expose", "reviews", "--service-port", "1"), 1, "has no port 1"),
        (("expose", "reviews", "--host", "a b"), 1, "not a host name"),
        (("egress", "api.example.com", "--http", "--originate-tls"), 2, "exclude each other"),
    ],
)
def test_mistakes_are_told(mesh: Mesh, words: tuple[str, ...], code: int, said: str) -> None:
    done = mesh.cli(*words)
    assert done.exit_code == code
    assert said in done.stderr
    assert stored(mesh) == {}


@pytest.mark.parametrize("options", [(), ("--http",), ("--originate-tls",)])
def test_an_outside_host_is_reached_by_the_egress_gateway_and_forgotten_again(
    mesh: Mesh, options: tuple[str, ...]
) -> None:
    done = mesh.cli("egress", "API.example.com", *options)
    assert done.exit_code == 0, done.stderr
    name = "meshlite-system/api-example-com-egress"
    kinds = ["ServiceEntry", "Gateway", "VirtualService"]
    kinds += ["DestinationRule"] if "--originate-tls" in options else []
    assert sorted(stored(mesh)) == sorted(f"{kind}/{name}" for kind in kinds)
    if "--originate-tls" in options:
        [port] = stored(mesh)[f"DestinationRule/{name}"]["trafficPolicy"]["portLevelSettings"]
        assert port["tls"]["subjectAltNames"] == ["api.example.com"], "whose certificate is believed"
    messages = json.loads(mesh.cli("analyze", "-o", "json").stdout)["messages"]
    assert [row for row in messages if row["level"] == "Error"] == []
    assert mesh.cli("egress", "api.example.com", "--clear").exit_code == 0
    assert stored(mesh) == {}
