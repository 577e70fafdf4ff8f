"""Messages between agents, CLI and the central server: JSON over HTTPS, or over the server's local socket.

The served OpenAPI file is made from these models.
"""

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

_Csr = Annotated[str, Field(description="PEM, ECDSA P-256; subject and names are ignored")]
_Time = Annotated[float, Field(description="seconds since 1970")]

# --- server -----------------------------------------------------------------------------------------------


class Health(Frozen):
    """GET /v1/health: the server answers, and says which mesh state it publishes."""

    status: Literal["ok"] = "ok"
    version: str = Field(description="of meshlite")
    snapshot: str = Field(description="version of the current snapshot")
    trust_domain: str
    started: _Time
    problems: tuple[Problem, ...] = Field(
        default=(), description="what of its own state it cannot read, and why it cannot write now"
    )


class Metrics(RootModel[str]):
    """GET /metrics, in Prometheus' text format."""

    model_config = ConfigDict(frozen=True)


class Event(Frozen):
    """Something that happened in the mesh, said to a person. The last 1000 are kept, newest last."""

    time: _Time
    kind: Literal["node", "workload", "resource", "certificate", "token", "access", "server"]
    subject: str = Field(description="name of the node, service, resource or identity")
    message: str


class Events(Frozen):
    """GET /v1/events."""

    events: tuple[Event, ...]


class AuditEntry(Frozen):
    """A change that was asked for, or a refusal. No secret is in it.

    `hash` covers the entry and `previous`, the hash of the entry before: a changed or missing one shows.
    """

    number: int
    time: _Time
    who: str
    source: str = Field(description="the address that the request came from, or: local socket")
    action: str = Field(description="method and path")
    subject: str = Field(description="what it was about: keys, names, ids")
    status: int = Field(description="of HTTP: below 300 it was done")
    reason: str = Field(default="", description="why it was refused")
    previous: str
    hash: str


class Audit(Frozen):
    """GET /v1/audit, newest last. `intact`: the hashes of all that is kept fit together."""

    entries: tuple[AuditEntry, ...]
    intact: bool


# --- nodes and their certificates -------------------------------------------------------------------------


class TokenRequest(Frozen):
    """POST /v1/tokens: let somebody join.

    `namespaces`: the only ones the node may speak for, and then it may get any identity in them. None: any
    namespace, but it gets only identities of workloads that it reports. `node`: only a node of this name may
    join with it, also in place of one that joined before (a reinstalled host).
    """

    namespaces: tuple[str, ...] | None = None
    ttl_seconds: float = Field(default=3600.0, gt=0, le=30 * 86400)
    uses: int = Field(default=1, ge=1, le=10_000)
    node: str = ""


class Token(Frozen):
    """`token` is shown this once: "<secret>.<sha256 of the root certificate's DER, hex>"."""

    token: str = Field(repr=False)
    expires: _Time
    id: str = Field(description="its name in lists and for revoking; no secret")


class JoinToken(Frozen):
    """A join token as lists show it. `uses`: how often it may still be used."""

    id: str
    namespaces: tuple[str, ...] | None = Field(description="see TokenRequest; null: any")
    node: str = Field(description="only a node of this name; empty: any")
    uses: int
    expires: _Time
    created: _Time = Field(description="0: by a version that did not keep it")
    author: str


class JoinTokens(Frozen):
    """GET /v1/tokens: those that can still be used, the newest first."""

    tokens: tuple[JoinToken, ...]


# --- people -----------------------------------------------------------------------------------------------

PersonRole = Literal["viewer", "operator", "admin"]


class AccessRequest(Frozen):
    """POST /v1/access: let a person, or a program that acts for people, call from elsewhere.

    viewer: look; operator: change resources, too; admin: tokens and nodes, too.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._@-]{0,61}[A-Za-z0-9])?$")
    role: PersonRole
    ttl_seconds: float = Field(default=30 * 86400.0, gt=0, le=366 * 86400)


class Access(Frozen):
    """Somebody's access as lists show it."""

    name: str
    role: PersonRole
    expires: _Time
    created: _Time
    author: str


class Accesses(Frozen):
    """GET /v1/access: those that have not expired, by name."""

    access: tuple[Access, ...]


class AccessToken(Frozen):
    """`token` is shown this once; it is sent as `Authorization: Bearer <token>`; its form is Token's."""

    token: str = Field(repr=False)
    access: Access


# --- joining and certificates -----------------------------------------------------------------------------


class JoinRequest(Frozen):
    """POST /v1/nodes/join: a new node asks for its certificate. `address`: where other nodes reach it."""

    node: str
    token: str = Field(repr=False)
    csr: _Csr
    address: str = ""


class SignRequest(Frozen):
    """POST /v1/certificates: a node asks for a workload's certificate (identity as SPIFFE URI)."""

    identity: str
    csr: _Csr


class RenewRequest(Frozen):
    """POST /v1/nodes/{node}/certificate: a node renews its own certificate."""

    csr: _Csr


class Certificate(Frozen):
    """A signed chain (PEM, leaf first), the trust bundle (PEM roots), and the times in seconds since 1970.

    `signer`: see model.mesh.Trust; empty: of a server that does not say.
    """

    chain: str
    roots: str
    not_before: float
    not_after: float
    identity: str
    signer: str = ""


class Authority(Frozen):
    """GET /v1/ca: the roots (PEM) that every certificate of the mesh chains to.

    `former`: roots that count no more; the server's chain leads to them too, for those who know no newer one.
    """

    roots: str
    trust_domain: str
    former: str = ""


