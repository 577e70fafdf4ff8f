"""Istio's own analysis cases get Istio's messages, for every analyzer that makes sense without Kubernetes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlite.model.analysis.analyze import ANALYZERS, Analyzer, analyze
from meshlite.model.analysis.authorization_policies import authorization_policies
from meshlite.model.analysis.ca_certificates import ca_certificates
from meshlite.model.analysis.deprecation import deprecation
from meshlite.model.analysis.destinations import destination_hosts, destination_subsets
from meshlite.model.analysis.envoy_filter_patches import envoy_filter_patches
from meshlite.model.analysis.gateway_credentials import gateway_credentials
from meshlite.model.analysis.gateways import gateway_certificates, gateway_conflicts, gateway_ports
from meshlite.model.analysis.kubernetes import world
from meshlite.model.analysis.mesh_hosts import mesh_hosts
from meshlite.model.analysis.scene import MeshFacts, Scene
from meshlite.model.analysis.schema import schema
from meshlite.model.analysis.selectors import (
    gateway_selectors,
    sidecar_selectors,
    telemetry_defaults,
    telemetry_selectors,
)
from meshlite.model.analysis.service_entries import service_entry_addresses, service_entry_protocols
from meshlite.model.analysis.stage import of_files
from meshlite.model.analysis.subsets import subsets
from meshlite.model.analysis.telemetry_providers import telemetry_providers
from meshlite.model.analysis.virtual_service_gateways import jwt_claim_routes, virtual_service_gateways
from meshlite.model.documents import read
from meshlite.model.names import canonical_namespace
from tests.conformance import corpus

pytestmark = corpus.needed

FOLDER = corpus.ROOT / "5-analysis"
TESTDATA = FOLDER / "istio/pkg/config/analysis/analyzers"
NOW = 1_790_000_000.0
"""September 2026: Istio's good certificates are valid then, and its expired one is not."""

OURS: dict[str, Analyzer] = {
    "authz.AuthorizationPoliciesAnalyzer": authorization_policies,
    "deprecation.FieldAnalyzer": deprecation,
    "destinationrule.CaCertificateAnalyzer": ca_certificates,
    "destinationrule.PodNotSelectedAnalyzer": subsets,
    "envoyfilter.EnvoyPatchAnalyzer": envoy_filter_patches,
    "gateway.CertificateAnalyzer": gateway_certificates,
    "gateway.ConflictingGatewayAnalyzer": gateway_conflicts,
    "gateway.IngressGatewayPortAnalyzer": gateway_ports,
    "gateway.SecretAnalyzer": gateway_credentials,
    "k8sgateway.SelectorAnalyzer": gateway_selectors,
    "schema.ValidationAnalyzer": schema,
    "serviceentry.ConflictingServiceEntryProtocolAnalyzer": service_entry_protocols,
    "serviceentry.ProtocolAddressesAnalyzer": service_entry_addresses,
    "sidecar.SelectorAnalyzer": sidecar_selectors,
    "telemetry.DefaultSelectorAnalyzer": telemetry_defaults,
    "telemetry.LightstepAnalyzer": deprecation,
    "telemetry.ProviderAnalyzer": telemetry_providers,
    "telemetry.SelectorAnalyzer": telemetry_selectors,
    "virtualservice.ConflictingMeshGatewayHostsAnalyzer": mesh_hosts,
    "virtualservice.DestinationHostAnalyzer": destination_hosts,
    "virtualservice.DestinationRuleAnalyzer": destination_subsets,
    "virtualservice.GatewayAnalyzer": virtual_service_gateways,
    "virtualservice.JWTClaimRouteAnalyzer": jwt_claim_routes,
}

KUBERNETES_ALONE: dict[str, str] = {
    "authn.BlockedCIDRsAnalyzer": "is about the deployment of Istio's own control plane",
    "conditions.ConditionAnalyzer": "reads the status that Kubernetes' API server keeps",
    "deployment.ServiceAssociationAnalyzer": "is about several Services before a Deployment: here is one",
    "service.PortNameAnalyzer": "is about the names of a Kubernetes Service's ports: ours come from labels",
}

