"""Envoy's dump is sorted by kind, cut down to one workload, and shows no secrets."""

from __future__ import annotations

from typing import Any

from meshlite.agent import dump

TYPE = "type.googleapis.com/envoy.admin.v3."


def listener(name: str, route: str) -> dict[str, Any]:
    config = {"name": name, "filter_chains": [{"rds": {"route_config_name": route}}]}
    return {"name": name, "active_state": {"version_info": "1", "last_updated": "t", "listener": config}}


def cluster(name: str) -> dict[str, Any]:
    return {"version_info": "2", "cluster": {"@type": "x", "name": name}}


def route(name: str, *clusters: str) -> dict[str, Any]:
    hosts = [{"routes": [{"route": {"cluster": each}} for each in clusters]}]
    return {"route_config": {"name": name, "virtual_hosts": hosts}}


DOCUMENT = {
    "configs": [
        {"@type": TYPE + "BootstrapConfigDump", "bootstrap": {}},
        {
            "@type": TYPE + "ClustersConfigDump",
            "static_clusters": [{"cluster": {"name": "meshlite_agent"}}],
            "dynamic_active_clusters": [cluster("reviews"), cluster("ratings")],
            "dynamic_warming_clusters": [cluster("new")],
        },
        {
            "@type": TYPE + "ListenersConfigDump",
            "dynamic_listeners": [
                listener("outbound/b", "9080/shop"),
                listener("outbound/a", "9080/other"),
                {"name": "inbound/a", "error_state": {"details": "refused"}},
            ],
        },
        {
            "@type": TYPE + "RoutesConfigDump",
            "dynamic_route_configs": [route("9080/shop", "reviews"), route("9080/other", "ratings")],
        },
        {
            "@type": TYPE + "EndpointsConfigDump",
            "dynamic_endpoint_configs": [
                {"endpoint_config": {"cluster_name": "reviews"}},
                {"endpoint_config": {"cluster_name": "ratings"}},
            ],
        },
        {
            "@type": TYPE + "SecretsConfigDump",
            "dynamic_active_secrets": [
                {
                    "name": "spiffe://x",
                    "secret": {"tls_certificate": {"private_key": {"inline_string": "TOP SECRET"}}},
                }
            ],
        },
    ]
}


def names(items: list[dict[str, Any]]) -> list[str]:
    return [item["name"] for item in items]


def test_everything_is_sorted_by_kind_and_name_with_its_state() -> None:
    found = dump.sorted_by_kind(DOCUMENT)
    assert {kind: names(items) for kind, items in found.items()} == {
        "listeners": ["outbound/a", "outbound/b"],
        "clusters": ["meshlite_agent", "new", "ratings", "reviews"],
        "routes": ["9080/other", "9080/shop"],
        "endpoints": ["ratings", "reviews"],
        "secrets": ["spiffe://x"],
    }
    states = {item["name"]: item["state"] for item in found["clusters"]}
    assert states == {"meshlite_agent": "static", "new": "warming", "ratings": "active", "reviews": "active"}


def test_one_workload_sees_what_its_listeners_lead_to() -> None:
    found = dump.concerning(dump.sorted_by_kind(DOCUMENT), "b")
    assert {kind: names(items) for kind, items in found.items()} == {
        "listeners": ["outbound/b"],
        "clusters": ["reviews"],
        "routes": ["9080/shop"],
        "endpoints": ["reviews"],
        "secrets": [],
    }


def test_no_secret_is_shown_whatever_envoy_says() -> None:
    assert "TOP SECRET" not in str(dump.sorted_by_kind(DOCUMENT))
