"""Decides what calls from other nodes find here: a way for each service with a replica on this node."""

from __future__ import annotations

from collections.abc import Mapping

from meshlite.translate.memo import Memo
from meshlite.translate.node import NodeView
from meshlite.translate.plan.caller import Selector
from meshlite.translate.plan.catalog import Catalog, Replica, Replicas
from meshlite.translate.plan.cluster import EndpointSet, Policy
from meshlite.translate.plan.destinations import Chains, Use, cluster, endpoint
from meshlite.translate.plan.guards import ServiceGuard
from meshlite.translate.plan.rules import Rules
from meshlite.translate.plan.tunnel import Arriving, Way, chosen, here, selections, server_name


def arriving(
    memo: Memo,
    services: Catalog,
    replicas: Replicas,
    rules: Rules,
    chains: Chains,
    chained: frozenset[str],
    guards: Mapping[str, ServiceGuard],
    node: NodeView,
    trust_domain: str,
) -> Arriving:
    found: dict[str, _Wanted] = {}
    for service in (*services.services.values(), *services.others):
        own = here(replicas, service.key, node.name)
        if own and service.discovery == "eds":
            use = Use(service, None, chained=service.fqdn in chained, guard=guards[service.key].guard)
            found[service.key] = use, own, selections(service, rules), chains if use.chained else {}
    made = memo.each("ways", _arriving, found, node.mark, trust_domain)
    return Arriving(
        tuple(way for one in made.values() for way in one.ways),
        tuple(cluster for one in made.values() for cluster in one.clusters),
        tuple(set for one in made.values() for set in one.endpoints),
    )


_Wanted = tuple[Use, tuple[Replica, ...], tuple[Selector, ...], Chains]


def _arriving(wanted: _Wanted, mark: int, trust_domain: str) -> Arriving:
    use, replicas, choices, chains = wanted
    ways, clusters, endpoints = [], [], []
    for port in use.service.ports.values():
        for labels in choices:
            group = chosen(replicas, port.number, labels)
            if not group:
                continue
            server = server_name(use.service, port.number, labels)
            name = f"tunnel|{server}"
            ready = (one for one in group if one.workload.health == "healthy")
            clusters.append(cluster(use, port, name, Policy(), mark))
            endpoints.append(EndpointSet(name, tuple(endpoint(one, port.number, chains) for one in ready)))
            rules = use.guard.settled(port.number, ()).of_connections().rules
            shown = min(str(one.workload.identity(trust_domain)) for one in group)
            where = f"{use.service.fqdn}:{port.number}"
            ways.append(Way(server, shown, name, where, port.http != "none", rules))
    return Arriving(tuple(ways), tuple(clusters), tuple(endpoints))
