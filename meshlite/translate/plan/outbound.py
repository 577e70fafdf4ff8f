"""Decides how connections that a workload opens are taken: by the address and port it dialled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from meshlite.model.networking import VirtualService
from meshlite.translate.plan import tcp_route
from meshlite.translate.plan.catalog import Callee, Catalog, ServicePort
from meshlite.translate.plan.cluster import BLACK_HOLE, PASSTHROUGH
from meshlite.translate.plan.condition import Test
from meshlite.translate.plan.destinations import Destinations
from meshlite.translate.plan.extension import Extension
from meshlite.translate.plan.guard import Rules, Verdicts, verdicts
from meshlite.translate.plan.guards import ServiceGuard
from meshlite.translate.plan.listener import (
    ByName,
    ByProtocol,
    Choice,
    Chooser,
    Chosen,
    Denied,
    HttpChain,
    Judged,
    PortChoice,
    TcpChain,
)
from meshlite.translate.plan.resources import Applied, Told
from meshlite.translate.plan.route import Text
from meshlite.translate.plan.routing import Context
from meshlite.translate.plan.scope import Bound
from meshlite.translate.plan.tunnel import AS_BYTES

SERVER_FIRST = (21, 22, 23, 25, 110, 119, 143, 587, 2525, 3306, 33060)
"""Ports where the server is known to speak first: waiting for the client's first bytes would delay it."""

_PASSTHROUGH = TcpChain("passthrough", PASSTHROUGH)
_FENCE = TcpChain("blackhole", BLACK_HOLE)
_UNKNOWN = {PASSTHROUGH: _PASSTHROUGH, BLACK_HOLE: _FENCE}


@dataclass(frozen=True)
class Outbound:
    """What all listeners of one group of callers have in common.

    `bound`: listeners beside the one for what is captured, as parts of it.
    """

    http: tuple[HttpChain, ...]
    tcp: tuple[TcpChain, ...]
    chooser: Chooser
    silent_ports: tuple[int, ...]
    bound: tuple[BoundListener, ...] = ()


@dataclass(frozen=True)
class BoundListener:
    """What takes connections to one port of a workload's own loopback."""

    port: int
    addresses: tuple[str, ...]
    http: tuple[HttpChain, ...]
    tcp: tuple[TcpChain, ...]
    chooser: Chooser
    silent: bool


Owners = tuple[Applied[VirtualService], ...]


def outbound(
    view: Destinations,
    connections: Mapping[str, Owners],
    table_ports: tuple[int, ...],
    fenced: Text,
    guards: Mapping[str, ServiceGuard],
    far: frozenset[str],
) -> tuple[Outbound, Told]:
    """`connections`: see Selected. `table_ports`: ports with a route table; on others nothing is HTTP.

    `far`: keys of services with replicas on other nodes, to which bytes go in another way than requests.
    """
    services = view.services
    network = tuple(one for one in view.extensions if one.network and not one.ports)
    unknown = _UNKNOWN.get(view.unknown) or TcpChain("egress", as_bytes(view.unknown, view, far))
    unknown = replace(unknown, extensions=network) if unknown != _FENCE else unknown
    chains: dict[str, TcpChain] = {}
    choices, told = [], []
    bound = {one.port.number: one for one in view.scope.bound}
    own: list[tuple[Bound, Choice]] = []
    for port in sorted({*services.by_port, *table_ports, *bound}):
        context = Context(view.caller, port, view.known, view, lambda *problem: told.append(problem))
        found = _Port(context, connections, chains, far)
        if port in bound:
            choices.append(found.bound(bound[port], unknown.name))
            own += [] if bound[port].captured else [(bound[port], found.within(bound[port]))]
        else:
            choices.append(found.choice(f"http/{port}" if port in table_ports else "", unknown.name))
    judged, denied = _judged(chains.values(), view, guards)
    http = tuple(
        HttpChain(f"http/{port}", view.caller.table(port), extensions=_on(view, port)) for port in table_ports
    )
    tcp = tuple(dict.fromkeys((*chains.values(), *denied, unknown, _FENCE)))
    listeners = (_listener(one, choice, http, tcp, judged) for one, choice in own)
    looked_at = {one.port.number for one in bound.values() if one.port.tls or not one.port.declared}
    made = Outbound(
        http,
        tcp,
        Chooser(tuple(choices), unknown.name, fenced=fenced, fence=_FENCE.name, judged=judged),
        tuple(port for port in silent_ports(services) if port not in looked_at),
        tuple(listeners),
    )
    return made, tuple(told)


