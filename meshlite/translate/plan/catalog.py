"""The services of the mesh as this node reaches them: ports, names, and where each replica is dialled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address

from meshlite.model.mesh import Service
from meshlite.model.names import virtual_forms
from meshlite.model.visibility import visible
from meshlite.model.workload import Port, PortOrigin, Protocol, Workload, shared_aliases
from meshlite.translate.memo import Memo
from meshlite.translate.node import NodeView
from meshlite.translate.plan.cluster import Discovery, Http

_TRUST: Mapping[PortOrigin, int] = {"label": 0, "resource": 1, "image": 2, "exposed": 3, "listening": 4}
_HTTP: Mapping[str, Http] = {
    "http": "http1",
    "grpc-web": "http1",
    "http2": "http2",
    "grpc": "http2",
    "auto": "client",
}
DECLARED_HTTP = frozenset(_HTTP) - {"auto"}
TLS = frozenset({"tls", "https"})
NOT_HTTP = frozenset({"tcp", "tls", "https", "mongo", "mysql", "redis"})


@dataclass(frozen=True, slots=True)
class ServicePort:
    """`http` is what HTTP version its replicas speak, `declared` that the protocol need not be detected.

    `tls`: it is declared to be TLS. `override`: the port to dial where the caller's address is kept, else 0.
    """

    number: int
    http: Http
    declared: bool
    tls: bool = False
    override: int = 0
    name: str = ""


def service_port(number: int, protocol: Protocol, name: str, override: int = 0) -> ServicePort:
    return ServicePort(number, http_of(protocol), protocol != "auto", protocol in TLS, override, name)


@dataclass(frozen=True, slots=True)
class Replica:
    """A workload of a service. `dial`: the address this node reaches it at, empty if it cannot.

    `through`: address and port of the tunnel that leads to it, for who calls it by that.

    `addresses`: its own ones, by which neighbours on this node may call it. `subset` names it alone.
    `targets`: service port -> the port it listens on, where these may differ. `weight` 0: 1. `service`: the
    FQDN of the workload's own.
    """

    workload: Workload
    labels: Mapping[str, str]
    dial: str
    addresses: tuple[str, ...]
    targets: Mapping[int, int] | None = None
    weight: int = 0
    service: str = ""
    through: tuple[str, int] | None = None

    @property
    def subset(self) -> str:
        return f"@{self.workload.name}"

    @property
    def ready(self) -> bool:
        return self.workload.health == "healthy" and bool(self.dial or self.through)

    def listens(self, port: int) -> bool:
        if self.targets is not None:
            return port in self.targets
        return any(known.number == port and known.protocol != "udp" for known in self.workload.ports)


Tunnels = Mapping[str, tuple[str, int]]
"""Address and port of the tunnels that are to be used, by the node they lead to."""

Replicas = Mapping[str, tuple[Replica, ...]]
"""Replicas by the key of their service. Their coming and going concerns endpoints and nothing else."""


@dataclass(frozen=True, slots=True)
class Addressed:
    """A replica as callers see it that may dial it by an address of its own."""

    subset: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Callee:
    """A service as callers see it. `aliases` are further names within its namespace.

    `virtual`, `ranges`: addresses and subnets that mean it. `addressed`, by port: the replicas that callers
    on this node may dial by an address of their own. `key`: its own, also where others have the same host.
    `from_caller`: its endpoints are dialled from the caller's network namespace. `certified`: names of which
    one stands in their certificates. `resources`: the names of
    the ServiceEntries that declare it.
    """

    name: str
    namespace: str
    fqdn: str
    virtual: tuple[str, ...]
    ports: Mapping[int, ServicePort]
    aliases: tuple[str, ...]
    addressed: Mapping[int, tuple[Addressed, ...]]
    ranges: tuple[str, ...] = ()
    discovery: Discovery = "eds"
    key: str = ""
    export_to: tuple[str, ...] = ()
    from_caller: bool = False
    certified: tuple[str, ...] = ()
    resources: frozenset[str] = frozenset()

    @property
    def external(self) -> bool:
        """By a ServiceEntry; the others are found by what runs."""
        return self.key != self.fqdn

    @cached_property
    def only_port(self) -> int | None:
        return next(iter(self.ports)) if len(self.ports) == 1 else None

    @property
    def http_ports(self) -> frozenset[int]:
        """Ports on which it may speak HTTP."""
        return frozenset(port.number for port in self.ports.values() if port.http != "none")


@dataclass(frozen=True)
class Catalog:
    """All services by FQDN, in the order of their names.

    `others`: those whose FQDN another one has, too, the first declared first.
    """

    services: Mapping[str, Callee]
    others: tuple[Callee, ...] = ()

    @cached_property
    def http_ports(self) -> tuple[int, ...]:
        """Ports on which at least one service may speak HTTP."""
        return tuple(sorted(frozenset[int]().union(*(one.http_ports for one in self.services.values()))))

    @cached_property
    def by_port(self) -> Mapping[int, tuple[Callee, ...]]:
        """The services that have a port, for each port."""
        found: dict[int, list[Callee]] = {}
        for service in self.services.values():
            for port in service.ports:
                found.setdefault(port, []).append(service)
        return {port: tuple(services) for port, services in sorted(found.items())}

    def on_port(self, number: int) -> tuple[Callee, ...]:
        return self.by_port.get(number, ())

    @cached_property
    def _limited(self) -> bool:
        return bool(self.others) or any(service.export_to for service in self.services.values())

    def seen(self, namespace: str) -> Catalog:
        """What callers in `namespace` see, and of several services of one host the one they mean.

        That is their own namespace's, and there the mesh's before a declared one; else the mesh's; else what
        was declared first.
        """
        if not self._limited:
            return self
        found: dict[str, Callee] = {}
        for service in (*self.services.values(), *self.others):
            if not visible(service.export_to, service.namespace, namespace):
                continue
            first = found.get(service.fqdn)
            own = service.namespace == namespace and not (first and first.namespace == namespace)
            if first is None or own:
                found[service.fqdn] = service
        return Catalog({fqdn: found[fqdn] for fqdn in sorted(found)})


def http_of(protocol: str) -> Http:
    """The HTTP version that a protocol stands for."""
    return _HTTP.get(protocol, "none")


def labels(workload: Workload) -> Mapping[str, str]:
    """A workload's labels, with `app` and `version` as the mesh knows them where it has none of its own."""
    known = {"app": workload.service} | ({"version": workload.version} if workload.version else {})
    return known | workload.labels


