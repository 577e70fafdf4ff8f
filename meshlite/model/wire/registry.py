"""Messages on nodes, workloads and services, and the stream of snapshots."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel

from meshlite.model.mesh import (
    HostAddress,
    KeySet,
    MeshSettings,
    NodeRecord,
    Problem,
    Resource,
    Service,
    Trust,
)
from meshlite.model.networking.sidecar import OutboundMode
from meshlite.model.workload import Frozen, Port, Workload
from meshlite.model.workload import Health as HealthState

_Time = Annotated[float, Field(description="seconds since 1970")]


class Projects(Frozen):
    """PUT /v1/nodes/{node}/projects: which Compose projects the node puts into the mesh."""

    projects: tuple[str, ...] = ()
    everything: bool = False


class Status(RootModel[dict[str, Any]]):
    """PUT /v1/nodes/{node}/status: how the node is; the document of its agent's own GET /v1/status."""

    model_config = ConfigDict(frozen=True)


class Node(Frozen):
    """A node with what the server knows about it. `last_seen`: 0 if silent since the server started."""

    record: NodeRecord
    joined: bool = Field(description="it has a certificate; else only its projects were set")
    alive: bool = Field(description="its lease holds")
    last_seen: _Time
    namespaces: tuple[str, ...] | None = Field(description="those it may speak for; null: any")
    workloads: int
    status: Status | None


class Nodes(Frozen):
    """GET /v1/nodes."""

    nodes: tuple[Node, ...]


class Report(Frozen):
    """PUT /v1/nodes/{node}/workloads: the node's full current set; it also renews the node's lease.

    `address`, `tunnel`: where other nodes reach it; empty and 0: as it was.
    """

    workloads: tuple[Workload, ...]
    address: str = ""
    tunnel: int = Field(default=0, ge=0, le=65535)


class Lease(Frozen):
    """The answer to a report: send the next one well before `seconds` have passed, also without a change.

    `refused`: workloads that were left out (by id), and why; the rest of the report counts.
    """

    seconds: float
    refused: tuple[Problem, ...] = ()
    snapshot: str = Field(description="version of the snapshot that contains the report")
    time: float = Field(default=0.0, description="the server's clock, in seconds since 1970; 0: not told")


class Workloads(Frozen):
    """GET /v1/workloads."""

    workloads: tuple[Workload, ...]


class Endpoint(Frozen):
    """A workload as one of a service's replicas, or an address that somebody wrote."""

    workload: str = Field(description="Workload.id")
    name: str
    address: str = Field(default="", description="of one that a resource declares, where it is dialled")
    node: str
    version: str
    health: HealthState
    ready: bool = Field(description="gets calls: it is well, has a port, and can be reached")
    captured: bool
    reason: str


class Subset(Frozen):
    """A subset of a service, by a DestinationRule: how many workloads have its labels and are healthy."""

    name: str
    labels: dict[str, str] = {}
    ready: int
    total: int


class AnalysisMessage(Frozen):
    """What analysis says of one resource. `code` and `name` are Istio's, MESH… our own."""

    code: str
    name: str
    level: Literal["Error", "Warning", "Info"]
    resource: str = Field(description="Resource.key")
    where: str = Field(default="", description="file:line, where the resource came from a file")
    field: str = Field(default="", description="a path in the resource")
    message: str


class Shape(Frozen):
    """A resource, and what it does for a service."""

    resource: str = Field(description="Resource.key")
    role: str


class ServiceView(Frozen):
    """A service with what stands behind it and what shapes it.

    `mode`: who may come in without a mesh identity: nobody (STRICT), anybody (PERMISSIVE), or
    "mixed" where its replicas or ports differ; "none" where no workload of the mesh stands behind it.
    `declared_by`: keys of the ServiceEntries of a declared host, of which `resolution` and `location` are;
    empty for a service that was found. `resources`: keys of those that name or select it, in the
    order in which a request meets them; `shaped_by` says what each does, `conflicts` which of them contradict
    others.
    """

    name: str
    namespace: str
    fqdn: str
    address: str
    names: tuple[str, ...]
    ports: tuple[Port, ...]
    endpoints: tuple[Endpoint, ...]
    subsets: tuple[Subset, ...]
    mode: Literal["STRICT", "PERMISSIVE", "mixed", "none"]
    declared_by: tuple[str, ...] = ()
    resolution: str = ""
    location: str = ""
    resources: tuple[str, ...]
    shaped_by: tuple[Shape, ...] = ()
    problems: tuple[str, ...]
    conflicts: tuple[AnalysisMessage, ...] = ()


class Services(Frozen):
    """GET /v1/services."""

    services: tuple[ServiceView, ...]


class Delta(Frozen):
    """One line (JSON) of GET /v1/snapshots?version=V: what to change in the last snapshot to get the new one.

    `full`: forget everything first. Deltas are keyed: workloads by id, services by FQDN, resources by key,
    nodes by name, hosts by namespace/host, key sets by URI. A line with only a version is a heartbeat.
    """

    version: str
    full: bool = False
    trust_domain: str = "cluster.local"
    outbound_traffic_policy: OutboundMode = "ALLOW_ANY"
    nodes: tuple[NodeRecord, ...] = ()
    services: tuple[Service, ...] = ()
    workloads: tuple[Workload, ...] = ()
    resources: tuple[Resource, ...] = ()
    hosts: tuple[HostAddress, ...] = ()
    settings: MeshSettings = MeshSettings()
    key_sets: tuple[KeySet, ...] = ()
    trust: Trust | None = Field(default=None, description="null: as it was")
    removed_nodes: tuple[str, ...] = ()
    removed_services: tuple[str, ...] = ()
    removed_workloads: tuple[str, ...] = ()
    removed_resources: tuple[str, ...] = ()
    removed_hosts: tuple[str, ...] = ()
    removed_key_sets: tuple[str, ...] = ()
