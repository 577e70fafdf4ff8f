"""Messages between agents, CLI and the central server: JSON over HTTPS, or over the server's local socket.

The served OpenAPI file is made from these models.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from meshlite.model.mesh import NodeRecord, Resource, Service
from meshlite.model.workload import Frozen, Workload


class JoinRequest(Frozen):
    """POST /v1/nodes/join: a new node asks for its certificate. `token` is single-use."""

    node: str
    token: str
    csr: str = Field(description="PEM, ECDSA P-256; subject and names are ignored, the server sets them")
    address: str = ""


class SignRequest(Frozen):
    """POST /v1/certificates: a node asks for a workload's certificate (identity as SPIFFE URI)."""

    identity: str
    csr: str


class Certificate(Frozen):
    """A signed chain (PEM, leaf first), the trust bundle (PEM roots), and the times in seconds since 1970."""

    chain: str
    roots: str
    not_before: float
    not_after: float
    identity: str


class Report(Frozen):
    """PUT /v1/nodes/{node}/workloads: the node's full current set; it also renews the node's lease."""

    workloads: tuple[Workload, ...]


class Delta(Frozen):
    """One line (JSON) of GET /v1/snapshots?version=V: what to change in the last snapshot to get the new one.

    `full`: forget everything first. Deltas are keyed: workloads by id, services by FQDN, resources by key, nodes
    by name. A line with no change but a version is a heartbeat.
    """

    version: str
    full: bool = False
    trust_domain: str = "cluster.local"
    nodes: tuple[NodeRecord, ...] = ()
    services: tuple[Service, ...] = ()
    workloads: tuple[Workload, ...] = ()
    resources: tuple[Resource, ...] = ()
    removed_nodes: tuple[str, ...] = ()
    removed_services: tuple[str, ...] = ()
    removed_workloads: tuple[str, ...] = ()
    removed_resources: tuple[str, ...] = ()


class Document(Frozen):
    """One resource as read from a file, with where it stood. Sent by `apply`."""

    resource: Resource
    location: str = Field(default="", description="file:line of the document")


class ApplyRequest(Frozen):
    """POST /v1/resources: all or nothing. `dry_run` only validates."""

    documents: tuple[Document, ...]
    dry_run: bool = False


class Applied(Frozen):
    key: str
    action: Literal["created", "configured", "unchanged"]
    generation: int
    warnings: tuple[str, ...] = ()


class Rejection(Frozen):
    """Why a document was refused: `where` is file:line, `field` the path in the document, `reason` a sentence."""

    resource: str
    where: str = ""
    field: str = ""
    reason: str


class ApplyResponse(Frozen):
    applied: tuple[Applied, ...] = ()
    rejected: tuple[Rejection, ...] = ()


class Error(Frozen):
    """Body of every answer that is not 2xx."""

    error: str
    hint: str = ""
    details: tuple[dict[str, Any], ...] = ()
