"""The services of the mesh as this node reaches them: ports, names, and where each replica is dialled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address

from meshlite.model.mesh import Service, Snapshot
from meshlite.model.workload import Port, PortOrigin, Workload
from meshlite.translate.node import NodeView
from meshlite.translate.plan.cluster import Http

_TRUST: Mapping[PortOrigin, int] = {"label": 0, "resource": 1, "image": 2, "exposed": 3, "listening": 4}
_HTTP: Mapping[str, Http] = {
    "http": "http1",
    "grpc-web": "http1",
    "http2": "http2",
    "grpc": "http2",
    "auto": "client",
}
DECLARED_HTTP = frozenset(_HTTP) - {"auto"}
NOT_HTTP = frozenset({"tcp", "tls", "https", "mongo", "mysql", "redis"})


@dataclass(frozen=True, slots=True)
class ServicePort:
    """`http` is what HTTP version its replicas speak, `declared` that the protocol need not be detected."""

    number: int
    http: Http
    declared: bool


@dataclass(frozen=True, slots=True)
class Replica:
    """A workload of a service. `dial`: the address this node reaches it at, empty if it cannot.

    `addresses`: its own ones, by which neighbours on this node may call it. `subset` names it alone.
    """

    workload: Workload
    labels: Mapping[str, str]
    dial: str
    addresses: tuple[str, ...]

    @property
    def subset(self) -> str:
        return f"@{self.workload.name}"

    @property
    def ready(self) -> bool:
        return self.workload.health == "healthy" and bool(self.dial)

    def listens(self, port: int) -> bool:
        return any(known.number == port and known.protocol != "udp" for known in self.workload.ports)


@dataclass(frozen=True)
class Callee:
    """A service with what its replicas say. `aliases` are further names within its namespace."""

    name: str
    namespace: str
    fqdn: str
    address: str
    ports: Mapping[int, ServicePort]
    aliases: tuple[str, ...]
    replicas: tuple[Replica, ...]

    @cached_property
    def only_port(self) -> int | None:
        return next(iter(self.ports)) if len(self.ports) == 1 else None

    @property
    def http_ports(self) -> frozenset[int]:
        """Ports on which it may speak HTTP."""
        return frozenset(port.number for port in self.ports.values() if port.http != "none")

    @cached_property
    def addressed(self) -> Mapping[int, tuple[Replica, ...]]:
        """By port: the replicas that callers on this node may dial by an address of their own.

        One of each name: where a new one replaces an old one, both may be there for a moment.
        """
        found: dict[int, dict[str, Replica]] = {port: {} for port in self.ports}
        for replica in self.replicas:
            if not (replica.addresses and replica.dial):
                continue
            for port, named in found.items():
                if replica.listens(port) and (replica.subset not in named or replica.ready):
                    named[replica.subset] = replica
        return {port: tuple(named.values()) for port, named in found.items()}

    def addresses(self, port: int) -> tuple[str, ...]:
        """Every address on which the service is found: its own, then the replicas'."""
        own = (address for replica in self.addressed[port] for address in replica.addresses)
        return tuple(dict.fromkeys((self.address, *own)))


@dataclass(frozen=True)
class Catalog:
    """All services by FQDN, in the order of their names."""

    services: Mapping[str, Callee]

    @cached_property
    def http_ports(self) -> tuple[int, ...]:
        """Ports on which at least one service may speak HTTP."""
        return tuple(sorted(frozenset[int]().union(*(one.http_ports for one in self.services.values()))))

    def on_port(self, number: int) -> tuple[Callee, ...]:
        return tuple(service for service in self.services.values() if number in service.ports)


def labels(workload: Workload) -> Mapping[str, str]:
    """A workload's labels, with `app` and `version` as the mesh knows them where it has none of its own."""
    known = {"app": workload.service} | ({"version": workload.version} if workload.version else {})
    return known | workload.labels


def catalog(snapshot: Snapshot, node: NodeView) -> Catalog:
    dial = _dial_addresses(snapshot, node)
    replicas: dict[str, list[Replica]] = {}
    for workload in sorted(snapshot.workloads, key=lambda workload: (workload.name, workload.id)):
        local = workload.node == node.name
        replicas.setdefault(workload.service_fqdn, []).append(
            Replica(
                workload, labels(workload), dial.get(workload.id, ""), _addresses(workload) if local else ()
            )
        )
    services = sorted(snapshot.services, key=lambda service: service.fqdn)
    aliases = _aliases(services, replicas)
    return Catalog(
        {
            service.fqdn: Callee(
                service.name,
                service.namespace,
                service.fqdn,
                service.address,
                _ports(_known_ports(service, replicas.get(service.fqdn, ()))),
                aliases[service.fqdn],
                tuple(replicas.get(service.fqdn, ())),
            )
            for service in services
        }
    )


def _addresses(workload: Workload) -> tuple[str, ...]:
    """As Envoy writes them, to which they are compared; what is no address is passed over."""
    found = []
    for address in workload.addresses:
        with suppress(ValueError):
            found.append(str(ip_address(address)))
    return tuple(found)


def _dial_addresses(snapshot: Snapshot, node: NodeView) -> Mapping[str, str]:
    """Workload id -> address: the private link, loopback for the host's own, else an own address."""
    addresses = {
        workload.id: workload.addresses[0]
        for workload in snapshot.workloads
        if workload.node == node.name and workload.addresses
    }
    addresses |= node.host_workloads
    for attachment in node.attachments:
        if attachment.link:
            addresses |= dict.fromkeys(attachment.workloads, attachment.link)
    return addresses


def _known_ports(service: Service, replicas: Iterable[Replica]) -> tuple[Port, ...]:
    """What its replicas say; the service's last known ones while they say nothing."""
    return tuple(port for replica in replicas for port in replica.workload.ports) or service.ports


def _ports(known: Iterable[Port]) -> Mapping[int, ServicePort]:
    """One entry for each TCP port; where replicas differ, the most trusted word on its protocol counts."""
    best: dict[int, Port] = {}
    for port in (port for port in known if port.protocol != "udp"):
        if port.number not in best or _rank(port) < _rank(best[port.number]):
            best[port.number] = port
    return {
        number: ServicePort(number, _HTTP.get(port.protocol, "none"), port.protocol != "auto")
        for number, port in sorted(best.items())
    }


def _rank(port: Port) -> tuple[bool, int, str]:
    return port.protocol == "auto", _TRUST[port.origin], port.protocol


def _aliases(
    services: Iterable[Service], replicas: Mapping[str, Iterable[Replica]]
) -> Mapping[str, tuple[str, ...]]:
    """Aliases by service. A service's own name comes before any alias, then the first service has it."""
    services = tuple(services)
    taken = {(service.namespace, service.name) for service in services}
    aliases: dict[str, tuple[str, ...]] = {}
    for service in services:
        names = {
            alias.lower() for replica in replicas.get(service.fqdn, ()) for alias in replica.workload.aliases
        }
        free = tuple(sorted(name for name in names if (service.namespace, name) not in taken))
        taken.update((service.namespace, name) for name in free)
        aliases[service.fqdn] = free
    return aliases
