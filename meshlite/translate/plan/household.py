"""Puts together what stands in each captured namespace of this node, and its listeners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from meshlite.model.mesh import Snapshot
from meshlite.model.rate_limit import RateLimit
from meshlite.model.security import PeerAuthentication
from meshlite.model.workload import Workload
from meshlite.translate.node import Attachment, NodeView
from meshlite.translate.plan import inbound
from meshlite.translate.plan.attachment import Has, Side
from meshlite.translate.plan.authentication import Resident, StrictPolicy, strict_policy
from meshlite.translate.plan.caller import Caller, caller, matches
from meshlite.translate.plan.catalog import labels
from meshlite.translate.plan.guard import NOTHING
from meshlite.translate.plan.inbound import Door, Guards, ServerSide
from meshlite.translate.plan.ingress import ingress
from meshlite.translate.plan.listener import Entrance, Listener, Source
from meshlite.translate.plan.mesh import Mesh
from meshlite.translate.plan.outbound import BoundListener
from meshlite.translate.plan.patch import (
    LISTENERS,
    Patch,
    inward,
    of,
    selected,
)
from meshlite.translate.plan.resources import Applied, Report
from meshlite.translate.plan.view import Seen


@dataclass(frozen=True)
class Household:
    """A captured namespace with the workloads in it, and the group of callers it belongs to."""

    attachment: Attachment
    owner: Workload
    workloads: tuple[Workload, ...]
    caller: Caller
    side: ServerSide
    guards: Guards
    doors: tuple[Door, ...]


def households(snapshot: Snapshot, node: NodeView, mesh: Mesh, report: Report) -> Iterator[Household]:
    by_id = {workload.id: workload for workload in snapshot.workloads}
    for attachment in sorted(node.attachments, key=lambda attachment: attachment.key):
        owner = by_id.get(attachment.owner)
        if owner is None:
            report(attachment.owner, "this captured workload is not in the snapshot; it gets no listeners")
            continue
        workloads = tuple(by_id[id] for id in attachment.workloads if id in by_id)
        group = caller(owner.namespace, labels(owner), mesh.selectors)
        side = _server_side(mesh, owner)
        workloads = workloads or (owner,)
        own = _guards(mesh, workloads)
        doors = inbound.doors(attachment, workloads, side, own, node.mark)
        yield Household(attachment, owner, workloads, group, side, own, doors)


def _guards(mesh: Mesh, workloads: tuple[Workload, ...]) -> Guards:
    """Neighbours in a namespace who are guarded differently have inbound chains that tell them apart."""
    known = mesh.guards
    found = {one.id: known.by_workload.get(one.id, NOTHING) for one in workloads}
    apart = any(one.id in known.apart for one in workloads) or len({*found.values()}) > 1
    return Guards(found, apart)


def _server_side(mesh: Mesh, workload: Workload) -> ServerSide:
    side = called_side(workload)
    patches = selected(mesh.filters, side, "SIDECAR_INBOUND", {})
    extensions, (places, pool) = mesh.extensions(side, "SERVER"), ingress(mesh.sidecars, workload)
    limit = RateLimit.of(workload.rate_limit)
    return ServerSide(inward(patches, workload.service_fqdn), extensions, places, pool, limit)


def called_side(workload: Workload) -> Side:
    return Side(workload.namespace, _has(workload), workload.service)


def _has(workload: Workload) -> Has:
    known = labels(workload)
    return lambda wanted: matches(wanted.items(), known)


def strictness(
    resident: Household,
    policies: tuple[Applied[PeerAuthentication], ...],
    open: Mapping[str, frozenset[int]],
) -> StrictPolicy:
    """`open`: ports of gateways, by attachment."""
    owner, *_ = others = [resident.owner, *(one for one in resident.workloads if one != resident.owner)]
    policy = strict_policy(policies, _selected(owner), map(_selected, others[1:]))
    return replace(policy, gateways=open.get(resident.attachment.key, frozenset()))


def _selected(workload: Workload) -> Resident:
    ports = tuple(port.number for port in workload.ports if port.protocol != "udp")
    return Resident(workload.namespace, labels(workload), ports)


def _bound(
    one: BoundListener, entrance: Entrance, attachment: Attachment, patches: tuple[Patch, ...]
) -> Iterator[Listener]:
    """On the loopback of a workload, for what it sends there by itself."""
    addresses = tuple(address for address in one.addresses if attachment.ipv6 or ":" not in address)
    own = replace(
        entrance,
        name=f"egress/{attachment.key}/{one.port}",
        addresses=addresses,
        port=one.port,
        silent_ports=(one.port,) if one.silent else (),
        redirected=False,
    )
    if addresses:
        yield Listener(own, one.http, one.tcp, one.chooser, patches)


def listeners_of(
    resident: Household, seen: Seen, strict: StrictPolicy, node: NodeView, snapshot: Snapshot
) -> Iterator[Listener]:
    attachment, owner, outbound = resident.attachment, resident.owner, seen.outbound
    identity = str(owner.identity(snapshot.trust_domain))
    normalization = snapshot.settings.path_normalization
    entrance = Entrance(
        f"outbound/{attachment.key}",
        False,
        ("127.0.0.1", "::1") if attachment.ipv6 else ("127.0.0.1",),
        node.outbound_port,
        Source(identity, f"{owner.namespace}/{owner.name}", attachment.path),
        outbound.silent_ports,
        normalization=normalization,
    )
    patches = of(seen.view.patches, LISTENERS)
    yield Listener(entrance, outbound.http, outbound.tcp, outbound.chooser, patches)
    for one in outbound.bound:
        yield from _bound(one, entrance, attachment, patches)
    service = owner.service_fqdn
    yield from inbound.door_listeners(resident.doors, attachment, service, resident.side, normalization)
    if strict.closed:
        return
    entrance = Entrance(
        f"inbound/{attachment.key}",
        True,
        ("0.0.0.0", "::") if attachment.ipv6 else ("0.0.0.0",),
        node.inbound_port,
        Source("", "unknown", attachment.path),
        inbound.silent_ports(resident.workloads),
        service,
        normalization,
    )
    guard = resident.guards.of(resident.workloads[0])
    yield inbound.listener(entrance, resident.workloads, resident.doors, resident.side, guard)