def catalog(
    memo: Memo,
    services: tuple[Service, ...],
    workloads: tuple[Workload, ...],
    node: NodeView,
    tunnels: Tunnels,
) -> tuple[Catalog, Replicas]:
    replicas = _replicas(memo, workloads, node, tunnels)
    shared = memo.each("shared aliases", _shared, replicas)
    ordered = memo.of("services", _by_fqdn, services)
    aliases = memo.of("aliases", _aliases, ordered, shared)
    found = {
        fqdn: (service, replicas.get(fqdn, ()), aliases.get(fqdn, ())) for fqdn, service in ordered.items()
    }
    callees = memo.each("callees", _callee, found, node.virtual_network6)
    return memo.of("catalog", Catalog, callees), replicas


def _by_fqdn(services: tuple[Service, ...]) -> Mapping[str, Service]:
    return {service.fqdn: service for service in sorted(services, key=lambda service: service.fqdn)}


def _callee(found: tuple[Service, tuple[Replica, ...], tuple[str, ...]], virtual_network6: str) -> Callee:
    service, replicas, aliases = found
    ports = _ports(_known_ports(service, replicas))
    return Callee(
        service.name,
        service.namespace,
        service.fqdn,
        virtual_forms(service.address, virtual_network6),
        ports,
        aliases,
        {
            port: tuple(Addressed(one.subset, one.addresses) for one in alone(replicas, port))
            for port in ports
        },
        key=service.fqdn,
        export_to=_export_to(service, replicas),
    )


def _export_to(service: Service, replicas: tuple[Replica, ...]) -> tuple[str, ...]:
    """What its replicas say; the last that they said while there are none."""
    if not replicas:
        return service.export_to
    return tuple(sorted({place for replica in replicas for place in replica.workload.export_to}))


def _replicas(memo: Memo, workloads: tuple[Workload, ...], node: NodeView, tunnels: Tunnels) -> Replicas:
    """Of each service in the order of their names."""
    dial = memo.of("dial", _dial_addresses, workloads, node).get
    places = {
        one.id: (one, dial(one.id, ""), one.node == node.name, tunnels.get(one.node)) for one in workloads
    }
    made = memo.each("replica", _replica, places)
    found: dict[str, list[Replica]] = {}
    for replica in made.values():
        found.setdefault(replica.service, []).append(replica)
    return memo.each("replicas", _in_order, {fqdn: tuple(group) for fqdn, group in found.items()})


def _replica(placed: tuple[Workload, str, bool, tuple[str, int] | None]) -> Replica:
    workload, dial, local, through = placed
    own, fqdn = _addresses(workload) if local else (), workload.service_fqdn
    return Replica(workload, labels(workload), dial, own, service=fqdn, through=through)


def _in_order(group: tuple[Replica, ...]) -> tuple[Replica, ...]:
    return tuple(sorted(group, key=lambda one: (one.workload.name, one.workload.id)))


def alone(replicas: Iterable[Replica], port: int) -> tuple[Replica, ...]:
    """The replicas that callers on this node may dial by an address of their own.

    One of each name: where a new one replaces an old one, both may be there for a moment.
    """
    named: dict[str, Replica] = {}
    for replica in replicas:
        dialled = replica.addresses and replica.dial and not replica.through and replica.listens(port)
        if dialled and (replica.subset not in named or replica.ready):
            named[replica.subset] = replica
    return tuple(named.values())


def _addresses(workload: Workload) -> tuple[str, ...]:
    """As Envoy writes them, to which they are compared; what is no address is passed over."""
    found = []
    for address in workload.addresses:
        with suppress(ValueError):
            found.append(str(ip_address(address)))
    return tuple(found)


def _dial_addresses(workloads: Iterable[Workload], node: NodeView) -> Mapping[str, str]:
    """Workload id -> address: the private link, loopback for the host's own, else an own address."""
    addresses = {
        workload.id: workload.addresses[0]
        for workload in workloads
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
    return {number: service_port(number, port.protocol, port.name) for number, port in sorted(best.items())}


def _rank(port: Port) -> tuple[bool, int, str]:
    return port.protocol == "auto", _TRUST[port.origin], port.protocol


def _shared(replicas: tuple[Replica, ...]) -> tuple[str, ...]:
    return tuple(sorted({alias.lower() for alias in shared_aliases(one.workload for one in replicas)}))


def _aliases(
    services: Mapping[str, Service], shared: Mapping[str, tuple[str, ...]]
) -> Mapping[str, tuple[str, ...]]:
    """Aliases by service. A service's own name comes before any alias, then the first service has it."""
    taken = {(service.namespace, service.name) for service in services.values()}
    aliases: dict[str, tuple[str, ...]] = {}
    for fqdn, service in services.items():
        if names := shared.get(fqdn):
            free = tuple(name for name in names if (service.namespace, name) not in taken)
            taken.update((service.namespace, name) for name in free)
            aliases[fqdn] = free
    return aliases
