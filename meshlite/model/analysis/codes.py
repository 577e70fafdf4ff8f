"""The messages of Istio's analysis that make sense without Kubernetes, by their codes.

Source: https://istio.io/latest/docs/reference/config/analysis/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["Error", "Warning", "Info"]
LEVELS: tuple[Level, ...] = ("Error", "Warning", "Info")


@dataclass(frozen=True)
class Code:
    code: str
    name: str
    level: Level


DEPRECATED = Code("IST0002", "Deprecated", "Warning")
NOT_FOUND = Code("IST0101", "ReferencedResourceNotFound", "Error")
SCHEMA_ERROR = Code("IST0106", "SchemaValidationError", "Error")
MESH_HOSTS = Code("IST0109", "ConflictingMeshGatewayVirtualServiceHosts", "Error")
SIDECAR_SELECTORS = Code("IST0110", "ConflictingSidecarWorkloadSelectors", "Error")
SIDECAR_DEFAULTS = Code("IST0111", "MultipleSidecarsWithoutWorkloadSelectors", "Error")
PORT_REQUIRED = Code("IST0112", "VirtualServiceDestinationPortSelectorRequired", "Error")
NO_WORKLOADS = Code("IST0127", "NoMatchingWorkloadsFound", "Warning")
NO_VERIFICATION = Code("IST0128", "NoServerCertificateVerificationDestinationLevel", "Warning")
NO_VERIFICATION_PORT = Code("IST0129", "NoServerCertificateVerificationPortLevel", "Warning")
UNREACHABLE_RULE = Code("IST0130", "VirtualServiceUnreachableRule", "Warning")
INEFFECTIVE_MATCH = Code("IST0131", "VirtualServiceIneffectiveMatch", "Info")
HOST_NOT_IN_GATEWAY = Code("IST0132", "VirtualServiceHostNotFoundInGateway", "Warning")
SCHEMA_WARNING = Code("IST0133", "SchemaWarning", "Warning")
ADDRESSES_REQUIRED = Code("IST0134", "ServiceEntryAddressesRequired", "Warning")
DUPLICATE_CERTIFICATE = Code("IST0138", "GatewayDuplicateCertificate", "Warning")
INGRESS_RULES = Code("IST0140", "IngressRouteRulesNotAffected", "Warning")
GATEWAY_CONFLICT = Code("IST0145", "ConflictingGateways", "Error")
JWT_ROUTING = Code("IST0149", "JwtClaimBasedRoutingWithoutRequestAuthN", "Error")
RELATIVE_OPERATION = Code("IST0151", "EnvoyFilterUsesRelativeOperation", "Warning")
REPLACE_OPERATION = Code("IST0152", "EnvoyFilterUsesReplaceOperationIncorrectly", "Error")
ADD_OPERATION = Code("IST0153", "EnvoyFilterUsesAddOperationIncorrectly", "Error")
REMOVE_OPERATION = Code("IST0154", "EnvoyFilterUsesRemoveOperationIncorrectly", "Error")
RELATIVE_BY_VERSION = Code("IST0155", "EnvoyFilterUsesRelativeOperationWithProxyVersion", "Warning")
TELEMETRY_PROVIDER = Code("IST0157", "InvalidTelemetryProvider", "Warning")
TELEMETRY_SELECTORS = Code("IST0159", "ConflictingTelemetryWorkloadSelectors", "Error")
TELEMETRY_DEFAULTS = Code("IST0160", "MultipleTelemetriesWithoutWorkloadSelectors", "Error")
CREDENTIAL = Code("IST0161", "InvalidGatewayCredential", "Error")
GATEWAY_PORT = Code("IST0162", "GatewayPortNotDefinedOnService", "Warning")
INTERNAL_GATEWAY = Code("IST0165", "ReferencedInternalGateway", "Warning")
INEFFECTIVE_SELECTOR = Code("IST0166", "IneffectiveSelector", "Warning")
SUBSET_EMPTY = Code("IST0173", "DestinationRuleSubsetNotSelectPods", "Error")
UNKNOWN_HOST = Code("IST0174", "UnknownDestinationRuleHost", "Warning")
ENTRY_PROTOCOLS = Code("IST0177", "ConflictingServiceEntryProtocol", "Warning")
UNSUPPORTED = Code("MESH0001", "Unsupported", "Error")
"""Istio has it and this version of meshlite has not: ours, since Istio needs no such word."""
UNSUPPORTED_PART = Code("MESH0002", "PartlyUnsupported", "Warning")
FIRST_WINS = Code("MESH0003", "FirstAppliedWins", "Warning")
"""Several resources for one thing: the one applied first counts. Istio takes the oldest."""
