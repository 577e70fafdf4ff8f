"""From the plan to bytes. Parts that did not change since the last time are not encoded again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshlite.translate.envoy import cluster, listener, route, schema
from meshlite.translate.envoy.chooser import chooser
from meshlite.translate.plan.cluster import BLACK_HOLE
from meshlite.translate.plan.listener import Listener
from meshlite.translate.plan.nodeplan import NodePlan
from meshlite.translate.plan.route import RouteTable, VirtualHost

Memory = Mapping[Hashable, bytes]
"""Encoded parts by what they were made from and of: functions and the plan's values, compared by content."""

_CHAIN = "envoy.config.listener.v3.FilterChain"
_HOST = "envoy.config.route.v3.VirtualHost"
_ROUTE = "envoy.config.route.v3.Route"


@dataclass(frozen=True)
class Parts:
    """What was encoded the last time, and what is in use now."""

    last: Memory
    now: dict[Hashable, bytes] = field(default_factory=dict)

    def encoded(self, name: str, fields: Callable[..., dict[str, Any]], *of: Hashable) -> bytes:
        """Message `name`, whose fields `fields(*of)` gives."""
        return self.kept((fields, of), lambda: schema.encode(name, fields(*of)))

    def kept(self, part: Hashable, encode: Callable[[], bytes]) -> bytes:
        found = self.last.get(part)
        self.now[part] = found = found if found is not None else encode()
        return found


def emit(plan: NodePlan, last: Memory) -> tuple[Mapping[str, Mapping[str, bytes]], Memory]:
    """Serialized resources by type URL and name, and the memory for the next time."""
    parts = Parts(last)
    resources = {
        schema.CLUSTER: dict(_clusters(plan, parts)),
        schema.ENDPOINTS: {
            set.cluster: parts.encoded(schema.ENDPOINTS, cluster.endpoints, set) for set in plan.endpoints
        },
        schema.LISTENER: dict(_listeners(plan.listeners, parts)),
        schema.ROUTES: {table.name: _table(table, parts) for table in plan.tables},
    }
    return resources, parts.now


def _clusters(plan: NodePlan, parts: Parts) -> Iterator[tuple[str, bytes]]:
    for name, source in cluster.ORIGINAL.items():
        yield name, parts.encoded(schema.CLUSTER, cluster.original, name, source, plan.mark)
    yield BLACK_HOLE, parts.encoded(schema.CLUSTER, cluster.black_hole)
    for one in plan.clusters:
        yield one.name, parts.encoded(schema.CLUSTER, cluster.cluster, one)


def _table(table: RouteTable, parts: Parts) -> bytes:
    head = parts.encoded(schema.ROUTES, route.table_head, table.name)
    return head + _repeated(schema.ROUTES, "virtual_hosts", (_host(host, parts) for host in table.hosts))


def _host(host: VirtualHost, parts: Parts) -> bytes:
    head = parts.encoded(_HOST, route.host_head, host.name, host.domains)
    return head + _repeated(_HOST, "routes", (parts.encoded(_ROUTE, route.route, one) for one in host.routes))


def _listeners(listeners: Iterable[Listener], parts: Parts) -> Iterator[tuple[str, bytes]]:
    """Choosers and TCP chains are the same for many listeners: looked up once, not once for each."""
    shared: dict[int, bytes] = {}
    for one in listeners:
        key = id(one.chooser)
        if key not in shared:
            shared[key] = _shared(one, parts)
        head = parts.encoded(schema.LISTENER, listener.head, one.entrance)
        http = (parts.encoded(_CHAIN, listener.http_chain, one.entrance, chain) for chain in one.http)
        yield one.entrance.name, head + _repeated(schema.LISTENER, "filter_chains", http) + shared[key]


def _shared(one: Listener, parts: Parts) -> bytes:
    chains = (parts.encoded(_CHAIN, listener.tcp_chain, one.entrance.inbound, chain) for chain in one.tcp)
    tree = parts.kept(one.chooser, lambda: chooser(one.chooser))
    filter_chains = _repeated(schema.LISTENER, "filter_chains", chains)
    return filter_chains + schema.embedded(schema.LISTENER, "filter_chain_matcher", tree)


def _repeated(name: str, field: str, bodies: Iterable[bytes]) -> bytes:
    return b"".join(schema.embedded(name, field, body) for body in bodies)
