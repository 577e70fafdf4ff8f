"""Decides what the ports of a gateway do: listeners with their chains, and the route tables behind them.

Sources: https://istio.io/latest/docs/reference/config/networking/gateway/ and
https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import yaml

from meshlite.model.names import resolve_known
from meshlite.model.networking import (
    Gateway,
    L4MatchAttributes,
    RouteDestination,
    TLSMatchAttributes,
    VirtualService,
)
from meshlite.model.rules.gateway import TOPOLOGY
from meshlite.model.rules.virtual_service import covers
from meshlite.translate.memo import Memo
from meshlite.translate.plan.destinations import Destinations
from meshlite.translate.plan.gateway import PARTIAL, Gate, Opened, Serving, partial
from meshlite.translate.plan.gateway_listener import GatewayChain, GatewayListener
from meshlite.translate.plan.listener import Entrance, Source
from meshlite.translate.plan.resources import Applied, Told, visible
from meshlite.translate.plan.route import Route, RouteTable, VirtualHost
from meshlite.translate.plan.routing import Context, bound, destination_cluster, place, rank, routes
from meshlite.translate.plan.server_tls import server_tls


@dataclass(frozen=True)
class Edge:
    """A gateway's listeners and the tables they follow."""

    listeners: tuple[GatewayListener, ...]
    tables: tuple[RouteTable, ...]

    @property
    def ports(self) -> frozenset[int]:
        return frozenset(one.entrance.port for one in self.listeners)


def edge(
    memo: Memo,
    opened: Opened,
    applied: tuple[Applied[VirtualService], ...],
    view: Destinations,
    trust_domain: str,
) -> tuple[Edge, Told]:
    """What a gateway does, and what is wrong with resources. `view`: the gateway as a caller."""
    gate, namespace = opened.gate, opened.gate.workload.namespace
    candidates = [one for one in applied if visible(one.spec.export_to, one.namespace, namespace)]
    candidates.sort(key=rank)
    identity = str(gate.workload.identity(trust_domain))
    listeners, tables, told = [], [], []
    places = sorted({(serving.bind, serving.server.port.number) for serving in opened.servings})
    for bind, port in places:
        group = tuple(s for s in opened.servings if (s.bind, s.server.port.number) == (bind, port))
        made = _Chains(memo, gate, bind, port, tuple(candidates), view)
        chains = tuple(made.of(group))
        tables += made.tables
        told += made.told
        if chains:
            listeners.append(_listener(gate, bind, port, group, chains, identity))
    return Edge(tuple(listeners), tuple(tables)), tuple(told)


def _listener(
    gate: Gate,
    bind: str,
    port: int,
    group: tuple[Serving, ...],
    chains: tuple[GatewayChain, ...],
    identity: str,
) -> GatewayListener:
    addresses = (bind,) if bind else gate.addresses
    name = f"{addresses[0]}_{port}"
    workload = gate.workload
    source = Source(identity, f"{workload.namespace}/{workload.name}", gate.path)
    topologies = [topology(serving.gateway) for serving in group]
    return GatewayListener(
        Entrance(
            f"gateway/{gate.attachment}/{name}" if gate.attachment else name,
            False,
            addresses,
            port,
            source,
            (),
        ),
        chains,
        tuple(dict.fromkeys(serving.gateway.key for serving in group)),
        proxy_protocol=any(one.proxy_protocol for one in topologies),
        trusted_proxies=max(one.trusted_proxies for one in topologies),
    )


@dataclass(frozen=True)
class Topology:
    """What stands in front of a gateway."""

    proxy_protocol: bool = False
    trusted_proxies: int = 0


def topology(gateway: Applied[Gateway]) -> Topology:
    """From the Gateway's annotation; what cannot be read says nothing, since it was judged when applied."""
    try:
        read = yaml.safe_load(gateway.resource.annotations.get(TOPOLOGY, "")) or {}
        found = read.get("gatewayTopology") or {}
        return Topology("proxyProtocol" in found, int(found.get("numTrustedProxies", 0)))
    except (yaml.YAMLError, AttributeError, TypeError, ValueError):
        return Topology()


