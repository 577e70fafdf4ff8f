"""Decides how connections that a workload opens are taken: by the address and port it dialled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from meshlite.translate.plan.catalog import Callee, Catalog, ServicePort
from meshlite.translate.plan.cluster import BLACK_HOLE, PASSTHROUGH
from meshlite.translate.plan.destinations import Destinations
from meshlite.translate.plan.extension import Extension
from meshlite.translate.plan.listener import Chooser, Chosen, HttpChain, PortChoice, TcpChain
from meshlite.translate.plan.route import Text

SERVER_FIRST = (21, 22, 23, 25, 110, 119, 143, 587, 2525, 3306, 33060)
"""Ports where the server is known to speak first: waiting for the client's first bytes would delay it."""

_PASSTHROUGH = TcpChain("passthrough", PASSTHROUGH)
_FENCE = TcpChain("blackhole", BLACK_HOLE)
_UNKNOWN = {PASSTHROUGH: _PASSTHROUGH, BLACK_HOLE: _FENCE}


@dataclass(frozen=True)
class Outbound:
    """What all listeners of one group of callers have in common."""

    http: tuple[HttpChain, ...]
    tcp: tuple[TcpChain, ...]
    chooser: Chooser
    silent_ports: tuple[int, ...]


def outbound(view: Destinations, table_ports: tuple[int, ...], fenced: Text) -> Outbound:
    """`table_ports`: ports that have a route table. On others nothing is HTTP."""
    services = view.services
    ports = sorted({*services.by_port, *table_ports})
    network = tuple(one for one in view.extensions if one.network and not one.ports)
    unknown = _UNKNOWN.get(view.unknown) or TcpChain("egress", view.unknown)
    unknown = replace(unknown, extensions=network) if unknown != _FENCE else unknown
    choices = tuple(
        _port(port, services.on_port(port), view, port in table_ports, unknown.name) for port in ports
    )
    return Outbound(
        tuple(
            HttpChain(f"http/{port}", view.caller.table(port), extensions=_on(view, port))
            for port in table_ports
        ),
        tuple(dict.fromkeys((*_tcp_chains(services, view), unknown, _FENCE))),
        Chooser(choices, unknown.name, fenced=fenced, fence=_FENCE.name),
        silent_ports(services),
    )


def _on(view: Destinations, port: int) -> tuple[Extension, ...]:
    return tuple(one for one in view.extensions if one.on(port))


def silent_ports(services: Catalog) -> tuple[int, ...]:
    """Ports where nothing is looked at: the server speaks first, or every protocol there is declared.

    Envoy knows only ports here, not addresses. Where a declared TCP service shares its port with one that
    must be looked at, looking wins, and a server that speaks first is late by its timeout. ServiceEntries
    have a say only where they need it: they come and go, and a listener that changes drains connections.
    """
    ports = [(service, port) for service in services.services.values() for port in service.ports.values()]
    found = [port for service, port in ports if not service.external]
    declared = {port.number for port in found if port.http == "none"}
    looked_at = {port.number for port in found if not port.declared}
    looked_at |= {port.number for service, port in ports if _named(service, port)}
    return tuple(sorted((declared | {*SERVER_FIRST}) - looked_at))


def _named(service: Callee, port: ServicePort) -> bool:
    """Whether its callers may be known by nothing but the name that they ask for."""
    told = port.tls or (port.declared and port.http != "none")
    return service.external and told and not service.virtual


def _port(
    port: int, services: tuple[Callee, ...], view: Destinations, http: bool, otherwise: str
) -> PortChoice:
    """By virtual addresses and the replicas' own ones; any other address by what is spoken."""
    declared: dict[str, str] = {}
    detected: dict[str, str] = {}
    shared = _shared(services, port)
    for service in services:
        known = service.ports[port]
        for subset, addresses in _addresses(service, port):
            chain = _chain(service, subset, port, view)
            for address in addresses:
                if not (address in declared or address in detected or shared[address] > 1):
                    (declared if known.declared else detected)[address] = chain
    return PortChoice(
        port,
        next(_anywhere(services, port, view), otherwise),
        tuple(sorted(declared.items())),
        f"http/{port}" if http else "",
        tuple(sorted(detected.items())),
        _ranges(services, port, view),
        _names(services, port, view),
    )


def _shared(services: tuple[Callee, ...], port: int) -> Counter[str]:
    """How many TLS services have an address: of several the one is meant whose name is asked for."""
    return Counter(a for service in services if service.ports[port].tls for a in service.virtual)


def _ranges(services: tuple[Callee, ...], port: int, view: Destinations) -> Chosen:
    """The first service that has a subnet gets what is dialled there, smaller subnets first."""
    found: dict[str, str] = {}
    for service in services:
        for subnet in service.ranges:
            found.setdefault(subnet, _chain(service, "", port, view))
    return tuple(sorted(found.items(), key=lambda item: (-int(item[0].partition("/")[2]), item[0])))


def _names(services: tuple[Callee, ...], port: int, view: Destinations) -> Chosen:
    """Names of declared TLS services, wherever they are dialled: whole ones, then the longest wildcards."""
    found = {
        service.fqdn: _chain(service, "", port, view)
        for service in services
        if service.external and service.ports[port].tls
    }
    return tuple(sorted(found.items(), key=lambda item: (item[0].startswith("*"), -len(item[0]), item[0])))


def _anywhere(services: tuple[Callee, ...], port: int, view: Destinations) -> Iterator[str]:
    """Chains of services that no address and no name tells from others: as in Istio they get what is left."""
    for service in services:
        known = service.ports[port]
        told = service.virtual or service.ranges or known.tls or (known.declared and known.http != "none")
        if not told:
            yield _tcp_name(service, "", port, view)


def _chain(service: Callee, subset: str, port: int, view: Destinations) -> str:
    known = service.ports[port]
    if known.declared and known.http != "none":
        return f"http/{port}"
    return _tcp_name(service, subset, port, view)


def _addresses(service: Callee, port: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Subsets with the addresses that mean them: the whole service, and each replica by itself."""
    yield "", service.virtual
    for replica in service.addressed[port]:
        yield replica.subset, replica.addresses


def _tcp_chains(services: Catalog, view: Destinations) -> Iterator[TcpChain]:
    """One chain for each port that is, or may turn out to be, plain TCP; and for each replica's."""
    for service in services.services.values():
        for port in service.ports.values():
            if port.declared and port.http != "none":
                continue
            policy = view.policy(service.fqdn, "", port.number)
            key = policy.balancer.hash_key
            for subset, _ in _addresses(service, port.number):
                yield TcpChain(
                    _tcp_name(service, subset, port.number, view),
                    view.cluster(service.fqdn, subset, port.number),
                    policy.pool.tcp_idle,
                    hash_address=key is not None and key.kind == "address",
                    named_port=port.number if service.discovery == "dynamic" else 0,
                    extensions=tuple(one for one in _on(view, port.number) if one.network),
                )


def _tcp_name(service: Callee, subset: str, port: int, view: Destinations) -> str:
    return f"tcp/{view.cluster(service.fqdn, subset, port)}"