def _listener(
    bound: Bound,
    choice: Choice,
    http: tuple[HttpChain, ...],
    tcp: tuple[TcpChain, ...],
    judged: tuple[Judged, ...],
) -> BoundListener:
    """With those of the chains that connections to it may come to."""
    port = bound.port.number
    found = dict.fromkeys(bound.addresses, choice)
    used = set(_chains(choice)) | {_FENCE.name}
    asked = tuple(one for one in judged if one.chain in used)
    used |= {denial for one in asked for _, denial in one.verdicts}
    return BoundListener(
        port,
        bound.addresses,
        tuple(chain for chain in http if chain.name in used),
        tuple(chain for chain in tcp if chain.name in used),
        Chooser((PortChoice(port, _FENCE.name, tuple(sorted(found.items()))),), _FENCE.name, judged=asked),
        bound.port.declared and not bound.port.tls,
    )


def _chains(choice: Choice) -> Iterator[str]:
    if isinstance(choice, ByProtocol):
        yield choice.http
        choice = choice.otherwise
    if isinstance(choice, ByName):
        yield from (chain for _, chain in choice.names)
        choice = choice.otherwise
    yield choice


def _on(view: Destinations, port: int) -> tuple[Extension, ...]:
    return tuple(one for one in view.extensions if one.on(port))


def silent_ports(services: Catalog) -> tuple[int, ...]:
    """Ports where nothing is looked at: the server speaks first, or every protocol there is declared.

    Envoy knows only ports here, not addresses. Where a declared TCP service shares its port with one that
    must be looked at, since its protocol is not declared or its clients may be asked for a server name,
    looking wins, and a server that speaks first is late by its timeout. Routes have no say, ServiceEntries
    one only where they need it: they come and go, and a listener that changes drains connections.
    """
    ports = [(service, port) for service in services.services.values() for port in service.ports.values()]
    found = [port for service, port in ports if not service.external]
    declared = {port.number for port in found if port.http == "none"}
    looked_at = {port.number for port in found if port.tls or not port.declared}
    looked_at |= {port.number for service, port in ports if _named(service, port)}
    return tuple(sorted((declared | {*SERVER_FIRST}) - looked_at))


def _named(service: Callee, port: ServicePort) -> bool:
    """Whether its callers may be known by nothing but the name that they ask for."""
    told = port.tls or (port.declared and port.http != "none")
    return service.external and told and not service.virtual