@dataclass
class _Chains:
    """Makes the chains of one port; `tables` are those that they follow, `told` what is wrong."""

    memo: Memo
    gate: Gate
    bind: str
    port: int
    applied: tuple[Applied[VirtualService], ...]
    view: Destinations
    tables: list[RouteTable] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    _taken: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)

    def _context(self, serving: Serving) -> Context:
        return _context(self.view, self.port, serving.name, self.told)

    def of(self, group: tuple[Serving, ...]) -> Iterator[GatewayChain]:
        plain = tuple(serving for serving in group if serving.http and not serving.encrypted)
        if plain:
            name = self._named(f"http.{self.port}{f'.{self.bind}' if self.bind else ''}")
            self.tables.append(self._table(name, plain))
            web = any(serving.protocol == "GRPC-WEB" for serving in plain)
            yield GatewayChain(name, table=name, grpc_web=web)
        for serving in group:
            if serving.passed:
                yield from self._distinct(serving, self._passed(serving))
            elif serving.http and serving.encrypted:
                yield from self._distinct(serving, (self._https(serving),))
        yield from self._tcp(tuple(s for s in group if not s.http and not s.passed))

    def _distinct(self, serving: Serving, chains: Iterable[GatewayChain]) -> Iterator[GatewayChain]:
        """Each server name leads to one chain: Envoy refuses a port where two claim the same."""
        for chain in chains:
            names = chain.server_names or ("*",)
            free = tuple(name for name in names if (name, chain.subnets) not in self._taken)
            if len(free) < len(names):
                lost = ", ".join(name for name in names if name not in free)
                self.told.append((serving.gateway.key, f"port {self.port}: {lost} is already served there"))
            self._taken.update((name, chain.subnets) for name in free)
            if free:
                yield replace(chain, server_names=_server_names(free))

    def _named(self, name: str) -> str:
        """The gateways of every node that face outward have Istio's names, others say whose they are."""
        if not self.gate.attachment and not self.gate.private:
            return name
        return f"{name}/{self.gate.workload.namespace}/{self.gate.workload.name}"

    # HTTP

    def _https(self, serving: Serving) -> GatewayChain:
        port, gateway = serving.server.port, serving.gateway
        name = f"https.{port.number}.{port.name}.{gateway.resource.name}.{gateway.namespace}"
        name = self._named(name)
        self.tables.append(self._table(name, (serving,)))
        return GatewayChain(
            name,
            encrypted=True,
            server_names=_server_names(host for _, host in serving.hosts),
            tls=server_tls(serving, self.gate),
            table=name,
        )

    def _table(self, name: str, servings: tuple[Serving, ...]) -> RouteTable:
        """Hosts that several VirtualServices or servers have get the routes of all, in order."""
        found: dict[str, list[Route]] = {}
        redirected: dict[str, bool] = {}
        for serving in servings:
            tls = serving.server.tls
            sent = tls is not None and tls.https_redirect
            for owner, hosts in self._bound(serving):
                key = ("routes", self.bind, self.port, serving.name, owner.key)
                made, told = self.memo.of(key, _routes, owner, self.view, self.port, serving.name)
                self.told += told
                for host in hosts if made else ():
                    found.setdefault(host, []).extend(made)
                    redirected[host] = redirected.get(host, False) or sent
            for _, host in serving.hosts if sent else ():
                redirected.setdefault(host, True)
        made_hosts = (
            VirtualHost(
                f"{host}:{self.port}",
                (f"[{host}]" if ":" in host else host,),
                tuple(_ordered(found.get(host, []))),
                redirected[host],
            )
            for host in redirected
        )
        return RouteTable(name, tuple(made_hosts))

    def _bound(self, serving: Serving) -> Iterator[tuple[Applied[VirtualService], tuple[str, ...]]]:
        """VirtualServices of a server, each with the hosts that both have."""
        for owner in self.applied:
            if not bound(owner, owner.spec.gateways, serving.name):
                continue
            known = self.view.known.services
            wanted = [
                host if ":" in host else resolve_known(host, owner.namespace, known)
                for host in owner.spec.hosts
            ]
            allowed = [host for space, host in serving.hosts if space in ("*", owner.namespace)]
            common = dict.fromkeys(both for one in allowed for two in wanted if (both := _both(one, two)))
            if common:
                yield owner, tuple(common)

    # TLS that goes through, and TCP

    def _passed(self, serving: Serving) -> Iterator[GatewayChain]:
        context = self._context(serving)
        for owner, hosts in self._bound(serving):
            for number, rule in enumerate(owner.spec.tls):
                for match in rule.match:
                    if not _applies(owner, match, context):
                        continue
                    names = tuple(
                        dict.fromkeys(
                            both
                            for one in hosts
                            for two in match.sni_hosts
                            if (both := _both(one, two.lower()))
                        )
                    )
                    if names := tuple(self._whole(names, owner)):
                        name = f"tls[{number}]/{names[0]}/{owner.namespace}/{owner.resource.name}"
                        chain = self._shared(name, owner, rule.route, context)
                        yield replace(
                            chain,
                            encrypted=True,
                            server_names=_server_names(names),
                            subnets=match.destination_subnets,
                        )

    def _whole(self, names: Iterable[str], owner: Applied[VirtualService]) -> Iterator[str]:
        """Names that Envoy can tell apart by what TLS clients ask for."""
        for name in names:
            if partial(name):
                self.told.append((owner.key, f"{name}: {PARTIAL}"))
            else:
                yield name

    def _tcp(self, servings: tuple[Serving, ...]) -> Iterator[GatewayChain]:
        """A chain for each server whose TLS ends here; one for all that are plain: the first with a route."""
        plain = False
        for serving in servings:
            if plain and not serving.encrypted:
                continue
            chain = self._tcp_chain(serving)
            if chain is None:
                where = f"port {self.port}: no VirtualService has a tcp route for it"
                self.told.append((serving.gateway.key, f"{where}; the port is not served"))
            elif serving.encrypted:
                names = _server_names(host for _, host in serving.hosts)
                tls = server_tls(serving, self.gate)
                ended = replace(chain, encrypted=True, server_names=names, tls=tls)
                yield from self._distinct(serving, (ended,))
            else:
                plain = True
                yield chain

    def _tcp_chain(self, serving: Serving) -> GatewayChain | None:
        context = self._context(serving)
        for owner, _ in self._bound(serving):
            for number, rule in enumerate(owner.spec.tcp):
                matches = rule.match or (L4MatchAttributes(),)
                if any(_applies(owner, match, context) for match in matches):
                    name = f"tcp[{number}]/{serving.server.port.name}/{owner.namespace}/{owner.resource.name}"
                    return self._shared(name, owner, rule.route, context)
        return None

    def _shared(
        self, name: str, owner: Applied[VirtualService], route: Sequence[RouteDestination], context: Context
    ) -> GatewayChain:
        parts = [part for part in route if part.weight or len(route) == 1]
        host, port = place(owner, parts[0].destination, context)
        policy = context.destinations.policy(host, parts[0].destination.subset, port)
        key = policy.balancer.hash_key
        return GatewayChain(
            name,
            shares=tuple(
                (destination_cluster(owner, part.destination, context), part.weight or 1) for part in parts
            ),
            idle=policy.pool.tcp_idle,
            hash_address=key is not None and key.kind == "address",
        )


