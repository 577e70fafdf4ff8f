"""The whole API in one table: each row routes, guards and documents a call."""

from __future__ import annotations

from meshlite.model import wire
from meshlite.model.mesh import NodeRecord, Resource, Snapshot
from meshlite.server import handlers
from meshlite.server.auth import Role
from meshlite.server.call import MIB, Route

_PUBLIC = frozenset({Role.ANYONE})
_ADMIN = frozenset({Role.ADMIN})
_WRITE = frozenset({Role.OPERATOR})
_LOOK = frozenset({Role.VIEWER})
_READ = frozenset({Role.VIEWER, Role.NODE})
_NODE = frozenset({Role.NODE})
_OWN = frozenset({Role.OWN_NODE})
_NODE_OR_ADMIN = frozenset({Role.OWN_NODE, Role.ADMIN})

_RESOURCE = "/v1/resources/{kind}/{namespace}/{name}"

ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/health", handlers.health, _PUBLIC, "Is the server there?", answer=wire.Health),
    Route(
        "GET", "/metrics", handlers.metrics, _LOOK, "Figures of the server for Prometheus",
        answer=wire.Metrics, media="text/plain",
    ),
    Route("GET", "/v1/ca", handlers.authority, _PUBLIC, "The trust bundle", answer=wire.Authority),
    Route(
        "GET", "/v1/authorities", handlers.authorities, _LOOK,
        "What signs, what did, what will, and who is in the way of the next step of a rotation",
        answer=wire.Authorities,
    ),
    Route(
        "POST", "/v1/authorities/rotation", handlers.rotate, _ADMIN, "Take a step towards another root",
        body=wire.RotationRequest, answer=wire.Authorities,
        audited=True,
    ),
    Route(
        "POST", "/v1/authorities/import", handlers.bring_authority, _ADMIN,
        "Announce an own authority as the next; on the local socket only",
        body=wire.ImportRequest, answer=wire.Authorities,
        audited=True,
    ),
    Route(
        "POST", "/v1/tokens", handlers.make_token, _ADMIN, "Let a node join",
        body=wire.TokenRequest, answer=wire.Token,
        audited=True,
    ),
    Route(
        "GET", "/v1/tokens", handlers.tokens, _ADMIN, "Join tokens that can still be used",
        answer=wire.JoinTokens,
    ),
    Route(
        "DELETE", "/v1/tokens/{token}", handlers.revoke_token, _ADMIN, "Let nobody join with it any more",
        audited=True,
    ),
    Route(
        "POST", "/v1/access", handlers.create_access, _ADMIN, "Let a person call, with a role",
        body=wire.AccessRequest, answer=wire.AccessToken,
        audited=True,
    ),
    Route(
        "GET", "/v1/access", handlers.accesses, _ADMIN, "Which people may call, and as what",
        answer=wire.Accesses,
    ),
    Route(
        "DELETE", "/v1/access/{name}", handlers.revoke_access, _ADMIN, "Take a person's access away",
        audited=True,
    ),
    Route(
        "POST", "/v1/nodes/join", handlers.join, _PUBLIC, "Join with a token: the node's first certificate",
        body=wire.JoinRequest, answer=wire.Certificate,
        audited=True,
    ),
    Route(
        "POST", "/v1/nodes/{node}/certificate", handlers.renew, _OWN, "Renew the node's own certificate",
        body=wire.RenewRequest, answer=wire.Certificate,
    ),
    Route(
        "POST", "/v1/certificates", handlers.sign, _NODE, "A certificate for a workload of the calling node",
        body=wire.SignRequest, answer=wire.Certificate,
    ),
    Route(
        "GET", "/v1/certificates", handlers.certificates, _LOOK, "Certificates that are still valid",
        answer=wire.Certificates,
    ),
    Route("GET", "/v1/nodes", handlers.nodes, _LOOK, "All nodes and how they are", answer=wire.Nodes),
    Route(
        "DELETE", "/v1/nodes/{node}", handlers.remove_node, _NODE_OR_ADMIN,
        "Forget a node: its workloads and its right to call",
        audited=True,
    ),
    Route(
        "PUT", "/v1/nodes/{node}/projects", handlers.set_projects, _NODE_OR_ADMIN,
        "Which Compose projects the node puts into the mesh", body=wire.Projects, answer=NodeRecord,
        audited=True,
    ),
    Route(
        "PUT", "/v1/nodes/{node}/workloads", handlers.report, _NODE_OR_ADMIN,
        "The node's full current set of workloads; renews its lease", body=wire.Report, answer=wire.Lease,
        limit=8 * MIB,
    ),
    Route(
        "PUT", "/v1/nodes/{node}/status", handlers.set_status, _NODE_OR_ADMIN, "How the node is",
        body=wire.Status, limit=MIB,
    ),
    Route("GET", "/v1/snapshot", handlers.snapshot, _READ, "The whole mesh, once", answer=Snapshot),
    Route(
        "GET", "/v1/snapshots", handlers.snapshots, _READ,
        "The mesh as it changes: a line for each change, and a heartbeat every 5 s", answer=wire.Delta,
        query={"version": "what the reader has; with the current one it gets changes only"},
        media="application/x-ndjson",
    ),
    Route(
        "GET", "/v1/workloads", handlers.workloads, _READ, "Workloads", answer=wire.Workloads,
        query={"node": "only on this node", "namespace": "only in this", "service": "only of this name"},
    ),
    Route(
        "GET", "/v1/services", handlers.services, _READ, "Services, what stands behind and what shapes them",
        answer=wire.Services, query={"namespace": "only in this", "service": "only of this name"},
    ),
    Route(
        "GET", "/v1/resources", handlers.resources, _READ, "Stored resources, first applied first",
        answer=wire.Resources, query={"kind": "only of this kind", "namespace": "only in this"},
    ),
    Route(
        "POST", "/v1/resources", handlers.apply, _WRITE, "Apply documents, all or none",
        body=wire.ApplyRequest, answer=wire.ApplyResponse, also={422: wire.ApplyResponse},
        headers={"If-Match": "`*`: each document's generation must be the stored one, 0 for none; else 409"},
        limit=16 * MIB,
        audited=True,
    ),
    Route(
        "POST", "/v1/documents", handlers.read_documents, _LOOK, "Which resources texts name",
        body=wire.ReadRequest, answer=wire.ReadResponse, limit=16 * MIB,
    ),
    Route("GET", "/v1/kinds", handlers.kinds, _LOOK, "Kinds, and what they go by", answer=wire.Kinds),
    Route(
        "GET", "/v1/analysis", handlers.analysis, _LOOK, "Istio's analysis of the mesh", answer=wire.Analysis
    ),
    Route(
        "POST", "/v1/analysis", handlers.analyze_documents, _LOOK,
        "The same, as if the documents were applied", body=wire.AnalysisRequest, answer=wire.Analysis,
        limit=8 * MIB,
    ),
    Route("GET", _RESOURCE, handlers.resource, _READ, "A stored resource", answer=Resource),
    Route(
        "DELETE", _RESOURCE, handlers.delete, _WRITE, "Delete a resource",
        headers={"If-Match": "the generation that it must have, else 409"},
        audited=True,
    ),
    Route(
        "GET", _RESOURCE + "/history", handlers.history, _LOOK, "The last changes of a resource",
        answer=wire.History,
    ),
    Route(
        "GET", "/v1/audit", handlers.audit, _ADMIN, "Who changed what, and who was refused",
        answer=wire.Audit,
        query={
            "limit": "how many, the newest; 100",
            "since": "not older than this, in seconds since 1970",
            "after": "of higher number than this",
        },
    ),
    Route(
        "GET", "/v1/events", handlers.events, _LOOK, "What happened lately", answer=wire.Events,
        query={"limit": "how many, the newest; 100"},
    ),
)  # fmt: skip
