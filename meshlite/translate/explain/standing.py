"""The policies that hold for workloads, in the order in which a call meets them, each in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from meshlite.model.mesh import Snapshot
from meshlite.model.security import (
    AuthorizationPolicy,
    Condition,
    Operation,
    PeerAuthentication,
    RequestAuthentication,
    Rule,
    Source,
)
from meshlite.model.workload import Workload
from meshlite.translate.explain.verdict import peers_of
from meshlite.translate.memo import Memo
from meshlite.translate.node import NodeView
from meshlite.translate.plan.attachment import Called, P, Policy, chooses, near
from meshlite.translate.plan.catalog import labels
from meshlite.translate.plan.mesh import policies
from meshlite.translate.plan.resources import Applied, of_kind, read

ORDER = ("peer", "ask", "token", "audit", "deny", "allow")
"""What a call meets, one after the other."""

_STEPS = {"CUSTOM": "ask", "AUDIT": "audit", "DENY": "deny", "ALLOW": "allow"}


@dataclass(frozen=True)
class Standing:
    """A policy. `step`: where in ORDER; `says`: in words; `trial`: it is tried out only."""

    step: str
    resource: str
    says: str
    replicas: tuple[str, ...]
    trial: bool = False


def standing(snapshot: Snapshot, workloads: Sequence[Workload]) -> tuple[Standing, ...]:
    """`workloads`: a service's. Within a step in order of application; what is tried out comes last."""
    book = policies(snapshot, NodeView("none", ()))
    resources, _ = read(Memo(), snapshot.resources)
    found = list(_peers(of_kind(resources, PeerAuthentication), workloads))
    for posted in book.authorization:
        applied = posted.applied
        if names := _chosen(applied, applied.spec, workloads):
            step = _STEPS[applied.spec.action]
            found.append(Standing(step, applied.written, _authorization(applied.spec), names, posted.trial))
    for presented in book.authentication:
        one = presented.applied
        if names := _chosen(one, one.spec, workloads):
            found.append(Standing("token", one.written, _tokens(one.spec), names))
    return tuple(sorted(found, key=lambda one: (one.trial, ORDER.index(one.step))))


def _chosen(applied: Applied[P], spec: Policy, workloads: Iterable[Workload]) -> tuple[str, ...]:
    return tuple(
        one.name
        for one in workloads
        if near((applied,), one.namespace)
        and chooses(applied, spec, Called(one.namespace, one.service, labels(one)))
    )


def _peers(
    peers: tuple[Applied[PeerAuthentication], ...], workloads: Iterable[Workload]
) -> Iterator[Standing]:
    """Those that are about the workloads, the narrowest scope first."""
    names: dict[str, list[str]] = {}
    for one in workloads:
        for policy in peers_of(peers, one):
            names.setdefault(policy.key, []).append(one.name)
    for key, known in names.items():
        policy = next(one for one in peers if one.key == key)
        yield Standing("peer", policy.written, _mode(policy.spec), tuple(known))


def _mode(spec: PeerAuthentication) -> str:
    default = spec.mtls.mode if spec.mtls is not None else "UNSET"
    ports = [f"{mtls.mode} on port {port}" for port, mtls in (spec.port_level_mtls or {}).items()]
    return ", ".join([default, *ports])


def _tokens(spec: RequestAuthentication) -> str:
    issuers = ", ".join(one.issuer or "any issuer" for one in spec.jwt_rules) or "nobody"
    return f"tokens, where there are any, must be of {issuers}"


def _authorization(spec: AuthorizationPolicy) -> str:
    verb = {"ALLOW": "allows", "DENY": "denies", "AUDIT": "notes", "CUSTOM": "asks about"}[spec.action]
    if spec.action == "CUSTOM" and spec.provider is not None:
        verb = f"asks {spec.provider.name} about"
    if not spec.rules:
        return f"{verb} nothing" + (": default deny" if spec.action == "ALLOW" else "")
    return f"{verb} " + "; or ".join(_rule(rule) for rule in spec.rules)


def _rule(rule: Rule) -> str:
    who = " or ".join(_source(part.source) for part in rule.from_) or "anybody"
    what = " or ".join(_operation(part.operation) for part in rule.to)
    when = " and ".join(_condition(one) for one in rule.when)
    return " ".join(filter(None, (who, what and f"to {what}", when and f"if {when}")))


def _source(source: Source) -> str:
    return _fields(source) or "anybody"


def _operation(operation: Operation) -> str:
    return _fields(operation) or "anything"


def _fields(part: Source | Operation) -> str:
    said = ((name, value) for name, value in part.model_dump(by_alias=True, exclude_defaults=True).items())
    return " and ".join(f"{name} {', '.join(map(str, value))}" for name, value in said if value)


def _condition(one: Condition) -> str:
    wanted = [f"{one.key} {', '.join(one.values)}"] if one.values else []
    unwanted = [f"{one.key} not {', '.join(one.not_values)}"] if one.not_values else []
    return " and ".join([*wanted, *unwanted])
