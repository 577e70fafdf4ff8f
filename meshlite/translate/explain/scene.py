"""The plan of the source's node, with the resources it was made from, for following a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshlite.model import external
from meshlite.model.external import External
from meshlite.model.mesh import Service, Snapshot
from meshlite.model.names import resolve_known
from meshlite.model.networking import DestinationRule, VirtualService
from meshlite.model.security import PeerAuthentication
from meshlite.model.workload import Workload
from meshlite.translate.explain.verdict import Policies
from meshlite.translate.memo import Memo
from meshlite.translate.node import Attachment, NodeView
from meshlite.translate.plan.cluster import Cluster, EndpointSet
from meshlite.translate.plan.listener import Chooser, Listener
from meshlite.translate.plan.mesh import policies
from meshlite.translate.plan.nodeplan import NodePlan
from meshlite.translate.plan.plan import plan
from meshlite.translate.plan.resources import Applied, of_kind, read, visible
from meshlite.translate.plan.route import RouteTable
from meshlite.translate.plan.rules import closeness, fits


@dataclass(frozen=True)
class Scene:
    """One caller's view of the mesh. Resources are in order of application."""

    snapshot: Snapshot
    source: Workload
    plan: NodePlan
    virtual_services: tuple[Applied[VirtualService], ...]
    rules: tuple[Applied[DestinationRule], ...]
    policies: Policies

    @property
    def listener(self) -> Listener:
        name = f"outbound/{self.source.id}"
        return next(one for one in self.plan.listeners if one.entrance.name == name)

    @property
    def chooser(self) -> Chooser:
        return self.listener.chooser

    @property
    def tables(self) -> Mapping[str, RouteTable]:
        return {table.name: table for table in self.plan.tables}

    @property
    def endpoints(self) -> Mapping[str, EndpointSet]:
        return {one.cluster: one for one in self.plan.endpoints}

    @property
    def clusters(self) -> Mapping[str, Cluster]:
        return {one.name: one for one in self.plan.clusters}

    def external(self, host: str) -> External | None:
        """The host of a ServiceEntry that fits `host` most closely; that of the source's namespace first."""
        near = self.source.namespace
        found = [
            one
            for one in external.read(self.snapshot.resources)
            if fits(one.host, host.lower()) and visible(one.export_to, one.namespace, near)
        ]
        return max(found, key=lambda one: (closeness(one.host), one.namespace == near), default=None)

    def address(self, one: External) -> str:
        """What the name is resolved to: its virtual address, or the first of its own; else empty."""
        virtual = (host.address for host in self.snapshot.hosts if host.key == one.key)
        return next(virtual, "") or next((own for own in one.addresses if "/" not in own), "")

    def service(self, host: str) -> Service | None:
        """The service that the source means by `host`: a name, an alias in its namespace, an address."""
        known = self.snapshot.services_by_fqdn
        found = known.get(resolve_known(host, self.source.namespace, known))
        if found is not None:
            return found
        for service in self.snapshot.services:
            if host == service.address:
                return service
        for workload in self.snapshot.workloads:
            near = workload.namespace == self.source.namespace and host in workload.aliases
            if near or host in workload.addresses:
                return known.get(workload.service_fqdn)
        return None

    def workloads(self, service: Service) -> tuple[Workload, ...]:
        return self.snapshot.workloads_by_service.get(service.fqdn, ())


def scene(snapshot: Snapshot, source: Workload, network: str) -> Scene:
    """The plan as the source's node makes it. `network`: that of virtual addresses.

    Where a replica is dialled is not known away from its node, so its own address stands for its link.
    """
    captured = [one for one in snapshot.workloads if one.node == source.node and one.captured]
    own = () if source.source == "gateway" else (source,)
    everybody = {one.id: one for one in (*captured, *own)}
    attachments = (
        Attachment(one.id, f"/{one.id}", (*one.addresses, one.id)[0], one.id, (one.id,), one.addresses)
        for one in everybody.values()
    )
    node = NodeView(source.node, tuple(attachments), virtual_network=network)
    decided, _ = plan(Memo(), snapshot, node, lambda key, reason: None)
    resources, _ = read(Memo(), snapshot.resources)
    return Scene(
        snapshot,
        source,
        decided,
        of_kind(resources, VirtualService),
        of_kind(resources, DestinationRule),
        Policies(policies(snapshot, node), of_kind(resources, PeerAuthentication)),
    )
