"""What a call meets at each replica of its destination: whether it gets in, and which policy decides that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from meshlite.model.mesh import Service, Snapshot
from meshlite.model.names import ROOT_NAMESPACE, resolve_known
from meshlite.model.security import PeerAuthentication
from meshlite.model.workload import Workload
from meshlite.translate.explain.judgement import Calling, Judgement, judge
from meshlite.translate.explain.request import Request
from meshlite.translate.memo import Memo
from meshlite.translate.node import NodeView
from meshlite.translate.plan.authentication import Resident, strict_policy
from meshlite.translate.plan.catalog import labels
from meshlite.translate.plan.guard import Guard
from meshlite.translate.plan.guards import Book, guard_of
from meshlite.translate.plan.mesh import policies as written
from meshlite.translate.plan.resources import Applied, of_kind, read

_NO_PORT = 0


@dataclass(frozen=True)
class Verdict:
    """A judgement and the replicas (names) that it holds for."""

    judgement: Judgement
    replicas: tuple[str, ...]


@dataclass(frozen=True)
class Policies:
    """All that judges calls, first applied first."""

    book: Book
    peers: tuple[Applied[PeerAuthentication], ...]

    def verdicts(self, workloads: Iterable[Workload], call: Calling) -> tuple[Verdict, ...]:
        """Replicas that judge alike are put together."""
        found: dict[Judgement, list[str]] = {}
        for one in workloads:
            found.setdefault(self._judged(one, call), []).append(one.name)
        return tuple(Verdict(judgement, tuple(names)) for judgement, names in found.items())

    def _judged(self, called: Workload, call: Calling) -> Judgement:
        if not call.principal and self.strict(called, call.port):
            by = next((one.written for one in peers_of(self.peers, called)), "")
            return Judgement("denied", by, "STRICT: who has no identity of the mesh is refused a connection")
        return met(guard_of(self.book.near(called.namespace), called), call)

    def strict(self, called: Workload, port: int) -> bool:
        numbers = tuple(known.number for known in called.ports)
        resident = Resident(called.namespace, labels(called), numbers)
        return strict_policy(self.peers, resident).strict(port)


def met(guard: Guard, call: Calling) -> Judgement:
    """Claims that do not say whose they are, are of the only issuer that is trusted."""
    issuers = [one.issuer for one in guard.issuers]
    if call.claims is not None and "iss" not in call.claims and len(issuers) == 1:
        call = replace(call, claims={"iss": issuers[0], **call.claims})
    return judge(guard, call)


def peers_of(
    peers: Iterable[Applied[PeerAuthentication]], called: Workload
) -> tuple[Applied[PeerAuthentication], ...]:
    """PeerAuthentications that are about a workload, the narrowest scope first."""
    found = [
        one
        for one in peers
        if one.namespace in (called.namespace, ROOT_NAMESPACE)
        and _wanted(one).items() <= labels(called).items()
        and not (_wanted(one) and one.namespace == ROOT_NAMESPACE)
    ]
    return tuple(sorted(found, key=lambda one: (not _wanted(one), one.namespace == ROOT_NAMESPACE)))


def _wanted(one: Applied[PeerAuthentication]) -> Mapping[str, str]:
    return one.spec.selector.match_labels if one.spec.selector is not None else {}


def calling(source: Workload | None, request: Request, snapshot: Snapshot) -> Calling:
    """The request as `source` makes it; None, or one that is not captured: who has no identity."""
    known = source is not None and source.captured
    return Calling(
        str(source.identity(snapshot.trust_domain)) if source is not None and known else "",
        source.addresses if source is not None else (),
        request.port or _NO_PORT,
        request.host,
        request.method,
        request.path,
        request.headers,
        request.claims,
        request.http,
        request.host if request.tls else "",
        snapshot.settings.path_normalization,
    )


def verdicts(snapshot: Snapshot, source: Workload | None, request: Request) -> tuple[Verdict, ...]:
    """What the replicas of `request.host` make of it, as it is. Raises ValueError for an unknown one."""
    known = snapshot.services_by_fqdn
    near = source.namespace if source is not None else ""
    fqdn = resolve_known(request.host, near, known)
    service = known.get(fqdn) or _only(request.host, snapshot)
    ports = [one.number for one in service.ports if one.protocol != "udp"]
    if not request.port and len(ports) > 1:
        raise ValueError(f"{service.name} has {', '.join(map(str, ports))}: say which port")
    port = request.port or (ports or [_NO_PORT])[0]
    called = snapshot.workloads_by_service.get(service.fqdn, ())
    if not called:
        raise ValueError(f"{service.name} has no replica now, and policies choose by what replicas are like")
    resources, _ = read(Memo(), snapshot.resources)
    policies = Policies(written(snapshot, NodeView("none", ())), of_kind(resources, PeerAuthentication))
    return policies.verdicts(called, calling(source, replace(request, port=port), snapshot))


def _only(name: str, snapshot: Snapshot) -> Service:
    """The one service of the name, in whichever namespace."""
    found = [one for one in snapshot.services if one.name == name]
    if len(found) != 1:
        spaces = ", ".join(one.namespace for one in found)
        reason = (
            f"several services are called {name}, in {spaces}" if found else f"no service is called {name}"
        )
        raise ValueError(reason)
    return found[0]
