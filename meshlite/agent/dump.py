"""Envoy's configuration dump, sorted by kind and cut down to what concerns one workload. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Item = dict[str, Any]

KINDS = ("listeners", "clusters", "routes", "endpoints", "secrets")

_STATES = {
    "active_state": "active",
    "warming_state": "warming",
    "draining_state": "draining",
    "dynamic_active_clusters": "active",
    "dynamic_warming_clusters": "warming",
    "dynamic_active_secrets": "active",
    "dynamic_warming_secrets": "warming",
}


def sorted_by_kind(document: Mapping[str, Any]) -> dict[str, list[Item]]:
    """The parts of /config_dump?include_eds as {kind: [{name, version, updated, state, config}]}."""
    found: dict[str, list[Item]] = {kind: [] for kind in KINDS}
    for part in document.get("configs", []):
        name = part.get("@type", "").rpartition(".")[2]
        if reader := _READERS.get(name):
            kind, read = reader
            found[kind] += sorted(read(part), key=lambda item: item["name"])
    return found


def concerning(found: Mapping[str, list[Item]], attachment: str) -> dict[str, list[Item]]:
    """What the listeners of one attachment use: routes, the routes' clusters, the clusters' endpoints."""
    listeners = [item for item in found["listeners"] if item["name"].partition("/")[2] == attachment]
    names = set(_strings(listeners))
    routes = [item for item in found["routes"] if item["name"] in names]
    names |= set(_strings(routes))
    clusters = [item for item in found["clusters"] if item["name"] in names]
    names |= set(_strings(clusters))
    used = {item["name"] for item in clusters}
    return {
        "listeners": listeners,
        "clusters": clusters,
        "routes": routes,
        "endpoints": [item for item in found["endpoints"] if item["name"] in used],
        "secrets": [item for item in found["secrets"] if item["name"] in names],
    }


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _listeners(part: Item) -> Iterator[Item]:
    for listener in part.get("dynamic_listeners", []):
        for key in ("active_state", "warming_state", "draining_state"):
            if state := listener.get(key):
                yield _item(listener["name"], state, _STATES[key], state["listener"])


def _clusters(part: Item) -> Iterator[Item]:
    for entry in part.get("static_clusters", []):
        yield _item(entry["cluster"]["name"], entry, "static", entry["cluster"])
    for key in ("dynamic_active_clusters", "dynamic_warming_clusters"):
        for entry in part.get(key, []):
            yield _item(entry["cluster"]["name"], entry, _STATES[key], entry["cluster"])


def _routes(part: Item) -> Iterator[Item]:
    for entry in part.get("dynamic_route_configs", []):
        yield _item(entry["route_config"]["name"], entry, "active", entry["route_config"])


def _endpoints(part: Item) -> Iterator[Item]:
    for key, state in (("static_endpoint_configs", "static"), ("dynamic_endpoint_configs", "active")):
        for entry in part.get(key, []):
            config = entry["endpoint_config"]
            yield _item(config.get("cluster_name", ""), entry, state, config)


def _secrets(part: Item) -> Iterator[Item]:
    for key in ("dynamic_active_secrets", "dynamic_warming_secrets"):
        for entry in part.get(key, []):
            yield _item(entry["name"], entry, _STATES[key], _without_keys(entry.get("secret", {})))


def _item(name: str, entry: Item, state: str, config: Item) -> Item:
    return {
        "name": name,
        "version": entry.get("version_info", ""),
        "updated": entry.get("last_updated", ""),
        "state": state,
        "config": {key: value for key, value in config.items() if key != "@type"},
    }


def _without_keys(value: Any) -> Any:
    """Envoy redacts private keys itself; this does not rely on it."""
    if isinstance(value, Mapping):
        return {
            key: "[redacted]"
            if re.search("private_key|password|session_ticket", key)
            else _without_keys(inner)
            for key, inner in value.items()
        }
    return [_without_keys(inner) for inner in value] if isinstance(value, list) else value


_READERS: Mapping[str, tuple[str, Callable[[Item], Iterable[Item]]]] = {
    "ListenersConfigDump": ("listeners", _listeners),
    "ClustersConfigDump": ("clusters", _clusters),
    "RoutesConfigDump": ("routes", _routes),
    "EndpointsConfigDump": ("endpoints", _endpoints),
    "SecretsConfigDump": ("secrets", _secrets),
}
