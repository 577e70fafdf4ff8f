"""All analyzers over one scene: the list is the order of what is said."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from meshlite.model.analysis.authorization_policies import authorization_policies
from meshlite.model.analysis.ca_certificates import ca_certificates
from meshlite.model.analysis.codes import LEVELS, SCHEMA_ERROR
from meshlite.model.analysis.deprecation import deprecation
from meshlite.model.analysis.destinations import destination_hosts, destination_subsets
from meshlite.model.analysis.envoy_filter_patches import envoy_filter_patches
from meshlite.model.analysis.first_applied import first_applied
from meshlite.model.analysis.gateway_credentials import gateway_credentials
from meshlite.model.analysis.gateways import gateway_certificates, gateway_conflicts, gateway_ports
from meshlite.model.analysis.mesh_hosts import mesh_hosts
from meshlite.model.analysis.scene import Finding, Scene
from meshlite.model.analysis.schema import schema
from meshlite.model.analysis.selectors import (
    gateway_selectors,
    sidecar_selectors,
    telemetry_defaults,
    telemetry_selectors,
)
from meshlite.model.analysis.service_entries import service_entry_addresses, service_entry_protocols
from meshlite.model.analysis.subsets import subsets
from meshlite.model.analysis.target_references import ATTACHED, target_references
from meshlite.model.analysis.telemetry_providers import telemetry_providers
from meshlite.model.analysis.virtual_service_gateways import jwt_claim_routes, virtual_service_gateways
from meshlite.model.faults import Fault, rejection
from meshlite.model.made import made_from
from meshlite.model.wire import AnalysisMessage, Rejection

Analyzer = Callable[[Scene], Iterator[Finding]]

ANALYZERS: tuple[Analyzer, ...] = (
    schema,
    deprecation,
    destination_hosts,
    destination_subsets,
    subsets,
    mesh_hosts,
    first_applied,
    ca_certificates,
    virtual_service_gateways,
    jwt_claim_routes,
    gateway_ports,
    gateway_conflicts,
    gateway_certificates,
    gateway_credentials,
    gateway_selectors,
    service_entry_addresses,
    service_entry_protocols,
    sidecar_selectors,
    authorization_policies,
    target_references,
    telemetry_providers,
    telemetry_selectors,
    telemetry_defaults,
    envoy_filter_patches,
)


_CONFLICTS: Mapping[Analyzer, frozenset[str]] = {
    mesh_hosts: frozenset({"VirtualService"}),
    first_applied: frozenset({"DestinationRule", "PeerAuthentication"}),
    gateway_conflicts: frozenset({"Gateway"}),
    sidecar_selectors: frozenset({"Sidecar"}),
    telemetry_selectors: frozenset({"Telemetry"}),
    telemetry_defaults: frozenset({"Telemetry"}),
    service_entry_protocols: frozenset({"ServiceEntry"}),
}
"""Those that find resources which contradict each other, and the kinds that they tell it of."""


def analyze(scene: Scene) -> tuple[AnalysisMessage, ...]:
    """What is wrong, errors first; what is missing is told only where the scene is all there is.

    Resources that were made from others need not keep to rules for people; they may conflict, though.
    """
    found = [
        message(one)
        for analyzer in ANALYZERS
        for one in analyzer(scene)
        if (scene.complete or not one.absent) and (analyzer in _CONFLICTS or not _made(one))
    ]
    return tuple(sorted(dict.fromkeys(found), key=lambda one: LEVELS.index(one.level)))


def _made(found: Finding) -> bool:
    return bool(made_from(found.document.resource.annotations))


def unread(rejected: Rejection) -> AnalysisMessage:
    """A document that could not even be read."""
    return AnalysisMessage(
        code=SCHEMA_ERROR.code,
        name=SCHEMA_ERROR.name,
        level=SCHEMA_ERROR.level,
        resource=rejected.resource,
        where=rejected.where,
        field=rejected.field,
        message=rejected.reason,
    )


def conflicts(scene: Scene, of: Collection[str] | None = None) -> tuple[AnalysisMessage, ...]:
    """Of several resources for one thing, who loses. `of`: only what is told of these kinds."""
    asked = (one for one, kinds in _CONFLICTS.items() if of is None or not kinds.isdisjoint(of))
    return tuple(message(found) for analyzer in asked for found in analyzer(scene))


def unattached(scene: Scene, of: Collection[str]) -> tuple[AnalysisMessage, ...]:
    """Resources of these kinds whose targets are not there."""
    return tuple(map(message, target_references(scene))) if not ATTACHED.isdisjoint(of) else ()


def message(found: Finding) -> AnalysisMessage:
    told = rejection(found.document, Fault(found.path, found.reason))
    written = ", ".join(made_from(found.document.resource.annotations))
    return AnalysisMessage(
        code=found.code.code,
        name=found.code.name,
        level=found.code.level,
        resource=written or told.resource,
        where=told.where,
        field="" if written else told.field,
        message=told.reason,
    )
