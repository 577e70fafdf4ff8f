"""Decides what travels between nodes: under which names calls leave, and whom they reach where they arrive.

Calls to another node go to its tunnel, one port for all, by mutual TLS. The server name that is asked for
there means one port of one service, or of those of its replicas that a subset chooses; among several the
called node chooses. So clusters need not know who runs where: the coming and going of replicas concerns
endpoints and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from meshlite.model.mesh import PathNormalization, Snapshot
from meshlite.translate.node import NodeView
from meshlite.translate.plan.caller import Selector, matches, selector
from meshlite.translate.plan.catalog import Callee, Replica, Replicas, Tunnels
from meshlite.translate.plan.cluster import Cluster, Endpoint, EndpointSet
from meshlite.translate.plan.gateway_listener import GatewayListener
from meshlite.translate.plan.guard import Rules
from meshlite.translate.plan.listener import Listener
from meshlite.translate.plan.rules import Rule, fits
from meshlite.translate.plan.rules import Rules as DestinationRules
from meshlite.translate.plan.secret import calling

AS_BYTES = "||bytes"
"""Ends the name of a cluster's twin, which carries bytes where the cluster carries requests."""

_Listening = TypeVar("_Listening", Listener, GatewayListener)
_LONGEST = 200
_LOOPBACK = "127.0.0.1"


def server_name(service: Callee, port: int, chosen: Selector) -> str:
    """What is asked for in TLS. A digest tells apart what host names cannot: case, labels, equal hosts."""
    digest = hashlib.blake2b(repr((service.key, port, chosen)).encode(), digest_size=10).hexdigest()
    return f"{digest}.{port}.{service.fqdn.lower()}"[:_LONGEST].rstrip(".-")


def identities(group: Iterable[Replica], trust_domain: str) -> tuple[str, ...]:
    """Those of the replicas that are reached by a tunnel; none where no replica is."""
    found = {str(one.workload.identity(trust_domain)) for one in group if one.through is not None}
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class Way:
    """Where calls under one server name go. `certificate`: the identity that is shown to callers.

    `requests`: it may be HTTP. `rules`: for connections, which come as CONNECT.
    """

    server: str
    certificate: str
    cluster: str
    destination: str
    requests: bool
    rules: Rules


@dataclass(frozen=True, slots=True)
class Tunnel:
    """The way in for other nodes. `trust_domains`: whose identities are let in."""

    addresses: tuple[str, ...]
    port: int
    ways: tuple[Way, ...]
    trust_domains: tuple[str, ...]
    normalization: PathNormalization


@dataclass(frozen=True, slots=True)
class Arriving:
    """What the tunnel of this node leads to."""

    ways: tuple[Way, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    endpoints: tuple[EndpointSet, ...] = ()


def selections(service: Callee, rules: DestinationRules) -> tuple[Selector, ...]:
    """All choices among its replicas that some caller may mean: everybody, and each subset of each rule."""
    found = {selector(subset.labels) for rule in _about(service, rules) for subset in rule.subsets}
    return tuple(sorted({(), *found}))


def _about(service: Callee, rules: DestinationRules) -> Iterator[Rule]:
    return (rule for rule in rules.every() if fits(rule.host, service.fqdn))


def here(replicas: Replicas, key: str, node: str) -> tuple[Replica, ...]:
    """Replicas of a service that run on this node."""
    return tuple(
        one
        for one in replicas.get(key, ())
        if one.workload.node == node and one.workload.source != "resource" and one.dial
    )


def chosen(group: Iterable[Replica], port: int, labels: Selector) -> tuple[Replica, ...]:
    return tuple(one for one in group if one.listens(port) and matches(labels, one.labels))


def by_node(found: Iterable[tuple[Replica, Endpoint]]) -> Iterator[tuple[Replica, Endpoint]]:
    """One endpoint for all that stand behind one tunnel, with their weight: Envoy tells endpoints apart by
    their addresses only.
    """
    groups: dict[str, tuple[Replica, Endpoint, int]] = {}
    for replica, endpoint in found:
        first, made, weight = groups.get(endpoint.address, (replica, endpoint, 0))
        groups[endpoint.address] = first, made, weight + (replica.weight or 1)
    for first, made, weight in groups.values():
        yield first, Endpoint(made.address, made.port, made.workload, weight=weight, tunnel=made.tunnel)


def tunnels(snapshot: Snapshot, node: NodeView) -> Tunnels:
    """Of the other nodes, and this one's own where calls within it take it, too. A node alone has none."""
    others = (one for one in snapshot.nodes if one.name != node.name and one.address and one.tunnel)
    own = {node.name: (_LOOPBACK, node.tunnel)} if node.same_host == "mtls" else {}
    return {one.name: (one.address, one.tunnel) for one in others} | own


def tunnel(snapshot: Snapshot, node: NodeView, ways: tuple[Way, ...]) -> Tunnel:
    settings = snapshot.settings
    domains = (snapshot.trust_domain, *settings.trust_domain_aliases)
    addresses = ("0.0.0.0", "::") if node.ipv6 else ("0.0.0.0",)
    return Tunnel(addresses, node.tunnel, ways, domains, settings.path_normalization)


def with_certificates(listeners: Iterable[_Listening], ways_out: Tunnels) -> tuple[_Listening, ...]:
    """Where there are tunnels, whose connections may leave by one says by which certificate."""
    return tuple(map(_with_certificate, listeners) if ways_out else listeners)


def _with_certificate(listener: _Listening) -> _Listening:
    entrance = listener.entrance
    if entrance.inbound or not entrance.source.identity:
        return listener
    source = replace(entrance.source, certificate=calling(entrance.source.identity))
    return replace(listener, entrance=replace(entrance, source=source))


def far(replicas: Replicas) -> frozenset[str]:
    """Services (by key) with replicas that are reached by a tunnel."""
    return frozenset(key for key, group in replicas.items() if any(one.through for one in group))
