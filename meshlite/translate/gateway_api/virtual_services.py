"""VirtualServices made from routes: for each listener or service, and each host name, one.

Rules of several routes for the same are merged, since the closest match wins among all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from meshlite.model.mesh import Resource
from meshlite.model.names import fqdn
from meshlite.translate.gateway_api.hosts import covers, intersection
from meshlite.translate.gateway_api.http_rules import Made, at_port, in_order
from meshlite.translate.gateway_api.l4_rules import L4Made, with_port
from meshlite.translate.gateway_api.made import made
from meshlite.translate.gateway_api.names import l4_name, route_name
from meshlite.translate.gateway_api.parents import MESH, Attachment, Attachments
from meshlite.translate.gateway_api.world import World


@dataclass(frozen=True)
class Part:
    """What one route says for one listener or service and one host. `key`: parts with the same are merged."""

    key: str
    route: Resource
    bound: str
    host: str
    rules: tuple[dict[str, Any], ...]


def http_parts(
    route: Resource,
    hostnames: Sequence[str],
    found: Attachments,
    rules_of: dict[bool, Made],
    world: World,
) -> Iterator[Part]:
    for one in found.allowed:
        rules = rules_of[one.mesh].rules
        key = one.parent.bound
        hosts = tuple(hostnames) or ("*",)
        if one.mesh:
            rules = tuple(at_port(rules, one.reference.port))
            key = route.namespace
            hosts = service_hosts(one, world)
        for host in hosts:
            if rules and one.takes(host):
                yield Part(f"{key}/{host}", route, one.parent.bound, host, rules)


def merged(parts: Sequence[Part]) -> Iterator[Resource]:
    """One VirtualService for each key, its rules in order. Routes come first applied first."""
    grouped: dict[str, list[Part]] = {}
    for part in parts:
        grouped.setdefault(part.key, []).append(part)
    for key, group in grouped.items():
        rules = [rule for part in group for rule in part.rules]
        spec = {"hosts": [group[0].host], "gateways": [group[0].bound], "http": in_order(rules)}
        yield _resource(route_name(key), spec, *(part.route for part in group))


def l4_services(
    route: Resource,
    protocol: str,
    hostnames: Sequence[str],
    found: Attachments,
    rules_of: dict[bool, L4Made],
    world: World,
) -> Iterator[Resource]:
    """VirtualServices of a TLSRoute or a TCPRoute; each connection meets one of them."""
    place = 0
    for one in found.allowed:
        rules = list(rules_of[one.mesh].rules)
        hosts = tuple(hostnames) or ("*",)
        if one.mesh:
            hosts = service_hosts(one, world)
            rules = with_port(rules, one.reference.port, protocol, hosts)
        elif protocol == "tls" and one.parent.hostname:
            hosts = intersection(hosts, (one.parent.hostname,))
            rules = _narrowed(rules, one.parent.hostname)
        elif protocol == "tcp":
            hosts = ("*",)
        if not rules:
            continue
        for host in hosts:
            spec: dict[str, Any] = {"hosts": [host], "gateways": [one.parent.bound]}
            spec[protocol] = _for_host(rules, host) if one.mesh else rules
            yield _resource(l4_name(route.name, protocol, place), spec, route)
            place += 1


def service_hosts(one: Attachment, world: World) -> tuple[str, ...]:
    """The hosts that a route for the mesh is about."""
    kind, namespace, name = one.parent.owner
    if kind != "ServiceEntry":
        return (fqdn(name, namespace),)
    entry = world.entries.get((namespace, name))
    return entry.hosts if entry is not None else ()


def _narrowed(rules: Sequence[dict[str, Any]], hostname: str) -> list[dict[str, Any]]:
    """Only those server names that the listener takes."""
    found = []
    for rule in rules:
        matches = [
            {**match, "sniHosts": list(intersection(match["sniHosts"], (hostname,)))}
            for match in rule.get("match", ())
        ]
        if not matches or any(match["sniHosts"] for match in matches):
            found.append({**rule, "match": matches} if matches else rule)
    return found


def _for_host(rules: Sequence[dict[str, Any]], host: str) -> list[dict[str, Any]]:
    """Of several server names, those of this host."""
    found = []
    for rule in rules:
        matches = rule.get("match", ())
        if len(matches) == 1 and len(matches[0].get("sniHosts", ())) > 1:
            kept = [name for name in matches[0]["sniHosts"] if covers(host, name) or covers(name, host)]
            rule = {**rule, "match": [{**matches[0], "sniHosts": kept}]}
        found.append(rule)
    return found


def _resource(name: str, spec: dict[str, Any], *routes: Resource) -> Resource:
    """A route for somebody else's service speaks for callers of its own namespace only."""
    first = routes[0]
    if spec["gateways"] == [MESH] and not spec["hosts"][0].endswith(f".{first.namespace}.svc.cluster.local"):
        spec = {**spec, "exportTo": ["."]}
    return made("VirtualService", name, first.namespace, spec, *routes)
