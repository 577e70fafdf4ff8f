"""What conversion looks at: Gateway API's resources with their types, and what the mesh knows beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from meshlite.model.gateway_api import (
    BackendTLSPolicy,
    Gateway,
    GatewayClass,
    GRPCRoute,
    HTTPRoute,
    ListenerSet,
    ReferenceGrant,
    TCPRoute,
    TLSRoute,
)
from meshlite.model.mesh import GATEWAY_API, Resource, Service
from meshlite.model.names import fqdn
from meshlite.model.networking import ServiceEntry
from meshlite.translate.plan.resources import Applied, Read, of_kind

CONTROLLER = "istio.io/gateway-controller"
MESH_CONTROLLER = "istio.io/mesh-controller"
UNMANAGED = "istio.io/unmanaged-gateway"
BUILT_IN_CLASSES = {"istio": CONTROLLER, "istio-waypoint": MESH_CONTROLLER, "istio-remote": UNMANAGED}
"""Classes that are there without a GatewayClass, as in Istio."""

NAMESPACE_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Known:
    """What the mesh has: services by FQDN, its namespaces with their labels, addresses of its gateways.

    `credentials`: namespace/name of the certificates there are; None where that is not known.
    """

    services: Mapping[str, Service] = field(default_factory=dict)
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    credentials: Collection[str] | None = None

    def service(self, name: str, namespace: str) -> Service | None:
        return self.services.get(fqdn(name, namespace))


@dataclass(frozen=True)
class Entry:
    """A ServiceEntry, as far as routes and policies point at one."""

    hosts: tuple[str, ...]
    ports: Mapping[str, int]


@dataclass(frozen=True)
class World:
    """Everything at once; all resources first applied first."""

    resources: Read
    known: Known

    @cached_property
    def gateways(self) -> tuple[Applied[Gateway], ...]:
        return of_kind(self.resources, Gateway)

    @cached_property
    def listener_sets(self) -> tuple[Applied[ListenerSet], ...]:
        return of_kind(self.resources, ListenerSet)

    @cached_property
    def classes(self) -> tuple[Applied[GatewayClass], ...]:
        return of_kind(self.resources, GatewayClass)

    @cached_property
    def http_routes(self) -> tuple[Applied[HTTPRoute], ...]:
        return of_kind(self.resources, HTTPRoute)

    @cached_property
    def grpc_routes(self) -> tuple[Applied[GRPCRoute], ...]:
        return of_kind(self.resources, GRPCRoute)

    @cached_property
    def tls_routes(self) -> tuple[Applied[TLSRoute], ...]:
        return of_kind(self.resources, TLSRoute)

    @cached_property
    def tcp_routes(self) -> tuple[Applied[TCPRoute], ...]:
        return of_kind(self.resources, TCPRoute)

    @cached_property
    def policies(self) -> tuple[Applied[BackendTLSPolicy], ...]:
        return of_kind(self.resources, BackendTLSPolicy)

    @cached_property
    def entries(self) -> Mapping[tuple[str, str], Entry]:
        """By namespace and name."""
        return {
            (one.namespace, one.resource.name): Entry(
                one.spec.hosts, {port.name: port.number for port in one.spec.ports}
            )
            for one in of_kind(self.resources, ServiceEntry)
        }

    @cached_property
    def controllers(self) -> Mapping[str, str]:
        """Name of a class -> its controller."""
        return BUILT_IN_CLASSES | {one.resource.name: one.spec.controller_name for one in self.classes}

    @cached_property
    def _grants(self) -> frozenset[tuple[str, ...]]:
        return frozenset(
            (one.group, one.kind, one.namespace, other.group, other.kind, grant.namespace, other.name or "")
            for grant in of_kind(self.resources, ReferenceGrant)
            for one in grant.spec.from_
            for other in grant.spec.to
        )

    @cached_property
    def hostnames(self) -> frozenset[str]:
        """Hosts that ServiceEntries declare."""
        return frozenset(host for entry in self.entries.values() for host in entry.hosts)

    def granted(self, source: Resource, group: str, kind: str, namespace: str, name: str) -> bool:
        """Whether `source` may point at an object: one of its own namespace, or by a ReferenceGrant."""
        if namespace == source.namespace:
            return True
        start = (GATEWAY_API, source.kind, source.namespace, group, kind, namespace)
        return (*start, name) in self._grants or (*start, "") in self._grants
