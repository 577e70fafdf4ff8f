"""From the plan to encoded resources. Parts that did not change since the last time are not encoded again.

A part is remembered by the identity of what it is made of: the plan keeps what has not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from meshlite.translate.envoy import cluster, listener, route, schema
from meshlite.translate.envoy.chooser import chooser
from meshlite.translate.memo import Memo
from meshlite.translate.plan.cluster import BLACK_HOLE, Cluster, EndpointSet, Http, Policy
from meshlite.translate.plan.listener import Chooser, Entrance, HttpChain, Listener, TcpChain
from meshlite.translate.plan.nodeplan import NodePlan
from meshlite.translate.plan.route import Match, Route, RouteTable, VirtualHost
from meshlite.translate.translation import Encoded

_CHAIN = "envoy.config.listener.v3.FilterChain"
_HOST = "envoy.config.route.v3.VirtualHost"
_ROUTE = "envoy.config.route.v3.Route"
_ANY = Match()

Resources = Mapping[str, Encoded]
"""Serialized resources of one type by name."""


def emit(memo: Memo, plan: NodePlan) -> Mapping[str, Resources]:
    """All resources by type URL."""
    return {
        schema.CLUSTER: memo.within(schema.CLUSTER, _clusters, plan.clusters, plan.mark),
        schema.ENDPOINTS: memo.within(schema.ENDPOINTS, _endpoints, plan.endpoints),
        schema.LISTENER: memo.within(schema.LISTENER, _listeners, plan.listeners),
        schema.ROUTES: memo.within(schema.ROUTES, _tables, plan.tables),
    }


def _clusters(memo: Memo, clusters: tuple[Cluster, ...], mark: int) -> Resources:
    own = {name: memo.of(name, _original, name, source, mark) for name, source in cluster.ORIGINAL.items()}
    own[BLACK_HOLE] = memo.of(BLACK_HOLE, _black_hole)
    return _sorted(own | {one.name: memo.within(one.name, _cluster, one) for one in clusters})


def _endpoints(memo: Memo, sets: tuple[EndpointSet, ...]) -> Resources:
    return _sorted({set.cluster: memo.of(set.cluster, _endpoint_set, set) for set in sets})


def _listeners(memo: Memo, listeners: tuple[Listener, ...]) -> Resources:
    """Choosers and TCP chains are the same for many listeners, so they are put together once for all."""
    made = {}
    for one in listeners:
        inbound = one.entrance.inbound
        shared = memo.within((id(one.tcp), id(one.chooser)), _shared, inbound, one.tcp, one.chooser)
        made[one.entrance.name] = memo.within(one.entrance.name, _listener, one.entrance, one.http, shared)
    return _sorted(made)


def _tables(memo: Memo, tables: tuple[RouteTable, ...]) -> Resources:
    return _sorted({table.name: memo.within(table.name, _table, table) for table in tables})


def _sorted(named: Mapping[str, Encoded]) -> Resources:
    return dict(sorted(named.items()))


def _original(name: str, source: str, mark: int) -> Encoded:
    return Encoded.of(schema.encode(schema.CLUSTER, cluster.original(name, source, mark)))


def _black_hole() -> Encoded:
    return Encoded.of(schema.encode(schema.CLUSTER, cluster.black_hole()))


def _cluster(memo: Memo, one: Cluster) -> Encoded:
    usage = memo.once(_usage, one.http, one.policy, one.mark)
    return Encoded.of(schema.encode(schema.CLUSTER, cluster.own(one)) + usage)


def _usage(http: Http, policy: Policy, mark: int) -> bytes:
    return schema.encode(schema.CLUSTER, cluster.usage(http, policy, mark))


def _endpoint_set(set: EndpointSet) -> Encoded:
    return Encoded.of(schema.encode(schema.ENDPOINTS, cluster.endpoints(set)))


def _table(memo: Memo, table: RouteTable) -> Encoded:
    head = schema.encode(schema.ROUTES, route.table_head(table.name))
    return Encoded.of(b"".join((head, *(memo.within(host.name, _host, host) for host in table.hosts))))


def _host(memo: Memo, host: VirtualHost) -> bytes:
    """As a field of the table it is in."""
    head = schema.encode(_HOST, route.host_head(host.name, host.domains))
    routes = (memo.within(id(one), _route, one) for one in host.routes)
    return schema.embedded(schema.ROUTES, "virtual_hosts", b"".join((head, *routes)))


def _route(memo: Memo, one: Route) -> bytes:
    """As a field of its host. Callers have routes in common, and those for names and addresses do alike."""
    match = memo.once(_route_match, one.match)
    return schema.embedded(_HOST, "routes", match + memo.once(_unmatched, replace(one, match=_ANY)))


def _route_match(match: Match) -> bytes:
    return schema.encode(_ROUTE, route.route_match(match))


def _unmatched(one: Route) -> bytes:
    return schema.encode(_ROUTE, route.route(one))


def _listener(memo: Memo, entrance: Entrance, http: tuple[HttpChain, ...], shared: bytes) -> Encoded:
    head = memo.of("head", _listener_head, entrance)
    return Encoded.of(
        b"".join((head, *(memo.of(chain, _http_chain, entrance, chain) for chain in http), shared))
    )


def _listener_head(entrance: Entrance) -> bytes:
    return schema.encode(schema.LISTENER, listener.head(entrance))


def _http_chain(entrance: Entrance, chain: HttpChain) -> bytes:
    return _chain(schema.encode(_CHAIN, listener.http_chain(entrance, chain)))


def _shared(memo: Memo, inbound: bool, chains: tuple[TcpChain, ...], choice: Chooser) -> bytes:
    tree = schema.embedded(schema.LISTENER, "filter_chain_matcher", chooser(choice))
    return b"".join((*(memo.of(chain, _tcp_chain, inbound, chain) for chain in chains), tree))


def _tcp_chain(inbound: bool, chain: TcpChain) -> bytes:
    return _chain(schema.encode(_CHAIN, listener.tcp_chain(inbound, chain)))


def _chain(body: bytes) -> bytes:
    return schema.embedded(schema.LISTENER, "filter_chains", body)
