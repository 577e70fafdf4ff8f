"""Decides which workloads of a node are gateways, and what their ports serve: Gateways merged as in Istio.

Source: https://istio.io/latest/docs/reference/config/networking/gateway/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from meshlite.model.made import made_from
from meshlite.model.mesh import Service, Snapshot
from meshlite.model.names import (
    EGRESS_GATEWAY,
    INGRESS_GATEWAY,
    ROOT_NAMESPACE,
    canonical_namespace,
    virtual_address,
)
from meshlite.model.networking import Gateway, Server
from meshlite.model.rules.gateway import HTTP, TLS
from meshlite.model.workload import Port, Protocol, Workload
from meshlite.translate.node import NodeView
from meshlite.translate.plan.caller import Caller, Selector, caller, matches
from meshlite.translate.plan.catalog import labels
from meshlite.translate.plan.resources import Applied, Report

EGRESS_ADDRESS = "127.0.0.7"
"""Where the node's egress gateway listens: on the host's loopback, apart from what else listens there."""

_BETWEEN_CLUSTERS = "AUTO_PASSTHROUGH"
"""A mode that leads to services by names that other clusters give them: here nobody would call."""
_PROTOCOLS: Mapping[str, Protocol] = {
    "HTTP": "http",
    "HTTP_PROXY": "http",
    "HTTP2": "http2",
    "GRPC": "grpc",
    "GRPC-WEB": "grpc-web",
    "HTTPS": "https",
    "TLS": "tls",
}


@dataclass(frozen=True)
class Gate:
    """A workload whose ports Gateways open. `path`: its network namespace; empty: the host's own.

    `attachment`: the key of its captured namespace; empty for the gateways that every node has.
    """

    workload: Workload
    path: str
    addresses: tuple[str, ...]
    attachment: str = ""

    def caller(self, selectors: Iterable[Selector]) -> Caller:
        found = caller(self.workload.namespace, labels(self.workload), selectors)
        return replace(found, gateway=self.attachment or self.workload.name)

    @property
    def private(self) -> bool:
        """Only the node proxy's own connections come here, so that every caller is of the mesh."""
        return self.workload.name == EGRESS_GATEWAY and not self.attachment


@dataclass(frozen=True)
class Serving:
    """A server of a Gateway. `hosts`: the namespace whose VirtualServices may use each, or `*`.

    `bind`: the address it asks for, empty: all of the gateway's.
    """

    gateway: Applied[Gateway]
    server: Server
    hosts: tuple[tuple[str, str], ...]
    bind: str = ""

    @property
    def name(self) -> str:
        """The Gateway's, as VirtualServices write it."""
        return f"{self.gateway.namespace}/{self.gateway.resource.name}"

    @property
    def protocol(self) -> str:
        return self.server.port.protocol.upper()

    @property
    def http(self) -> bool:
        """It speaks HTTP to its clients, in plain text or within TLS that ends here."""
        return self.protocol in HTTP or (self.protocol == "HTTPS" and not self.passed)

    @property
    def passed(self) -> bool:
        """TLS goes through as it is."""
        tls = self.server.tls
        return self.encrypted and tls is not None and tls.mode == "PASSTHROUGH"

    @property
    def encrypted(self) -> bool:
        """Its clients speak TLS. Between workloads of one node the mesh's own TLS is not needed."""
        tls = self.server.tls
        return self.protocol in TLS and not (tls is not None and tls.mode == "ISTIO_MUTUAL")

    @property
    def keys(self) -> Iterator[tuple[str, str]]:
        """Namespace and name of the Gateway, and of those of the Gateway API that it was made from."""
        for key in (self.gateway.key, *made_from(self.gateway.resource.annotations)):
            _, namespace, name = key.split("/", 2)
            yield namespace, name


