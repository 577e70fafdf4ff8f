"""Which Sidecar applies to a workload, and what its hosts let in."""

from __future__ import annotations

from typing import Any

import pytest

from meshlite.model.mesh import Resource, Snapshot
from meshlite.translate.envoy import schema
from meshlite.translate.translate import translate
from tests.translate import cases

WORKLOADS = [
    {"name": "web", "link": "169.254.0.2", "ports": ["http:80"], "labels": {"tier": "front"}},
    {"name": "cart", "link": "169.254.0.3", "ports": ["http:80"]},
    {"name": "store", "namespace": "back", "link": "169.254.0.4", "ports": ["http:80"]},
    {"name": "audit", "namespace": "back", "link": "169.254.0.5", "ports": ["http:80"]},
]


def sidecar(name: str, namespace: str, hosts: list[str], labels: dict[str, str] | None = None) -> Any:
    selector = {"workloadSelector": {"labels": labels}} if labels else {}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Sidecar",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**selector, "egress": [{"hosts": hosts}]},
    }


def seen(*sidecars: Any, workload: str = "web") -> set[str]:
    """The services in the route table that a workload's listener follows on port 80; none: no such chain."""
    snapshot, node = cases.mesh({"workloads": WORKLOADS, "resources": list(sidecars)})
    result = cases.shown(translate(snapshot, node))
    place = next(place for place, fields in enumerate(WORKLOADS) if fields["name"] == workload)
    chains = result["listeners"][f"outbound/{4000 + place}"]["filter_chains"]
    http = [chain for chain in chains if chain["name"] == "http/80"]
    if not http:
        return set()
    table = http[0]["filters"][0]["typed_config"]["rds"]["route_config_name"]
    hosts = (host["name"].split(".")[0] for host in result["routes"][table]["virtual_hosts"])
    return set(hosts) - {"allow_any"}


@pytest.mark.parametrize(
    ("hosts", "services"),
    [
        (["*/*"], {"web", "cart", "store", "audit"}),
        (["./*"], {"web", "cart"}),
        (["back/*"], {"store", "audit"}),
        (["./cart.shop.svc.cluster.local", "back/store.back.svc.cluster.local"], {"cart", "store"}),
        (["*/*.back.svc.cluster.local"], {"store", "audit"}),
        (["*/*", "~back/*"], {"web", "cart"}),
        (["*/*", "~/store.back.svc.cluster.local"], {"web", "cart", "audit"}),
        (["*/*", "~shop/store.back.svc.cluster.local"], {"web", "cart", "store", "audit"}),
        (["~/*"], set()),
        (["elsewhere/*"], set()),
    ],
)
def test_hosts(hosts: list[str], services: set[str]) -> None:
    assert seen(sidecar("one", "shop", hosts)) == services


def test_the_narrowest_applies_and_of_equals_the_first() -> None:
    root = sidecar("root", "meshlite-system", ["./*"])
    own = sidecar("own", "shop", ["back/*"])
    late = sidecar("late", "shop", ["*/*"])
    front = sidecar("front", "shop", ["./cart.shop.svc.cluster.local"], {"tier": "front"})
    assert seen(root, late, own, front) == {"cart"}
    assert seen(root, own, late, front, workload="cart") == {"store", "audit"}
    assert seen(root, own, late, front, workload="store") == {"store", "audit"}
    assert seen(workload="cart") == {"web", "cart", "store", "audit"}


def test_a_selector_of_another_namespace_selects_nobody() -> None:
    assert len(seen(sidecar("other", "back", ["./*"], {"tier": "front"}))) == 4


def test_virtual_services_are_imported_as_services_are() -> None:
    """A rule is followed where its namespace and host are imported, and leads wherever it says."""
    rule = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "r", "namespace": "back"},
        "spec": {
            "hosts": ["cart.shop.svc.cluster.local", "legacy.example.com"],
            "http": [{"route": [{"destination": {"host": "audit"}}]}],
        },
    }
    assert "legacy" in seen(rule)
    assert "legacy" not in seen(rule, sidecar("one", "shop", ["./*"]))
    case = {
        "workloads": WORKLOADS,
        "resources": [rule, sidecar("one", "shop", ["./*", "back/legacy.example.com"])],
    }
    result = cases.shown(translate(*cases.mesh(case)))
    assert result["problems"] == []
    [cart] = [
        host for host in result["routes"]["80/shop"]["virtual_hosts"] if host["name"].startswith("cart")
    ]
    assert cart["routes"][0]["route"]["cluster"] == "outbound|80||audit.back.svc.cluster.local"


def test_the_mesh_may_refuse_what_it_does_not_know() -> None:
    snapshot, node = cases.mesh({"workloads": WORKLOADS})
    refusing = snapshot.model_copy(update={"outbound_traffic_policy": "REGISTRY_ONLY"})
    allowed = Resource(
        api_version="networking.istio.io/v1",
        kind="Sidecar",
        name="free",
        namespace="back",
        spec={"outboundTrafficPolicy": {"mode": "ALLOW_ANY"}},
    )
    assert last_host(refusing, node) == "block_all"
    assert last_host(snapshot, node) == "allow_any"
    assert last_host(refusing.model_copy(update={"resources": (allowed,)}), node, "80/back") == "allow_any"


def last_host(snapshot: Snapshot, node: Any, table: str = "80/shop") -> str:
    body = translate(snapshot, node).resources[schema.ROUTES][table].body
    return str(schema.decode(schema.ROUTES, body)["virtual_hosts"][-1]["name"])
