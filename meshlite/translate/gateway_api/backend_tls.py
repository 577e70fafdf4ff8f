"""BackendTLSPolicies as DestinationRules: TLS to services that want it, with the names they must have.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#backendtlspolicy
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshlite.model.gateway_api import BackendTLSPolicy
from meshlite.model.gateway_api.references import PolicyTargetReference
from meshlite.model.mesh import GATEWAY_API, Resource
from meshlite.model.names import fqdn
from meshlite.translate.gateway_api.conditions import Complaint, Status, verdict
from meshlite.translate.gateway_api.made import made
from meshlite.translate.gateway_api.names import rule_name
from meshlite.translate.gateway_api.tls import credential
from meshlite.translate.gateway_api.world import CONTROLLER, MESH_CONTROLLER, World
from meshlite.translate.plan.resources import Applied

_IGNORE = "istio.io/ignore-policy-attachment"
_INVALID = "invalid://"
"""A credential that nobody has: connections fail instead of going unchecked."""
_MOST_ANCESTORS = 16


@dataclass(frozen=True)
class Target:
    """A target of a policy. `hosts`: what it stands for; `port`: the only one meant, 0 for all."""

    policy: Applied[BackendTLSPolicy]
    reference: PolicyTargetReference
    hosts: tuple[str, ...]
    port: int = 0
    wrong: Complaint | None = None


def targets(world: World) -> tuple[Target, ...]:
    """All targets of all policies. Of two for the same the first applied counts."""
    found: list[Target] = []
    taken: dict[tuple[str, ...], str] = {}
    for policy in world.policies:
        if _ignored(policy):
            continue
        for reference in policy.spec.target_refs:
            target = _target(policy, reference, world)
            key = (policy.namespace, reference.kind, reference.name, reference.section_name or "")
            first = taken.setdefault(key, policy.resource.name)
            if target.wrong is None and first != policy.resource.name:
                clash = Complaint("Conflicted", f"the BackendTLSPolicy {first} has the same target")
                target = Target(policy, reference, target.hosts, target.port, clash)
            found.append(target)
    return tuple(found)


def destination_rules(found: Sequence[Target], world: World) -> Iterator[Resource]:
    """One for each host that a target stands for."""
    grouped: dict[tuple[str, str, str], list[Target]] = {}
    for target in found:
        if target.wrong is None:
            for host in target.hosts:
                grouped.setdefault((target.policy.namespace, target.reference.name, host), []).append(target)
    for (namespace, name, host), group in grouped.items():
        policy: dict[str, Any] = {}
        for target in group:
            settings, _ = _settings(target.policy, world)
            if target.port:
                row = {"port": {"number": target.port}, "tls": settings}
                policy.setdefault("portLevelSettings", []).append(row)
            else:
                policy.setdefault("tls", settings)
        if "portLevelSettings" in policy:
            policy["portLevelSettings"].sort(key=lambda row: row["port"]["number"])
        external = group[0].reference.kind == "ServiceEntry"
        own = rule_name(f"{name}~{host.replace('.', '-')}" if external else name)
        spec = {"host": host, "trafficPolicy": policy}
        yield made("DestinationRule", own, namespace, spec, *(target.policy.resource for target in group))


def status(
    policy: Applied[BackendTLSPolicy],
    found: Sequence[Target],
    users: Mapping[tuple[str, str, str], Sequence[tuple[str, str]]],
    world: World,
) -> Status:
    """`users`: kind, namespace and name of a backend -> namespace and name of Gateways that send to it."""
    generation = policy.resource.generation
    if _ignored(policy):
        ignored = Complaint("IgnoredByIstio", f"the annotation {_IGNORE} takes it out of use")
        return {
            "ancestors": [
                _ancestor(
                    _reference(ref), MESH_CONTROLLER, [verdict("Accepted", ignored, ("", ""), generation)]
                )
                for ref in policy.spec.target_refs
            ]
        }
    _, complaints = _settings(policy, world)
    rows = []
    conditions: list[dict[str, Any]] = []
    gateways: set[tuple[str, str]] = set()
    for target in (one for one in found if one.policy.key == policy.key):
        conditions = [
            verdict(kind, complaint, (good, "the policy is valid"), generation)
            for kind, complaint, good in (
                ("Accepted", target.wrong or complaints.get("Accepted"), "Accepted"),
                ("ResolvedRefs", complaints.get("ResolvedRefs"), "ResolvedRefs"),
            )
        ]
        rows.append(_ancestor(_reference(target.reference), MESH_CONTROLLER, conditions))
        key = (target.reference.kind, policy.namespace, target.reference.name)
        gateways.update(users.get(key, ()) if target.wrong is None or target.hosts else ())
    for _, name in sorted(gateways):
        reference = {"group": GATEWAY_API, "kind": "Gateway", "name": name}
        rows.append(_ancestor(reference, CONTROLLER, conditions))
    return {"ancestors": rows[:_MOST_ANCESTORS]}


def _ignored(policy: Applied[BackendTLSPolicy]) -> bool:
    return policy.resource.annotations.get(_IGNORE, "").lower() == "true"


def _reference(target: PolicyTargetReference) -> dict[str, Any]:
    dumped: dict[str, Any] = target.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped


def _ancestor(reference: dict[str, Any], controller: str, conditions: list[dict[str, Any]]) -> dict[str, Any]:
    return {"ancestorRef": reference, "controllerName": controller, "conditions": conditions}


def _target(policy: Applied[BackendTLSPolicy], reference: PolicyTargetReference, world: World) -> Target:
    hosts: tuple[str, ...]
    ports: Mapping[str, int]
    namespace, section = policy.namespace, reference.section_name
    if (reference.group, reference.kind) == ("", "Service"):
        service = world.known.service(reference.name, namespace)
        hosts = (fqdn(reference.name, namespace),) if service is not None else ()
        ports = {port.name: port.number for port in service.ports if port.name} if service else {}
    elif (reference.group, reference.kind) == ("networking.istio.io", "ServiceEntry"):
        entry = world.entries.get((namespace, reference.name))
        hosts, ports = (entry.hosts, entry.ports) if entry is not None else ((), {})
    else:
        message = f"a {reference.kind} cannot be the target of a policy"
        return Target(policy, reference, (), 0, Complaint("TargetNotFound", message))
    if not hosts:
        message = f"there is no {reference.kind} {reference.name} in namespace {namespace}"
        return Target(policy, reference, (), 0, Complaint("TargetNotFound", message))
    if section and section not in ports:
        message = f"{reference.name} has no port called {section}"
        return Target(policy, reference, (), 0, Complaint("TargetNotFound", message))
    return Target(policy, reference, hosts, ports[section] if section else 0)


def _settings(policy: Applied[BackendTLSPolicy], world: World) -> tuple[dict[str, Any], dict[str, Complaint]]:
    """ClientTLSSettings, and what is wrong by condition.

    The certificate must be the hostname's where no others are named; Istio then believes any name.
    Source: https://gateway-api.sigs.k8s.io/api-types/backendtlspolicy/
    """
    validation = policy.spec.validation
    names = [name.hostname or name.uri or "" for name in validation.subject_alt_names]
    found: dict[str, Any] = {"mode": "SIMPLE", "sni": validation.hostname}
    found["subjectAltNames"] = names or [validation.hostname]
    credential, complaints = _authority(policy, world)
    return found | ({"credentialName": credential} if credential else {}), complaints


def _authority(policy: Applied[BackendTLSPolicy], world: World) -> tuple[str, dict[str, Complaint]]:
    """Who must have signed: the system's authorities where nothing is said. Of several the first counts."""
    validation = policy.spec.validation
    known = validation.well_known_ca_certificates
    if known:
        if known == "System":
            return "", {}
        return "", {"Accepted": Complaint("Invalid", f"wellKnownCACertificates: {known} is not known")}
    ref = validation.ca_certificate_refs[0]
    wrong: Complaint | None = None
    if (ref.group, ref.kind) != ("", "ConfigMap"):
        wrong = Complaint("InvalidKind", f"a {ref.kind} cannot hold the authorities: only a ConfigMap can")
    elif world.known.credentials is not None and (
        f"{policy.namespace}/{ref.name}-cacert" not in world.known.credentials
    ):
        message = f"there is no CA certificate {ref.name} in namespace {policy.namespace}"
        wrong = Complaint("InvalidCACertificateRef", message)
    if wrong is None:
        return credential(policy.namespace, ref.name), {}
    accepted = Complaint("NoValidCACertificate", wrong.message)
    return _INVALID, {"ResolvedRefs": wrong, "Accepted": accepted}