@dataclass(frozen=True)
class Opened:
    """A gateway that has something to serve."""

    gate: Gate
    servings: tuple[Serving, ...]

    def keys(self, resources: Iterable[str]) -> frozenset[tuple[str, str]]:
        """What policies, patches and extensions may be attached to that are for Gateways of these keys."""
        resources = frozenset(resources)
        servings = (serving for serving in self.servings if serving.gateway.key in resources)
        return frozenset(key for serving in servings for key in serving.keys)


def opened(
    workloads: tuple[Workload, ...], node: NodeView, gateways: tuple[Applied[Gateway], ...], report: Report
) -> tuple[Opened, ...]:
    """The gateways of a node. On captured workloads the mesh's own ports are not to be had."""
    own = frozenset({node.outbound_port, node.inbound_port})
    for gateway in gateways:
        if not _anywhere(gateway.spec, node, workloads):
            report(gateway.key, "its selector fits no workload of the mesh: its ports are not opened")
    found = (
        Opened(gate, servings(gate, gateways, own if gate.attachment else frozenset(), report))
        for gate in (_gates(node, workloads) if gateways else ())
    )
    return tuple(one for one in found if one.servings)


def _gates(node: NodeView, workloads: Iterable[Workload]) -> Iterator[Gate]:
    """The gateways that every node has, then the captured workloads, which Gateways may select by labels."""
    every = ("0.0.0.0", "::") if node.ipv6 else ("0.0.0.0",)
    yield Gate(built_in(INGRESS_GATEWAY, "ingressgateway", node.name), "", every)
    yield Gate(built_in(EGRESS_GATEWAY, "egressgateway", node.name), "", (EGRESS_ADDRESS,))
    by_id = {workload.id: workload for workload in workloads}
    for attachment in sorted(node.attachments, key=lambda attachment: attachment.key):
        if (owner := by_id.get(attachment.owner)) is not None:
            addresses = ("0.0.0.0", "::") if attachment.ipv6 else ("0.0.0.0",)
            yield Gate(owner, attachment.path, addresses, attachment.key)


def built_in(name: str, role: str, node: str) -> Workload:
    """A gateway that every node has, as the workload it is taken for."""
    return Workload(
        id=f"{name}@{node}",
        node=node,
        name=name,
        service=name,
        namespace=ROOT_NAMESPACE,
        labels={"app": name, "istio": role},
        source="gateway",
        captured=True,
    )


def selects(gateway: Gateway, gate: Gate) -> bool:
    """Without a selector a Gateway is for the gateways that every node has."""
    if not gateway.selector:
        return not gate.attachment
    return matches(gateway.selector.items(), labels(gate.workload))


def _anywhere(gateway: Gateway, node: NodeView, workloads: Iterable[Workload]) -> bool:
    """Whether some node has a workload that a Gateway selects."""
    if any(selects(gateway, gate) for gate in _gates(node, ())):
        return True
    return any(matches(gateway.selector.items(), labels(one)) for one in workloads)


@dataclass
class _Merged:
    """What is served so far, by address and port."""

    plain: dict[tuple[str, int], Serving] = field(default_factory=dict)
    names: dict[tuple[str, int], dict[str, Serving]] = field(default_factory=dict)

    def conflict(self, serving: Serving) -> str:
        """Why a server cannot be served beside the earlier ones; empty: it can, and counts from now on."""
        server = serving.server
        place = (serving.bind, server.port.number)
        plain = self.plain.get(place)
        if plain is not None and not _alike(plain, serving):
            return f"{plain.gateway.written} already serves {plain.protocol} there"
        if not serving.encrypted:
            if place in self.names:
                first = next(iter(self.names[place].values()))
                return f"{first.gateway.written} already serves {first.protocol} there"
            self.plain.setdefault(place, serving)
            return ""
        taken = self.names.setdefault(place, {})
        for _, host in serving.hosts:
            if host in taken:
                return f"{taken[host].gateway.written} already serves {host} there"
        taken.update((host, serving) for _, host in serving.hosts)
        return ""


def _alike(first: Serving, later: Serving) -> bool:
    if first.encrypted != later.encrypted:
        return False
    return first.http == later.http


