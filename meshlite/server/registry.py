"""What runs in the mesh: nodes, their leases and workloads, services and addresses; and the snapshot."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from meshlite.model import external, wire
from meshlite.model.mesh import (
    HostAddress,
    MeshSettings,
    NodeRecord,
    Problem,
    Resource,
    Service,
    Snapshot,
    Trust,
)
from meshlite.model.names import virtual_address
from meshlite.model.networking.sidecar import OutboundMode
from meshlite.model.workload import Port, Workload
from meshlite.server.auth import check_node_name
from meshlite.server.clock import Clock
from meshlite.server.door import Door
from meshlite.server.events import Events
from meshlite.server.lingering import Lingering
from meshlite.server.mirror import Mirror, Write
from meshlite.server.records import KEY_SETS, NODES, RESOURCES, SERVICES, WORKLOADS, StoredNode, StoredService
from meshlite.server.refusal import Refusal
from meshlite.server.reports import admitted
from meshlite.server.shaping import referred
from meshlite.server.store import Conflict, Unavailable
from meshlite.watch import Watch


class Registry:
    """Owns nodes, leases, workloads and services. `snapshots` holds the current state of the whole mesh.

    What is in the snapshot is in the store first, so a killed server comes back with the same one. Leases are
    in memory only: after a start every node has a full one.
    """

    def __init__(
        self,
        mirror: Mirror,
        events: Events,
        clock: Clock,
        trust_domain: str,
        virtual_network: str,
        lease_seconds: float,
        outbound_traffic_policy: OutboundMode = "ALLOW_ANY",
        settings: MeshSettings | None = None,
        linger_seconds: float = 600.0,
        node_linger_seconds: float = 86_400.0,
        trust: Callable[[], Trust] = Trust,
    ) -> None:
        """`linger_seconds`: how long a service without workloads stays known; the other: a silent node.

        `trust`: asked at each publication.
        """
        self.snapshots = Watch(Snapshot())
        self.published = 0.0
        """Monotonic time of the newest snapshot."""
        self.trust_domain = trust_domain
        self.trust_domains = (trust_domain, *(settings.trust_domain_aliases if settings else ()))
        """The mesh's own first, then those whose certificates count as well."""
        self.lease_seconds = lease_seconds
        self._door = Door()
        self._mirror = mirror
        self._events = events
        self._clock = clock
        self._network = virtual_network
        self._outbound_traffic_policy = outbound_traffic_policy
        self._settings = settings or MeshSettings()
        self._leases: dict[str, float] = {}
        """Node -> monotonic time at which it is gone. A node is alive while it is in here."""
        self._trust = trust
        self._lingering = Lingering(linger_seconds)
        self._node_linger = node_linger_seconds
        self._given_up: frozenset[str] = frozenset()
        """Nodes that have been silent for too long for their projects to count as meshed."""
        self._named: tuple[str, frozenset[str]] = ("", frozenset())
        """A snapshot's version, and which services its resources name."""
        self._seen: dict[str, float] = {}
        self._statuses: dict[str, wire.Status] = {}
        self._unsaved = ""
        """Why expiry could not be saved the last time; said once."""
        self._declared: tuple[tuple[Resource, ...], tuple[external.External, ...]] = ((), ())
        """Resources, and the hosts that they declare."""

    def start(self) -> None:
        """With what the store holds: every node that had workloads gets a full lease."""
        wall, monotonic = self._clock.wall(), self._clock.monotonic()
        for name, stored in self._mirror.all(SERVICES).items():
            if stored.idle:
                self._lingering.since(name, monotonic - max(0.0, wall - stored.idle))
        self._leases = dict.fromkeys(self._mirror.all(WORKLOADS), self._deadline())
        self.publish()

    # --- questions ---

    def node(self, name: str) -> StoredNode:
        """Raises Refusal (404) for a node that nobody knows."""
        if (stored := self._mirror.get(NODES, name)) is None:
            hint = "it appears when it joins, or when its projects are set"
            raise Refusal(HTTPStatus.NOT_FOUND, f"there is no node {name}", hint)
        return stored

    def joined(self, name: str) -> float | None:
        """When the node joined (seconds since 1970), or None."""
        stored = self._mirror.get(NODES, name)
        return stored.joined if stored and stored.joined else None

    def nodes(self) -> tuple[wire.Node, ...]:
        """Without those that have been silent for too long."""
        return tuple(self._view(stored) for stored in self._shown_nodes())

    def workloads_of(self, node: str) -> tuple[Workload, ...]:
        """What the node reported last, if its lease holds."""
        report = self._mirror.get(WORKLOADS, node)
        return report.workloads if report is not None and node in self._leases else ()

    def status_of(self, key: str) -> Mapping[str, Any]:
        """What is to be said about a resource of Gateway API; empty for any other."""
        return self._door.statuses.get(key, {})

    def problems(self) -> tuple[Problem, ...]:
        """What the living nodes say is wrong with resources: the `problems` of their status documents."""
        told = (status for node, status in self._statuses.items() if node in self._leases)
        listed = (status.root.get("problems") for status in told)
        items = (item for problems in listed if isinstance(problems, list) for item in problems)
        return tuple(
            Problem(resource=str(item.get("resource", "")), reason=str(item.get("reason", "")))
            for item in items
            if isinstance(item, dict)
        )

    # --- what nodes and people say ---

    async def report(self, node: str, report: wire.Report) -> wire.Lease:
        """Take the node's full current set and renew its lease; also where the store refuses the change."""
        stored = self.node(node)
        if self._renew(node):
            self.publish()
        async with self._mirror.lock:
            taken = {w.id for w in self.snapshots.value.workloads if w.node != node}
            accepted, refused = admitted(report.workloads, node, stored.namespaces, taken)
            before = self._mirror.get(WORKLOADS, node)
            heard = self._heard(node, report)
            if before is not None and before.workloads == accepted and not heard:
                return self._lease(refused)
            services, unplaced = self._services_for(node, accepted)
            refused += tuple(
                Problem(resource=w.name, reason=unplaced[w.service_fqdn])
                for w in accepted
                if w.service_fqdn in unplaced
            )
            accepted = tuple(w for w in accepted if w.service_fqdn not in unplaced)
            report = wire.Report(workloads=accepted)
            await self._mirror.commit([Write(WORKLOADS, node, report), *services, *heard])
            self._tell(node, before.workloads if before else (), accepted)
            self.publish()
        return self._lease(refused)

    async def set_projects(self, node: str, projects: wire.Projects) -> NodeRecord:
        """Which projects the node meshes; a node not heard of before gets a record."""
        check_node_name(node)
        async with self._mirror.lock:
            stored = self._mirror.get(NODES, node) or StoredNode(record=NodeRecord(name=node))
            wanted = {"projects": tuple(sorted(set(projects.projects))), "everything": projects.everything}
            record = stored.record.model_copy(update=wanted)
            changed = stored.model_copy(update={"record": record, "shown": True})
            if not stored.shown:
                changed = changed.model_copy(update={"silent": self._clock.wall()})
            if changed != self._mirror.get(NODES, node):
                meshed = self._meshed(without=node) | set(record.projects)
                self._lingering.projects(stored.record.projects, meshed)
                gone = self._retired(self._clock.monotonic())
                await self._mirror.commit([Write(NODES, node, changed), *gone])
                shown = "everything" if record.everything else ", ".join(record.projects) or "nothing"
                self._events.add("node", node, f"meshes {shown}")
                self.publish()
        return record

    async def remove(self, node: str) -> None:
        """Forget the node: its workloads go, its certificates count no more."""
        async with self._mirror.lock:
            self.node(node)
            await self._mirror.commit([Write(NODES, node, None), Write(WORKLOADS, node, None)])
            for memory in (self._leases, self._seen, self._statuses):
                memory.pop(node, None)
            self._events.add("node", node, "removed")
            self.publish()

    def set_status(self, node: str, status: wire.Status) -> None:
        self.node(node)
        self._statuses[node] = status

    # --- time ---

    async def expire(self) -> None:
        """Withdraw nodes whose lease ended; forget those long silent, and services long without workloads.

        They leave the snapshot even where the store cannot be written; it is told again at the next call.
        """
        now = self._clock.monotonic()
        for node in [node for node, deadline in self._leases.items() if deadline <= now]:
            del self._leases[node]
            reason = f"silent for {self.lease_seconds:g} s, its workloads are withdrawn"
            self._events.add("node", node, reason, logging.WARNING)
            self.publish()
        async with self._mirror.lock:
            gone: list[Write[Any]] = [
                Write(WORKLOADS, node, None)
                for node in self._mirror.all(WORKLOADS)
                if node not in self._leases
            ]
            if not (writes := gone + self._silenced() + self._retired(now)):
                return
            try:
                await self._mirror.commit(writes)
                self._unsaved = ""
            except (Unavailable, Conflict) as error:
                if str(error) != self._unsaved:
                    self._events.add("server", "store", f"expiry is not saved yet: {error}", logging.ERROR)
                self._unsaved = str(error)
            self.publish()

    def forgive(self, seconds: float) -> None:
        """The server itself was stopped for so long: it did not listen, so no node was silent."""
        self._leases = {node: deadline + seconds for node, deadline in self._leases.items()}

    # --- the snapshot ---

    def publish(self) -> None:
        """Make the snapshot from what is in memory. Equal content has the same version and wakes nobody."""
        shown = (stored.service for stored in self._mirror.all(SERVICES).values() if stored.shown)
        services = tuple(sorted(shown, key=lambda service: service.fqdn))
        nodes = tuple(stored.record for stored in self._shown_nodes())
        stored = tuple(resource for _, resource in sorted(self._mirror.all(RESOURCES).items()))
        workloads = (workload for node in self._leases for workload in self.workloads_of(node))
        resources = self._door.through(stored, services, nodes)
        content = Snapshot(
            trust_domain=self.trust_domain,
            outbound_traffic_policy=self._outbound_traffic_policy,
            nodes=nodes,
            services=services,
            workloads=tuple(sorted(workloads, key=lambda workload: workload.id)),
            resources=resources,
            hosts=self._hosts(resources),
            settings=self._settings,
            key_sets=tuple(keys for _, keys in sorted(self._mirror.all(KEY_SETS).items())),
            trust=self._trust(),
        )
        version = hashlib.blake2b(content.model_dump_json().encode(), digest_size=16).hexdigest()
        if version != self.snapshots.value.version:
            self.published = self._clock.monotonic()
            self.snapshots.set(content.model_copy(update={"version": version}))

    # --- parts ---

    def _hosts(self, resources: tuple[Resource, ...]) -> tuple[HostAddress, ...]:
        """Virtual addresses of declared hosts, drawn from their names: the same again after a start."""
        if resources != self._declared[0]:
            self._declared = resources, external.read(resources)
        declared = self._declared[1]
        taken = {stored.service.address for stored in self._mirror.all(SERVICES).values()}
        taken |= {address for one in declared for address in one.addresses}
        return external.allocate(declared, self._network, taken, self.snapshots.value.hosts)

    def _deadline(self) -> float:
        return self._clock.monotonic() + self.lease_seconds

    def _lease(self, refused: tuple[Problem, ...]) -> wire.Lease:
        version = self.snapshots.value.version
        return wire.Lease(
            seconds=self.lease_seconds, snapshot=version, refused=refused, time=self._clock.wall()
        )

    def _renew(self, node: str) -> bool:
        """Whether the node was not alive before."""
        new = node not in self._leases
        if new:
            self._events.add("node", node, "alive")
        self._leases[node] = self._deadline()
        self._seen[node] = self._clock.wall()
        return new

    def _view(self, stored: StoredNode) -> wire.Node:
        name = stored.record.name
        return wire.Node(
            record=stored.record,
            joined=bool(stored.joined),
            alive=name in self._leases,
            last_seen=self._seen.get(name, 0.0),
            namespaces=stored.namespaces,
            workloads=len(self.workloads_of(name)),
            status=self._statuses.get(name),
        )

    def _services_for(
        self, node: str, workloads: Iterable[Workload]
    ) -> tuple[list[Write[Any]], dict[str, str]]:
        """Records for services that are new, back, or have other ports; and FQDN -> why it has no address."""
        known = self._mirror.all(SERVICES)
        addresses = {stored.service.address for stored in known.values()}
        addresses |= {one.address for one in self.snapshots.value.hosts}
        writes: list[Write[Any]] = []
        unplaced: dict[str, str] = {}
        workloads = tuple(workloads)
        everybody = (*workloads, *(w for w in self.snapshots.value.workloads if w.node != node))
        ports, exports = _ports(everybody), _exports(everybody)
        for fqdn, workload in {w.service_fqdn: w for w in workloads}.items():
            if (stored := known.get(fqdn)) is not None:
                said = {"ports": ports[fqdn] or stored.service.ports, "export_to": exports[fqdn]}
                kept = stored.service.model_copy(update=said)
                if (now := StoredService(service=kept)) != stored:
                    writes.append(Write(SERVICES, fqdn, now))
                continue
            try:
                address = virtual_address(fqdn, self._network, addresses)
            except ValueError as error:
                unplaced[fqdn] = str(error)
                continue
            addresses.add(address)
            service = Service(
                name=workload.service,
                namespace=workload.namespace,
                address=address,
                ports=ports[fqdn],
                export_to=exports[fqdn],
            )
            writes.append(Write(SERVICES, fqdn, StoredService(service=service)))
        return writes, unplaced

    def _shown_nodes(self) -> tuple[StoredNode, ...]:
        return tuple(stored for _, stored in sorted(self._mirror.all(NODES).items()) if stored.shown)

    def _heard(self, node: str, report: wire.Report) -> list[Write[Any]]:
        """What to write for a node that reports, if it was silent or is reached otherwise than is known."""
        stored = self.node(node)
        said = {"address": report.address, "tunnel": report.tunnel}
        record = stored.record.model_copy(update={key: value for key, value in said.items() if value})
        heard = stored.model_copy(update={"silent": 0.0, "shown": True, "record": record})
        return [Write(NODES, node, heard)] if heard != stored else []

    def _silenced(self) -> list[Write[Any]]:
        """Nodes that are silent from now on, and those no longer shown. Both come back as they were."""
        now, writes = self._clock.wall(), list[Write[Any]]()
        silent = {n: stored for n, stored in self._mirror.all(NODES).items() if n not in self._leases}
        for name, stored in silent.items():
            if not stored.silent:
                writes.append(Write(NODES, name, stored.model_copy(update={"silent": now})))
            elif stored.shown and now - stored.silent >= self._node_linger:
                self._events.add("node", name, "silent for long, it is listed no more until it comes back")
                writes.append(Write(NODES, name, stored.model_copy(update={"shown": False})))
        given_up = frozenset(
            name for name, one in silent.items() if one.silent and self._lingering.long(now - one.silent)
        )
        if given_up != self._given_up:
            new, self._given_up = given_up - self._given_up, given_up
            former = {project for name in new for project in silent[name].record.projects}
            self._lingering.projects(former, self._meshed())
        return writes

    def _meshed(self, without: str = "") -> set[str]:
        """Projects that a node other than `without` meshes, unless it has been silent for long."""
        others = self._mirror.all(NODES).keys() - {without} - self._given_up
        return {project for name in others for project in self.node(name).record.projects}

    def _retired(self, now: float) -> list[Write[Any]]:
        """Shown services without workloads whose time is over, or begins. Their addresses stay theirs."""
        running = {workload.service_fqdn for workload in self.snapshots.value.workloads}
        shown = {name: stored for name, stored in self._mirror.all(SERVICES).items() if stored.shown}
        idle = {name: stored.service.namespace for name, stored in shown.items() if name not in running}
        over = set(self._lingering.over(idle, now, self._referred))
        begun = {name for name in idle.keys() - over if not shown[name].idle}
        begins = {"idle": self._clock.wall()}
        return [
            Write(SERVICES, name, shown[name].model_copy(update={"shown": False} if name in over else begins))
            for name in sorted(over | begun)
        ]

    def _referred(self) -> frozenset[str]:
        """Services that resources name."""
        snapshot = self.snapshots.value
        if self._named[0] != snapshot.version:
            self._named = snapshot.version, referred(snapshot.resources, snapshot.services_by_fqdn)
        return self._named[1]

    def _tell(self, node: str, before: Iterable[Workload], after: Iterable[Workload]) -> None:
        old, new = ({w.id: w for w in workloads} for workloads in (before, after))
        for workload in (new[key] for key in new if key not in old):
            self._events.add("workload", workload.name, f"appeared on {node} as {workload.service_fqdn}")
        for workload in (old[key] for key in old if key not in new):
            self._events.add("workload", workload.name, f"gone from {node}")


def _ports(workloads: Iterable[Workload]) -> dict[str, tuple[Port, ...]]:
    """By service: every port that one of its workloads has, in order."""
    found: dict[str, set[Port]] = {}
    for workload in workloads:
        found.setdefault(workload.service_fqdn, set()).update(workload.ports)
    return {
        name: tuple(sorted(ports, key=lambda port: (port.number, port.protocol, port.origin, port.name)))
        for name, ports in found.items()
    }


def _exports(workloads: Iterable[Workload]) -> dict[str, tuple[str, ...]]:
    """By service: every namespace that one of its workloads names."""
    found: dict[str, set[str]] = {}
    for workload in workloads:
        found.setdefault(workload.service_fqdn, set()).update(workload.export_to)
    return {name: tuple(sorted(places)) for name, places in found.items()}