STATUS_OF_THE_API_SERVER = {"ServiceEntry Addresses Allocated"}
"""Cases that turn on an object's status, which is dropped when it is read; here addresses are allocated."""


@dataclass(frozen=True)
class Case:
    name: str
    files: tuple[Path, ...]
    mesh: Path | None
    analyzer: str
    expected: Counter[tuple[str, str, str, str]]

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def cases() -> Iterator[Case]:
    if not FOLDER.is_dir():
        return
    for row in yaml.safe_load((FOLDER / "EXPECTED.yaml").read_text()):
        wanted = Counter(
            (one["code"], one["message"], one["level"], _canonical(one["resource"]))
            for one in row["expected"]
        )
        mesh = TESTDATA / row["mesh_config_file"] if row["mesh_config_file"] else None
        files = tuple(TESTDATA / name for name in row["input_files"])
        yield Case(row["name"], files, mesh, row["analyzer"], wanted)


def _canonical(resource: str) -> str:
    """`Kind namespace/name` with our root namespace; what names no namespace is in `default`."""
    kind, _, title = resource.partition(" ")
    space, _, name = title.rpartition("/")
    return f"{kind}/{canonical_namespace(space or 'default')}/{name}"


def scene_of(case: Case) -> Scene:
    """The files as Istio's tests take them: all there is, beside the gateway that every mesh has."""
    texts = [(path.read_text(), path.name) for path in case.files]
    documents = [document for text, name in texts for document in read(text, name).documents]
    found = world([text for text, _ in texts], "default", NOW)
    scene = of_files(documents, found, complete=True)
    facts = _facts(yaml.safe_load(case.mesh.read_text()) if case.mesh else {})
    return replace(scene, secrets=found.secrets, mesh=facts)


def _facts(mesh: dict[str, Any]) -> MeshFacts:
    metadata = mesh.get("defaultConfig", {}).get("proxyMetadata", {})
    names = ("ISTIO_META_DNS_AUTO_ALLOCATE", "PILOT_ENABLE_IP_AUTOALLOCATE")
    allocated = metadata.get("ISTIO_META_DNS_CAPTURE") == "true" and any(
        metadata.get(name) == "true" for name in names
    )
    providers = mesh.get("extensionProviders", ())
    return MeshFacts(
        access_log_by_default=bool(mesh.get("defaultProviders", {}).get("accessLogging")),
        addresses_allocated=allocated,
        lightstep_providers=frozenset(one["name"] for one in providers if "lightstep" in one),
    )


CASES = list(cases())
DRIVEN = [
    case
    for case in CASES
    if case.analyzer not in KUBERNETES_ALONE and case.name not in STATUS_OF_THE_API_SERVER
]


@pytest.mark.parametrize("case", DRIVEN, ids=str)
def test_istios_messages(case: Case) -> None:
    scene = scene_of(case)
    analyzer = OURS[case.analyzer]
    found = Counter(
        (one.code.code, one.code.name, one.code.level, one.document.resource.key) for one in analyzer(scene)
    )
    assert found == case.expected


@pytest.mark.parametrize("case", DRIVEN, ids=str)
def test_each_message_has_its_place(case: Case) -> None:
    for found in analyze(scene_of(case)):
        file, _, line = found.where.rpartition(":")
        assert file in {path.name for path in case.files}
        assert int(line) > 0
        assert found.field
        assert found.message


def test_every_analyzer_is_accounted_for() -> None:
    named = {case.analyzer for case in CASES}
    assert named <= OURS.keys() | KUBERNETES_ALONE.keys()
    assert len(DRIVEN) > 35
    ours: set[Callable[..., Any]] = {*OURS.values()}
    assert {analyzer.__name__ for analyzer in set(ANALYZERS) - ours} == {"first_applied", "target_references"}


def test_valid_configurations_are_silent_of_errors() -> None:
    """One by one; all together, some declare a host with several protocols on purpose."""
    silent = 0
    for path in sorted((corpus.ROOT / "4-config").rglob("*.yaml")):
        text = path.read_text()
        scene = of_files(read(text, path.name).documents, world([text], "default", NOW))
        errors = [one for one in analyze(scene) if one.level == "Error" and one.code.startswith("IST")]
        assert errors == []
        silent += 1
    assert silent > 15
