"""How this node is, as one JSON document: for the command line, and for the server to show elsewhere."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import meshlite
from meshlite.agent.ads import SHORT_NAMES, Rejection
from meshlite.agent.certs import Certificates, Held
from meshlite.agent.hook import HookState
from meshlite.agent.metrics import Timings
from meshlite.agent.proxy import Proxy
from meshlite.agent.reconcile import Reconciler
from meshlite.agent.upstream import Upstream
from meshlite.agent.xds import XdsServer
from meshlite.config import Settings
from meshlite.model.called import called

Document = dict[str, Any]


@dataclass
class Status:
    """Looks at the agent's parts; asks nobody."""

    settings: Settings
    proxy: Proxy
    xds: XdsServer
    upstream: Upstream
    certificates: Certificates
    timings: Timings
    reconciler: Reconciler
    hook: HookState = field(default_factory=lambda: HookState(False, ""))
    started: float = field(default_factory=time.time)

    def document(self) -> Document:
        """GET /v1/status."""
        snapshot = self.upstream.snapshot.value
        record = snapshot.node(self.settings.node)
        age = time.time() - self.upstream.received if self.upstream.received else None
        return {
            "node": self.settings.node,
            "version": meshlite.__version__,
            "pid": os.getpid(),
            "started": self.started,
            "server": {
                "url": self.upstream.link.url,
                "connected": self.upstream.link.connected,
                "since": self.upstream.link.since,
                "error": self.upstream.link.error,
            },
            "snapshot": {
                "version": self.reconciler.picture.snapshot.version,
                "age_seconds": age,
                "from_disk": self.upstream.from_disk,
            },
            "projects": list(record.projects) if record else [],
            "everything": bool(record and record.everything),
            "hook": {"installed": self.hook.active, "reason": self.hook.reason},
            "proxy": self.proxy_document(),
            "workloads": self._workloads(),
            "attachments": self._attachments(),
            "rejected": self.rejected(),
            "problems": [problem.model_dump() for problem in self.reconciler.problems],
            **self._timings(),
            "certificates": self._certificates(),
            "trust": self._trust(),
            "clock": {"skew_seconds": self.upstream.skew},
        }

    def proxy_document(self) -> Document:
        status = self.proxy.status
        return {
            "state": status.state,
            "pid": status.pid,
            "epoch": status.epoch,
            "restarts": status.restarts,
            "uptime_seconds": time.time() - status.started if status.started else 0.0,
            "connected": bool(self.xds.connections),
            "synced": self.xds.synced and not self.reconciler.pending,
            "version": status.version,
            "error": status.error,
        }

    def proxy_status(self) -> Document:
        """GET /v1/proxy/status."""
        streams = [
            {
                "id": connection.name,
                "connected": True,
                "synced": connection.settled,
                "types": connection.stream.counts(),
            }
            for connection in self.xds.connections
        ]
        return {
            "proxy": self.proxy_document(),
            "streams": streams,
            "rejected": self.rejected(),
            "last_sync_ms": self.timings.propagation.last * 1000,
        }

    def rejected(self) -> list[Document]:
        return [_rejected(rejection) for rejection in self.xds.rejections]

    def certificate_list(self) -> list[Document]:
        """GET /v1/certificates."""
        return [_certificate(identity, held) for identity, held in self.certificates.held.value.items()]

    def attachments_of(self, name: str) -> tuple[str, ...]:
        """Keys of the attachments that hold a workload of this name, or go by it themselves."""
        picture = self.reconciler.picture
        meant = {workload.id for workload in called(name, picture.snapshot.workloads)}
        held = (item for item in picture.view.attachments if item.key == name or meant & {*item.workloads})
        return tuple(sorted(item.key for item in held))

    def _workloads(self) -> list[Document]:
        """Every container that should be in the mesh, captured or not."""
        picture, trust_domain = self.reconciler.picture, self.reconciler.picture.snapshot.trust_domain
        current = {workload.id: workload for workload in picture.snapshot.workloads}
        strict = picture.translation.strict
        inside = {
            id: attachment.key for attachment in picture.view.attachments for id in attachment.workloads
        }
        return [
            {
                "id": workload.id,
                "name": workload.name,
                "container": workload.name,
                "namespace": workload.namespace,
                "project": found.project,
                "service": workload.service,
                "version": workload.version,
                "health": workload.health,
                "captured": workload.captured,
                "reason": workload.reason,
                "identity": str(workload.identity(trust_domain)),
                "attachment": inside.get(workload.id, ""),
                "strict": bool((key := inside.get(workload.id)) and strict[key].default),
            }
            for found in picture.found
            if (workload := current.get(found.workload.id)) is not None
        ]

    def _attachments(self) -> list[Document]:
        picture = self.reconciler.picture
        return [
            {
                "key": item.key,
                "path": item.path,
                "link": item.link,
                "owner": item.owner,
                "workloads": list(item.workloads),
                "strict": picture.translation.strict[item.key].default,
                "exceptions": sorted(picture.translation.strict[item.key].exceptions),
            }
            for item in picture.view.attachments
        ]

    def _timings(self) -> Document:
        propagation, translation = self.timings.propagation, self.timings.translation
        return {
            "propagation": {
                "count": propagation.count,
                "p50_ms": propagation.quantile(0.5) * 1000,
                "p99_ms": propagation.quantile(0.99) * 1000,
                "last_ms": propagation.last * 1000,
            },
            "translation": {"last_ms": translation.last * 1000, "count": translation.count},
        }

    def _trust(self) -> Document:
        """What a change of the mesh's root waits for: the node's own certificate counts, too."""
        trusted = self.reconciler.trusted
        signers = trusted.signers | ({self.upstream.signer} if self.upstream.joined else set())
        return {"roots": sorted(trusted.roots), "signers": sorted(signers)}

    def _certificates(self) -> Document:
        held, now = self.certificates.held.value.values(), time.time()
        return {
            "valid": sum(item.certificate is not None and item.certificate.not_after > now for item in held),
            "failing": sum(bool(item.error) for item in held),
        }


def _rejected(rejection: Rejection) -> Document:
    return {
        "type": SHORT_NAMES[rejection.type_url],
        "resource": rejection.name,
        "version": rejection.version,
        "reason": rejection.reason,
        "since": time.time() - (time.monotonic() - rejection.since),
    }


def _certificate(identity: str, held: Held) -> Document:
    certificate = held.certificate
    return {
        "identity": identity,
        "serial": held.serial,
        "not_before": _iso(certificate.not_before if certificate else 0),
        "not_after": _iso(certificate.not_after if certificate else 0),
        "refresh_at": _iso(held.due),
        "error": held.error,
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else ""
