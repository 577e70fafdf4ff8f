"""What a BackendTLSPolicy must keep to."""

from __future__ import annotations

from collections.abc import Iterator

from meshlite.model.faults import Fault
from meshlite.model.gateway_api import BackendTLSPolicy
from meshlite.model.located import Path
from meshlite.model.mesh import Resource


def backend_tls_policy(spec: BackendTLSPolicy, resource: Resource) -> Iterator[Fault]:
    at: Path = ("spec", "validation")
    refs, known = spec.validation.ca_certificate_refs, spec.validation.well_known_ca_certificates
    if bool(refs) == bool(known):
        yield Fault(at, "needs either caCertificateRefs or wellKnownCACertificates: System")
    for place, name in enumerate(spec.validation.subject_alt_names):
        wanted, other = ("hostname", "uri") if name.type == "Hostname" else ("uri", "hostname")
        here = (*at, "subjectAltNames", place)
        if not getattr(name, wanted):
            yield Fault((*here, wanted), f"is required with type {name.type}")
        if getattr(name, other):
            yield Fault((*here, other), f"is not for type {name.type}")
    yield from _targets(spec)


def no_rules(spec: object, resource: Resource) -> Iterator[Fault]:
    """For kinds whose types say everything."""
    yield from ()


def _targets(spec: BackendTLSPolicy) -> Iterator[Fault]:
    seen: dict[tuple[str, str, str], list[str | None]] = {}
    for place, target in enumerate(spec.target_refs):
        sections = seen.setdefault((target.group, target.kind, target.name), [])
        if sections and (target.section_name is None or None in sections or target.section_name in sections):
            at = ("spec", "targetRefs", place, "sectionName")
            yield Fault(at, f"{target.name} is a target twice: give each its own sectionName")
        sections.append(target.section_name)