@dataclass(frozen=True)
class _Port:
    """One port as a group of callers finds it. `chains` are those that are needed, by name."""

    context: Context
    connections: Mapping[str, Owners]
    chains: dict[str, TcpChain]
    far: frozenset[str]

    def choice(self, http: str, otherwise: str) -> PortChoice:
        """By virtual addresses and the replicas' own ones; any other address by what is spoken.

        `http`: the chain for it, empty if it is not looked for.
        """
        port = self.context.port
        services = self.context.destinations.services.on_port(port)
        declared: dict[str, Choice] = {}
        detected: dict[str, Choice] = {}
        shared = _shared(services, port)
        for service in services:
            into = declared if service.ports[port].declared else detected
            for subset, addresses in _addresses(service, port):
                for address in addresses:
                    if not (address in declared or address in detected or shared[address] > 1):
                        into[address] = self.chain(service, address, subset)
        return PortChoice(
            port,
            next(self._anywhere(services), otherwise),
            tuple(sorted(declared.items(), key=_key)),
            http,
            tuple(sorted(detected.items(), key=_key)),
            self._ranges(services),
            self._names(services),
        )

    def bound(self, bound: Bound, otherwise: str) -> PortChoice:
        """By the addresses that it is bound to; other addresses are strangers'."""
        addresses = bound.addresses if bound.captured else ()
        return PortChoice(
            self.context.port, otherwise, tuple((address, self.within(bound)) for address in addresses)
        )

    def within(self, bound: Bound) -> Choice:
        """For connections that name no service by their address: what is not HTTP goes to the first there is,
        TLS to the one whose name is asked for.
        """
        port, http = bound.port, f"http/{bound.port.number}"
        if port.declared and port.http != "none":
            return http
        services = self.context.destinations.services.on_port(port.number)
        first = next((self._plain(service, port.tls) for service in services), _FENCE.name)
        if port.tls:
            return ByName(tuple(self._greeted(services)), _FENCE.name if len(services) > 1 else first)
        return first if port.declared else ByProtocol(http, first)

    def _plain(self, service: Callee, tls: bool) -> str:
        """The chain for bytes, whatever the service's own port is declared to be."""
        owners = self.connections.get(service.fqdn, ())
        plain = None if tls else tcp_route.tcp_route(owners, "", self.context)
        return self._keep(plain) if plain is not None else self._default(service)

    def _greeted(self, services: tuple[Callee, ...]) -> Iterator[tuple[str, str]]:
        for service in services:
            routed = self._routed(self.connections.get(service.fqdn, ()), "")
            yield from routed or ((service.fqdn, self._default(service)),)

    def chain(self, service: Callee, address: str, subset: str = "") -> str | ByName:
        """The chain for connections to an address, or a subnet.

        What is not HTTP goes, as in Istio, on a port declared to be TLS by TLS routes, and what they do not
        name goes nowhere; on one declared to be anything else by TCP routes.
        """
        number = self.context.port
        port = service.ports[number]
        if port.declared and port.http != "none":
            return f"http/{number}"
        owners = self.connections.get(service.fqdn, ()) if not subset else ()
        names = self._routed(owners, address) if port.tls or not port.declared else ()
        plain = None if port.tls else tcp_route.tcp_route(owners, address, self.context)
        if plain is not None:
            otherwise = self._keep(plain)
        elif port.tls and names:
            otherwise = _FENCE.name
        else:
            otherwise = self._default(service, subset)
        return ByName(names, otherwise) if names else otherwise

    def _routed(self, owners: Owners, address: str) -> tuple[tuple[str, str], ...]:
        """Server names that TLS routes take, with their chains."""
        found = tuple(tcp_route.tls_routes(owners, address, self.context))
        return tuple((name, self._keep(chain)) for name, chain in found)

    def _default(self, service: Callee, subset: str = "") -> str:
        """The chain to the service itself."""
        destinations, port = self.context.destinations, self.context.port
        cluster = destinations.cluster(service.fqdn, subset, port)
        policy = destinations.policy(service.fqdn, "", port)
        made = tcp_route.chain(f"tcp/{cluster}", [(cluster, 1)], policy)
        if service.discovery == "dynamic":
            made = replace(made, named_port=port)
        return self._keep(made)

    def _keep(self, chain: TcpChain) -> str:
        """With what looks at connections to the port."""
        looking = _on(self.context.destinations, self.context.port)
        network = tuple(one for one in looking if one.network)
        view = self.context.destinations
        self.chains[chain.name] = replace(
            chain,
            extensions=network,
            cluster=as_bytes(chain.cluster, view, self.far),
            shares=tuple((as_bytes(name, view, self.far), weight) for name, weight in chain.shares),
        )
        return chain.name

    def _ranges(self, services: tuple[Callee, ...]) -> Chosen:
        """The first service that has a subnet gets what is dialled there, smaller subnets first.

        Those that its routes tell apart are among them.
        """
        found: dict[str, Choice] = {}
        for service in services:
            owners = self.connections.get(service.fqdn, ())
            for wide in service.ranges:
                for subnet in (*tcp_route.subnets(owners, wide), wide):
                    found.setdefault(subnet, self.chain(service, subnet))
        return tuple(sorted(found.items(), key=lambda item: (-int(item[0].partition("/")[2]), item[0])))

    def _names(self, services: tuple[Callee, ...]) -> tuple[tuple[str, str], ...]:
        """Names of declared TLS services, wherever they are dialled: whole ones, then the longest wildcards.

        Where TLS routes are for a service, the names that they take stand for its own.
        """
        found: dict[str, str] = {}
        for service in services:
            if service.external and service.ports[self.context.port].tls:
                names = self._routed(self.connections.get(service.fqdn, ()), "")
                for name, chain in names or ((service.fqdn, self._default(service)),):
                    found.setdefault(name, chain)
        return tuple(
            sorted(found.items(), key=lambda item: (item[0].startswith("*"), -len(item[0]), item[0]))
        )

    def _anywhere(self, services: tuple[Callee, ...]) -> Iterator[str]:
        """Chains of services that no address and no name tells from others: they get what is left, as in
        Istio.
        """
        for service in services:
            known = service.ports[self.context.port]
            told = service.virtual or service.ranges or known.tls or (known.declared and known.http != "none")
            if not told:
                chosen = self.chain(service, "")
                yield chosen.otherwise if isinstance(chosen, ByName) else chosen


