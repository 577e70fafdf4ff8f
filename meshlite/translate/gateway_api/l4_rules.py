"""Rules of TLSRoutes and TCPRoutes as rules of VirtualServices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from meshlite.model.gateway_api import L4RouteRule, TCPRoute, TLSRoute
from meshlite.model.mesh import Resource
from meshlite.translate.gateway_api.backends import NOBODY, backend, weighted
from meshlite.translate.gateway_api.conditions import Complaint
from meshlite.translate.gateway_api.world import World
from meshlite.translate.plan.resources import Applied

_ANY = ["*"]


@dataclass(frozen=True)
class L4Made:
    rules: tuple[dict[str, Any], ...]
    wrong: Complaint | None = None


def tls_rules(one: Applied[TLSRoute], world: World, for_mesh: bool) -> L4Made:
    match = [{"sniHosts": list(one.spec.hostnames) or _ANY}]
    return _rules(one.spec.rules, {"match": match}, one.resource, world, for_mesh)


def tcp_rules(one: Applied[TCPRoute], world: World, for_mesh: bool) -> L4Made:
    return _rules(one.spec.rules, {}, one.resource, world, for_mesh)


def with_port(
    rules: Sequence[dict[str, Any]], port: int | None, protocol: str, hosts: Sequence[str]
) -> list[dict[str, Any]]:
    """For one port of a service; a TLSRoute without host names is about the service's own."""
    found = []
    for rule in rules:
        matches = [dict(match) for match in rule.get("match", ())]
        if protocol == "tls" and [match["sniHosts"] for match in matches] == [_ANY]:
            matches[0]["sniHosts"] = list(hosts)
        if port is not None:
            matches = [{**match, "port": port} for match in matches or [{}]]
        found.append({**rule, "match": matches} if matches else rule)
    return found


def _rules(
    rules: Sequence[L4RouteRule], head: dict[str, Any], route: Resource, world: World, for_mesh: bool
) -> L4Made:
    made: list[dict[str, Any]] = []
    wrong: Complaint | None = None
    for rule in rules:
        used = weighted(rule.backend_refs)
        if not used:
            made.append({**head, "route": [{"destination": NOBODY}]})
            continue
        rows = []
        for ref, weight in used:
            found = backend(ref, route, world, for_mesh)
            if found.wrong is not None and found.hopeless:
                return L4Made((), found.wrong)
            wrong = found.wrong or wrong
            rows.append({"destination": found.destination} | ({"weight": weight} if weight else {}))
        made.append({**head, "route": rows})
    return L4Made(tuple(made), wrong)