def servings(
    gate: Gate, gateways: Iterable[Applied[Gateway]], shut: frozenset[int], report: Report
) -> tuple[Serving, ...]:
    """The servers of all Gateways that select a workload, first applied first; what conflicts is left out.

    `shut`: ports that the mesh itself needs in the workload's namespace.
    """
    merged, found = _Merged(), []
    for gateway in gateways:
        if not selects(gateway.spec, gate):
            continue
        for place, server in enumerate(gateway.spec.servers):
            if server.tls is not None and server.tls.mode == _BETWEEN_CLUSTERS:
                continue
            serving = Serving(gateway, server, tuple(_hosts(server, gateway.namespace)), _bind(server, gate))
            reason = _unfit(serving, gate, shut) or merged.conflict(serving)
            if reason:
                where = f"spec.servers[{place}], port {server.port.number}"
                report(gateway.key, f"{where}: {reason}; this server is not served")
            else:
                found.append(serving)
    return tuple(found)


def _unfit(serving: Serving, gate: Gate, shut: frozenset[int]) -> str:
    tls = serving.server.tls
    if serving.server.port.number in shut:
        return "the mesh itself needs this port in the workload's network namespace: choose another"
    if tls is not None and tls.mode == "ISTIO_MUTUAL" and not gate.private:
        return f"mode ISTIO_MUTUAL is for {EGRESS_GATEWAY} only"
    if serving.encrypted:
        found = next((host for _, host in serving.hosts if partial(host)), "")
        return f"{found}: {PARTIAL}" if found else ""
    return ""


PARTIAL = "with TLS a wildcard stands for whole parts of a name only"


def partial(host: str) -> bool:
    """`*-shop.example.com`, which Envoy does not know among server names."""
    return host.startswith("*") and host[1:2] not in ("", ".")


def _bind(server: Server, gate: Gate) -> str:
    """A gateway for the mesh alone is never opened elsewhere."""
    return "" if gate.private or server.bind == "0.0.0.0" else server.bind


def _hosts(server: Server, own: str) -> Iterator[tuple[str, str]]:
    for written in server.hosts:
        space, _, host = written.rpartition("/")
        named = own if space == "." else space
        yield canonical_namespace(named) if named else "*", host.lower()


def with_gateways(
    snapshot: Snapshot, node: NodeView, opened: tuple[Opened, ...]
) -> tuple[Snapshot, NodeView]:
    """The mesh in which gateways are workloads like others, with the ports that Gateways open there."""
    if not opened:
        return snapshot, node
    workloads = {workload.id: workload for workload in snapshot.workloads}
    services = {service.fqdn: service for service in snapshot.services}
    dial = dict(node.host_workloads)
    for gate, found in ((one.gate, one.servings) for one in opened):
        ports = {serving.server.port.number: _port(serving) for serving in reversed(found)}
        kept = tuple(port for port in gate.workload.ports if port.number not in ports)
        one = gate.workload.model_copy(update={"ports": (*kept, *ports.values())})
        workloads[one.id] = one
        if gate.attachment:
            continue
        dial[one.id] = "127.0.0.1" if gate.addresses[0] == "0.0.0.0" else gate.addresses[0]
        if one.service_fqdn not in services:
            taken = {service.address for service in services.values()}
            address = virtual_address(one.service_fqdn, node.virtual_network, taken)
            services[one.service_fqdn] = Service(name=one.service, namespace=one.namespace, address=address)
    changed = {"workloads": tuple(workloads.values()), "services": tuple(services.values())}
    return snapshot.model_copy(update=changed), node.with_host_workloads(dial)


def _port(serving: Serving) -> Port:
    protocol = _PROTOCOLS.get(serving.protocol, "tcp")
    if protocol in ("https", "tls") and not serving.encrypted:
        protocol = "http" if serving.http else "tcp"
    return Port(number=serving.server.port.number, protocol=protocol, origin="resource")