def as_bytes(cluster: str, view: Destinations, far: frozenset[str]) -> str:
    """The cluster that bytes go to, where it is another than the one for requests."""
    kind, _, rest = cluster.partition("|")
    port, _, fqdn, *_ = rest.split("|") if kind == "outbound" else ("", "", "")
    service = view.known.services.get(fqdn)
    if service is None or service.key not in far or service.discovery != "eds":
        return cluster
    known = service.ports.get(int(port))
    policy = view.policy(fqdn, rest.split("|")[1], int(port))
    if known is None or policy.tls is not None or policy.proxy_protocol:
        return cluster
    requests = policy.upgrade or known.http != "none"
    return cluster + AS_BYTES if requests else cluster


def _key(item: tuple[str, Choice]) -> str:
    return item[0]


def _shared(services: tuple[Callee, ...], port: int) -> Counter[str]:
    """How many TLS services have an address: of several the one is meant whose name is asked for."""
    return Counter(a for service in services if service.ports[port].tls for a in service.virtual)


def _addresses(service: Callee, port: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Subsets with the addresses that mean them: the whole service, and each replica by itself.

    Who dials a replica means that one: no VirtualService applies, as in Istio.
    """
    yield "", service.virtual
    for replica in service.addressed[port]:
        yield replica.subset, replica.addresses


def _judged(
    chains: Iterable[TcpChain], view: Destinations, guards: Mapping[str, ServiceGuard]
) -> tuple[tuple[Judged, ...], tuple[TcpChain, ...]]:
    """What connections to guarded services are asked, and the chains of what is denied.

    Where shares go to several services, a client is let in that none of them denies: which one it will be is
    not known yet.
    """
    judged: list[Judged] = []
    denied: dict[str, TcpChain] = {}
    for chain in chains:
        names = [chain.cluster] if chain.cluster else [name for name, _ in chain.shares]
        asked = [pair for name in dict.fromkeys(names) for pair in _verdicts(name, view, guards)]
        denied |= {ending.name: ending for _, ending in asked}
        if asked:
            found = tuple((test, ending.name) for test, ending in dict.fromkeys(asked))
            judged.append(Judged(chain.name, found))
    return tuple(judged), tuple(denied.values())


def _verdicts(
    cluster: str, view: Destinations, guards: Mapping[str, ServiceGuard]
) -> Iterator[tuple[Test, TcpChain]]:
    where, rules = target_rules(cluster, view, guards)
    asked = verdicts(rules)
    for (test, _), ending in zip(asked, denials(asked, where), strict=True):
        yield test, ending


def target_rules(cluster: str, view: Destinations, guards: Mapping[str, ServiceGuard]) -> tuple[str, Rules]:
    """The service and port behind a cluster, for people, and what stands before connections to it."""
    kind, _, rest = cluster.partition("|")
    port, _, fqdn, *_ = rest.split("|") if kind == "outbound" else ("", "", "")
    service = view.known.services.get(fqdn)
    if service is None:
        return cluster, Rules()
    return f"{fqdn}:{port}", guards[service.key].guard.rules.settled(int(port), ()).of_connections()


def denials(asked: Verdicts, destination: str) -> tuple[TcpChain, ...]:
    """A chain for each verdict that ends connections at once."""
    return tuple(
        TcpChain(f"denied/{destination}/{policy}", BLACK_HOLE, denied=Denied(policy, destination))
        for _, policy in asked
    )