def _context(view: Destinations, port: int, gateway: str, told: list[tuple[str, str]]) -> Context:
    def report(resource: str, reason: str) -> None:
        told.append((resource, reason))

    return Context(view.caller, port, view.known, view, report, gateway)


def _routes(
    owner: Applied[VirtualService], view: Destinations, port: int, gateway: str
) -> tuple[tuple[Route, ...], Told]:
    told: list[tuple[str, str]] = []
    return routes(owner, _context(view, port, gateway, told)), tuple(told)


def _applies(
    owner: Applied[VirtualService], match: L4MatchAttributes | TLSMatchAttributes, context: Context
) -> bool:
    return (
        bound(owner, match.gateways or owner.spec.gateways, context.gateway)
        and match.port in (0, context.port)
        and match.source_namespace in ("", context.caller.namespace)
        and context.caller.has(match.source_labels)
    )


def _both(one: str, other: str) -> str:
    """The names that both hosts mean, as a host; empty: none."""
    if covers(one, other):
        return other
    return one if covers(other, one) else ""


def _server_names(hosts: Iterable[str]) -> tuple[str, ...]:
    """Nothing, which is any name, where some host stands for all."""
    names = tuple(dict.fromkeys(hosts))
    return () if "*" in names else names


def _ordered(routes: list[Route]) -> Iterator[Route]:
    """What takes everything comes last, whoever it is from, and only once."""
    yield from (route for route in routes if not route.match.everything)
    yield from [route for route in routes if route.match.everything][:1]