class CaCertificate(Frozen):
    """An authority. `path`: names of those above it, the root last; none: it is the root itself."""

    subject: str
    sha256: str = Field(description="of the DER, hex: what certificates call their signer")
    root: str = Field(description="SHA-256 of its root: the pin that tokens carry")
    key: str = Field(description="what it signs with, e.g. ECDSA secp256r1")
    not_before: _Time
    not_after: _Time
    path: tuple[str, ...] = ()


class FormerRoot(Frozen):
    """`trusted`: certificates below it still count; else only tokens name it."""

    subject: str
    sha256: str
    not_after: _Time
    trusted: bool


DependentKind = Literal["node", "token", "access"]


class Dependent(Frozen):
    """Who still needs things as they are, and what to do about it."""

    kind: DependentKind
    name: str
    why: str


RotationStep = Literal["announce", "sign", "drop", "cancel"]


class Authorities(Frozen):
    """GET /v1/authorities. `next`: the step that a rotation takes next; `waiting`: what is in its way."""

    phase: Literal["steady", "announced", "signing"]
    signing: CaCertificate
    coming: CaCertificate | None
    former: tuple[FormerRoot, ...]
    next: RotationStep
    waiting: tuple[Dependent, ...]


class RotationRequest(Frozen):
    """POST /v1/authorities/rotation. `without`: nodes that are not waited for; they have to join anew."""

    step: RotationStep
    without: tuple[str, ...] = ()


class ImportRequest(Frozen):
    """POST /v1/authorities/import, on the local socket only: an own authority (PEM) to announce."""

    certificate: str
    key: str = Field(repr=False)
    chain: str = ""


class Issued(Frozen):
    """A leaf certificate that the server signed; the server never has its key."""

    serial: str = Field(description="hex")
    identity: str
    node: str
    not_before: _Time
    not_after: _Time
    signer: str = Field(default="", description="SHA-256 of the certificate that signed it; empty: not known")


class Certificates(Frozen):
    """GET /v1/certificates: those not yet expired, newest first.

    `chains`: names of what is above a certificate, by its signer; the root last.
    """

    certificates: tuple[Issued, ...]
    chains: dict[str, tuple[str, ...]] = {}


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


# --- workloads and services -------------------------------------------------------------------------------


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


# --- snapshots --------------------------------------------------------------------------------------------


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


# --- resources --------------------------------------------------------------------------------------------


class Document(Frozen):
    """One resource as read from a file, with where it stood. Sent by `apply`."""

    resource: Resource
    location: str = Field(default="", description="file:line of the document")
    lines: dict[str, int] = Field(default={}, description="field path, as in Rejection.field -> its line")


class Text(Frozen):
    """YAML or JSON as it is in a file; `name` is what messages call it."""

    text: str
    name: str = "-"


class Rejection(Frozen):
    """Why a document was refused: `where` is file:line, `field` a path in it, `reason` a sentence."""

    resource: str
    where: str = ""
    field: str = ""
    reason: str


_NAMESPACE_OF_TEXTS = "of documents in `texts` that name none; empty: the only meshed project"


class ReadRequest(Frozen):
    """POST /v1/documents: which resources are these?"""

    texts: tuple[Text, ...]
    namespace: str = Field(default="", description=_NAMESPACE_OF_TEXTS)


class ReadResponse(Frozen):
    """Keys in order, what is no resource of the mesh and passed over, and what cannot be read."""

    keys: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    rejected: tuple[Rejection, ...] = ()


class ApplyRequest(Frozen):
    """POST /v1/resources: all or nothing. `dry_run` says what would happen and changes nothing.

    Resources as `documents`, or as `texts`, which the server reads.
    """

    documents: tuple[Document, ...] = ()
    texts: tuple[Text, ...] = ()
    namespace: str = Field(default="", description=_NAMESPACE_OF_TEXTS)
    dry_run: bool = False
    allow_missing_hosts: bool = Field(default=False, description="take hosts and subsets nobody has yet")


class Applied(Frozen):
    """What became of one document. With `dry_run`: what would become of it."""

    key: str
    action: Literal["created", "configured", "unchanged"]
    generation: int
    warnings: tuple[str, ...] = ()


class ApplyResponse(Frozen):
    """200: all documents are in `applied`, in the order sent. 422: `rejected` says why nothing was.

    `warnings`: what in `texts` is no resource of the mesh and was passed over.
    """

    applied: tuple[Applied, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    warnings: tuple[str, ...] = ()


class KindNames(Frozen):
    """A kind as people and keys call it. `cluster_wide`: its objects are in the root namespace."""

    key: str
    name: str
    words: tuple[str, ...]
    cluster_wide: bool


class Kinds(Frozen):
    """GET /v1/kinds"""

    kinds: tuple[KindNames, ...]


class Resources(Frozen):
    """GET /v1/resources, first applied first."""

    resources: tuple[Resource, ...]


class AnalysisRequest(Frozen):
    """POST /v1/analysis: what would be wrong, were the documents applied."""

    documents: tuple[Document, ...]


class Analysis(Frozen):
    """GET /v1/analysis, POST /v1/analysis: errors first."""

    messages: tuple[AnalysisMessage, ...]


Action = Literal["created", "configured", "deleted"]


class Revision(Frozen):
    """One change of a resource: what it became, or for "deleted" what it was last."""

    time: _Time
    action: Action
    author: str = Field(description="who, e.g. uid 0 on the local socket")
    resource: Resource


class History(Frozen):
    """GET …/history of a resource: the last 20 changes, newest first, deletions too."""

    revisions: tuple[Revision, ...]


# --- errors -----------------------------------------------------------------------------------------------


class Error(Frozen):
    """Body of every answer that is not 2xx."""

    error: str
    hint: str = ""
    details: tuple[dict[str, Any], ...] = ()
