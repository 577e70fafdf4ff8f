"""From the plan to encoded resources. Parts that did not change since the last time are not encoded again.

A part is remembered by the identity of what it is made of: the plan keeps what has not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from meshlite.translate.envoy import (
    cluster,
    gateway,
    listener,
    patch_cluster,
    patch_listener,
    patch_routes,
    route,
    schema,
    tunnel,
    tunnel_listener,
)
from meshlite.translate.envoy.chooser import chooser
from meshlite.translate.envoy.patch import Patched, Reference
from meshlite.translate.envoy.patch_place import AtGateway, Captured, Place
from meshlite.translate.memo import Memo
from meshlite.translate.plan.cluster import BLACK_HOLE, Cluster, EndpointSet, Http, InboundCluster, Policy
from meshlite.translate.plan.gateway_listener import GatewayListener
from meshlite.translate.plan.guard import Guard
from meshlite.translate.plan.listener import Chooser, Entrance, HttpChain, Listener, TcpChain
from meshlite.translate.plan.nodeplan import NodePlan
from meshlite.translate.plan.patch import Added, AddedListener, Patch
from meshlite.translate.plan.resources import Told
from meshlite.translate.plan.route import Match, Route, RouteTable, VirtualHost
from meshlite.translate.plan.tunnel import Tunnel
from meshlite.translate.translation import Encoded

_CHAIN = "envoy.config.listener.v3.FilterChain"
_HOST = "envoy.config.route.v3.VirtualHost"
_ROUTE = "envoy.config.route.v3.Route"
_ANY = Match()

Resources = Mapping[str, Encoded]
"""Serialized resources of one type by name."""


def emit(memo: Memo, plan: NodePlan) -> tuple[Mapping[str, Resources], Told]:
    """All resources by type URL, and what is wrong with patches."""
    known = plan.endpoints if plan.added_clusters else ()
    clusters, endpoints = memo.within("added", _added_clusters, plan.added_clusters, known, plan.mark)
    listeners = memo.of("raised", _added_listeners, plan.added_listeners)
    if plan.tunnel is not None:
        inside = plan.tunnel
        listeners = {**listeners, **memo.of("tunnels", _tunnel_listeners, inside)}
        clusters = {**clusters, tunnel.OUT: memo.of("out", _tunnel_cluster, inside.trust_domains, plan.mark)}
    batches = {
        schema.CLUSTER: memo.within(
            schema.CLUSTER, _clusters, plan.clusters, plan.inbound, plan.mark, clusters
        ),
        schema.ENDPOINTS: memo.within(schema.ENDPOINTS, _endpoints, (*plan.endpoints, *endpoints)),
        schema.LISTENER: memo.within(schema.LISTENER, _listeners, plan.listeners, plan.gateways, listeners),
        schema.ROUTES: memo.within(schema.ROUTES, _tables, plan.tables),
    }
    told = (one for batch in batches.values() for one in batch.told)
    used = frozenset(one for batch in batches.values() for one in batch.used)
    resources = {type_url: batch.resources for type_url, batch in batches.items()}
    return resources, (*told, *memo.of("unused", _unused, plan, used))


@dataclass(frozen=True, slots=True)
class Batch:
    """The resources of one type, the patches that found what they match, and what is wrong with them."""

    resources: Resources
    used: frozenset[Reference] = frozenset()
    told: Told = ()


Made = Mapping[str, Encoded | Patched]


def _batch(made: Made) -> Batch:
    patched = [one for one in made.values() if isinstance(one, Patched)]
    if not patched:
        return Batch({name: made[name] for name in sorted(made)})  # type: ignore[misc]
    bodies = ((name, one.encoded if isinstance(one, Patched) else one) for name, one in sorted(made.items()))
    return Batch(
        {name: body for name, body in bodies if body is not None},
        frozenset(one for each in patched for one in each.used),
        tuple(dict.fromkeys(one for each in patched for one in each.told)),
    )


def _unused(plan: NodePlan, used: frozenset[Reference]) -> Told:
    """Patches that select something here and match nothing of it."""
    lists = (
        *(one.patches for one in plan.listeners),
        *(one.patches for one in plan.gateways),
        *(one.patches for one in plan.tables),
        *(one.patches for one in plan.clusters if one.patches),
        *(one.patches for one in plan.inbound),
    )
    all = {(patch.key, patch.place): patch for patches in lists for patch in patches}
    reason = "matches nothing of what Envoy has on this node"
    return tuple(
        (key, f"spec.configPatches[{place}]: {reason}")
        for (key, place), patch in all.items()
        if (key, place) not in used and patch.apply_to != "EXTENSION_CONFIG"
    )


def _clusters(
    memo: Memo, clusters: tuple[Cluster, ...], inbound: tuple[InboundCluster, ...], mark: int, added: Made
) -> Batch:
    own = {name: memo.of(name, _original, name, source, mark) for name, source in cluster.ORIGINAL.items()}
    own[BLACK_HOLE] = memo.of(BLACK_HOLE, _black_hole)
    plain = memo.each_within("own", _cluster, {one.name: one for one in clusters})
    made: dict[str, Encoded | Patched] = {**added, **own, **plain}
    for one in clusters:
        if one.patches:
            made[one.name] = memo.of(
                ("patched", one.name), patch_cluster.cluster, plain[one.name], one.patches, one.host
            )
    for door in inbound:
        made[door.name] = own_door = memo.of(door.name, _inbound, door)
        if door.patches:
            name = ("patched", door.name)
            made[door.name] = memo.of(name, patch_cluster.cluster, own_door, door.patches, door.host)
    return _batch(made)


def _endpoints(memo: Memo, sets: tuple[EndpointSet, ...]) -> Batch:
    return _batch(memo.each_within("own", _endpoint_set, {set.cluster: set for set in sets}))


def _listeners(
    memo: Memo, listeners: tuple[Listener, ...], gateways: tuple[GatewayListener, ...], added: Made
) -> Batch:
    """Choosers and TCP chains are the same for many listeners, so they are put together once for all."""
    made = dict(added)
    shared: dict[tuple[bool, int, int], bytes] = {}
    for one in listeners:
        name, inbound = one.entrance.name, one.entrance.inbound
        kind = (inbound, id(one.tcp), id(one.chooser))
        if kind not in shared:
            shared[kind] = memo.within(kind, _shared, inbound, one.tcp, one.chooser)
        made[name] = plain = memo.within(name, _listener, one.entrance, one.http, shared[kind])
        if one.patches:
            made[name] = _patched(memo, name, plain, Captured(one.entrance), one.patches)
    for door in gateways:
        name = door.entrance.name
        made[name] = plain = memo.of(name, _gateway, replace(door, patches=()))
        if door.patches:
            made[name] = _patched(memo, name, plain, AtGateway.of(door), door.patches)
    return _batch(made)


def _patched(memo: Memo, name: str, plain: Encoded, place: Place, patches: tuple[Patch, ...]) -> Patched:
    return memo.of(("patched", name), patch_listener.listener, plain, place, patches)


def _tables(memo: Memo, tables: tuple[RouteTable, ...]) -> Batch:
    made: dict[str, Encoded | Patched] = {}
    for one in tables:
        made[one.name] = plain = memo.within(one.name, _table, one)
        if one.patches:
            made[one.name] = memo.of(("patched", one.name), patch_routes.table, plain, one.patches)
    return _batch(made)


def _added_clusters(
    memo: Memo, added: tuple[Added, ...], endpoints: tuple[EndpointSet, ...], mark: int
) -> tuple[Made, tuple[EndpointSet, ...]]:
    """The first of a name counts; a later one that differs is told of."""
    known = {set.cluster: set for set in endpoints}
    made: dict[str, Encoded | Patched] = {}
    sets = []
    for one in added:
        patched, set = patch_cluster.added(one, known, mark)
        name = str(one.patch.value.get("name", ""))
        if name not in made:
            made[name] = patched
            sets += [set] if set is not None else []
        elif (first := made[name]) and isinstance(first, Patched) and first.encoded != patched.encoded:
            place = f"spec.configPatches[{one.patch.place}]"
            reason = f"{place}: a cluster {name} that differs is added before: all of a node share clusters"
            made[name] = replace(first, told=(*first.told, (one.patch.key, reason)))
    return made, tuple(sets)


def _added_listeners(added: tuple[AddedListener, ...]) -> Made:
    return {
        f"{one.patch.value.get('name', '')}/{one.key}": patch_listener.added(one.patch, one.key, one.path)
        for one in added
    }


def _tunnel_listeners(inside: Tunnel) -> Made:
    made = (tunnel_listener.listener(inside), tunnel.listener())
    return {one["name"]: Encoded.of(schema.encode(schema.LISTENER, one)) for one in made}


def _tunnel_cluster(trust_domains: tuple[str, ...], mark: int) -> Encoded:
    return Encoded.of(schema.encode(schema.CLUSTER, tunnel.cluster(trust_domains, mark)))


def _original(name: str, source: str, mark: int) -> Encoded:
    return Encoded.of(schema.encode(schema.CLUSTER, cluster.original(name, source, mark)))


def _black_hole() -> Encoded:
    return Encoded.of(schema.encode(schema.CLUSTER, cluster.black_hole()))


def _cluster(memo: Memo, one: Cluster) -> Encoded:
    usage = memo.once(_usage, one.http, one.policy, one.mark, one.guard, one.mixed)
    return Encoded.of(schema.encode(schema.CLUSTER, cluster.own(one)) + usage)


def _inbound(one: InboundCluster) -> Encoded:
    return Encoded.of(schema.encode(schema.CLUSTER, cluster.inbound(one)))


def _usage(http: Http, policy: Policy, mark: int, guard: Guard, mixed: bool) -> bytes:
    return schema.encode(schema.CLUSTER, cluster.usage(http, policy, mark, guard, mixed))


def _endpoint_set(memo: Memo, set: EndpointSet) -> Encoded:
    return Encoded.of(schema.encode(schema.ENDPOINTS, cluster.endpoints(set)))


def _table(memo: Memo, table: RouteTable) -> Encoded:
    head = schema.encode(schema.ROUTES, route.table_head(table.name))
    hosts = {host.name: host for host in table.hosts}
    return Encoded.of(b"".join((head, *memo.each_within("hosts", _host, hosts).values())))


def _host(memo: Memo, host: VirtualHost) -> bytes:
    """As a field of the table it is in."""
    head = schema.encode(_HOST, route.host_head(host.name, host.domains, host.encrypted))
    routes = {id(one): one for one in host.routes}
    made = memo.each_within("routes", _route, routes)
    return schema.embedded(
        schema.ROUTES, "virtual_hosts", b"".join((head, *(made[id(one)] for one in host.routes)))
    )


def _route(memo: Memo, one: Route) -> bytes:
    """As a field of its host. Callers have routes in common, and those for names and addresses do alike."""
    match = memo.once(_route_match, one.match)
    return schema.embedded(_HOST, "routes", match + memo.once(_unmatched, replace(one, match=_ANY)))


def _route_match(match: Match) -> bytes:
    return schema.encode(_ROUTE, route.route_match(match))


def _unmatched(one: Route) -> bytes:
    return schema.encode(_ROUTE, route.route(one))


def _gateway(one: GatewayListener) -> Encoded:
    return Encoded.of(schema.encode(schema.LISTENER, gateway.listener(one)))


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
    """A door where only one thing is spoken has one chain and no choice."""
    tree = chooser(choice)
    matcher = schema.embedded(schema.LISTENER, "filter_chain_matcher", tree) if tree else b""
    return b"".join((*(memo.of(chain, _tcp_chain, inbound, chain) for chain in chains), matcher))


def _tcp_chain(inbound: bool, chain: TcpChain) -> bytes:
    return _chain(schema.encode(_CHAIN, listener.tcp_chain(inbound, chain)))


def _chain(body: bytes) -> bytes:
    return schema.embedded(schema.LISTENER, "filter_chains", body)
