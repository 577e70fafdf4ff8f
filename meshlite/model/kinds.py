"""The table of kinds, Istio's and Gateway API's: what this version takes, what it refuses.

Adding one is a model and a row. Source: https://istio.io/latest/docs/reference/config/ and
https://gateway-api.sigs.k8s.io/reference/spec/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from meshlite.model import gateway_api
from meshlite.model.extensions.traffic_extension import TrafficExtension
from meshlite.model.extensions.wasm import WasmPlugin
from meshlite.model.faults import Fault, suggest
from meshlite.model.mesh import GATEWAY_API, Resource, kind_key
from meshlite.model.message import Message
from meshlite.model.networking.destination_rule import DestinationRule
from meshlite.model.networking.envoy_filter import EnvoyFilter
from meshlite.model.networking.gateway import Gateway
from meshlite.model.networking.proxy_config import ProxyConfig
from meshlite.model.networking.service_entry import ServiceEntry
from meshlite.model.networking.sidecar import Sidecar
from meshlite.model.networking.virtual_service import VirtualService
from meshlite.model.networking.workload_entry import WorkloadEntry
from meshlite.model.networking.workload_group import WorkloadGroup
from meshlite.model.rules import gateway_api as gateway_rules
from meshlite.model.rules.authorization_policy import authorization_policy
from meshlite.model.rules.destination_rule import destination_rule
from meshlite.model.rules.envoy_filter import envoy_filter
from meshlite.model.rules.extensions import traffic_extension, wasm_plugin
from meshlite.model.rules.gateway import gateway
from meshlite.model.rules.peer_authentication import peer_authentication
from meshlite.model.rules.proxy_config import proxy_config
from meshlite.model.rules.request_authentication import request_authentication
from meshlite.model.rules.service_entry import service_entry
from meshlite.model.rules.sidecar import sidecar
from meshlite.model.rules.telemetry import telemetry
from meshlite.model.rules.virtual_service import virtual_service
from meshlite.model.rules.workload_entry import workload_entry
from meshlite.model.rules.workload_group import workload_group
from meshlite.model.security.authorization_policy import AuthorizationPolicy
from meshlite.model.security.peer_authentication import PeerAuthentication
from meshlite.model.security.request_authentication import RequestAuthentication
from meshlite.model.telemetry import Telemetry

Rules = Callable[[Any, Resource], Iterator[Fault]]


@dataclass(frozen=True)
class Kind:
    """`spec` is its model, `rules` are Istio's verdicts; without them the kind is known and refused.

    A kind that is not `enforced` is judged by `validate`; `apply` refuses it, since it would have no effect.
    `cluster_wide`: its objects are in no namespace; they are kept in the root namespace.
    """

    name: str
    group: str
    versions: tuple[str, ...]
    plural: str
    short: str = ""
    spec: type[Message] | None = None
    rules: Rules | None = None
    enforced: bool = True
    cluster_wide: bool = False

    @property
    def key(self) -> str:
        """What it is called in a resource's key."""
        return kind_key(self.group, self.name)

    @property
    def words(self) -> tuple[str, ...]:
        """What a person may call it, in small letters."""
        full = (f"{self.name.lower()}.{self.group}", f"{self.plural}.{self.group}")
        return tuple(word for word in (self.name.lower(), self.plural, self.short, *full) if word)

    @property
    def api_version(self) -> str:
        """The one to write."""
        return f"{self.group}/{self.versions[0]}"


NETWORKING = "networking.istio.io"
SECURITY = "security.istio.io"
EXTENSIONS = "extensions.istio.io"
TELEMETRY = "telemetry.istio.io"
_ALL = ("v1", "v1beta1", "v1alpha3")
_TWO = ("v1", "v1beta1")

_GATEWAY = ("v1", "v1beta1")

GATEWAY_API_KINDS: tuple[Kind, ...] = (
    Kind(
        "Gateway", GATEWAY_API, _GATEWAY, "gateways", "gtw",
        gateway_api.Gateway, gateway_rules.gateway,
    ),
    Kind(
        "GatewayClass", GATEWAY_API, _GATEWAY, "gatewayclasses", "gc",
        gateway_api.GatewayClass, gateway_rules.no_rules, cluster_wide=True,
    ),
    Kind(
        "ListenerSet", GATEWAY_API, ("v1",), "listenersets", "lset",
        gateway_api.ListenerSet, gateway_rules.listener_set,
    ),
    Kind(
        "HTTPRoute", GATEWAY_API, _GATEWAY, "httproutes", "",
        gateway_api.HTTPRoute, gateway_rules.http_route,
    ),
    Kind(
        "GRPCRoute", GATEWAY_API, ("v1", "v1alpha2"), "grpcroutes", "",
        gateway_api.GRPCRoute, gateway_rules.grpc_route,
    ),
    Kind(
        "TLSRoute", GATEWAY_API, ("v1", "v1alpha3", "v1alpha2"), "tlsroutes", "",
        gateway_api.TLSRoute, gateway_rules.tls_route,
    ),
    Kind(
        "TCPRoute", GATEWAY_API, ("v1", "v1alpha2"), "tcproutes", "",
        gateway_api.TCPRoute, gateway_rules.tcp_route,
    ),
    Kind("UDPRoute", GATEWAY_API, ("v1", "v1alpha2"), "udproutes"),
    Kind(
        "ReferenceGrant", GATEWAY_API, ("v1", "v1beta1", "v1alpha2"), "referencegrants", "refgrant",
        gateway_api.ReferenceGrant, gateway_rules.no_rules,
    ),
    Kind(
        "BackendTLSPolicy", GATEWAY_API, ("v1", "v1alpha3"), "backendtlspolicies", "btlspolicy",
        gateway_api.BackendTLSPolicy, gateway_rules.backend_tls_policy,
    ),
)  # fmt: skip

KINDS: tuple[Kind, ...] = (
    Kind("VirtualService", NETWORKING, _ALL, "virtualservices", "vs", VirtualService, virtual_service),
    Kind("DestinationRule", NETWORKING, _ALL, "destinationrules", "dr", DestinationRule, destination_rule),
    Kind(
        "PeerAuthentication",
        SECURITY,
        _TWO,
        "peerauthentications",
        "pa",
        PeerAuthentication,
        peer_authentication,
    ),
    Kind("ServiceEntry", NETWORKING, _ALL, "serviceentries", "se", ServiceEntry, service_entry),
    Kind("WorkloadEntry", NETWORKING, _ALL, "workloadentries", "we", WorkloadEntry, workload_entry),
    Kind("WorkloadGroup", NETWORKING, _ALL, "workloadgroups", "wg", WorkloadGroup, workload_group),
    Kind("Gateway", NETWORKING, _ALL, "gateways", "gw", Gateway, gateway),
    Kind("Sidecar", NETWORKING, _ALL, "sidecars", "", Sidecar, sidecar),
    Kind("EnvoyFilter", NETWORKING, ("v1alpha3",), "envoyfilters", "", EnvoyFilter, envoy_filter),
    Kind("ProxyConfig", NETWORKING, ("v1beta1",), "proxyconfigs", "", ProxyConfig, proxy_config),
    Kind(
        "RequestAuthentication",
        SECURITY,
        _TWO,
        "requestauthentications",
        "ra",
        RequestAuthentication,
        request_authentication,
    ),
    Kind(
        "AuthorizationPolicy",
        SECURITY,
        _TWO,
        "authorizationpolicies",
        "ap",
        AuthorizationPolicy,
        authorization_policy,
    ),
    Kind(
        "Telemetry",
        TELEMETRY,
        ("v1", "v1alpha1"),
        "telemetries",
        "telemetry",
        Telemetry,
        telemetry,
        enforced=False,
    ),
    Kind("WasmPlugin", EXTENSIONS, ("v1alpha1",), "wasmplugins", "", WasmPlugin, wasm_plugin),
    Kind(
        "TrafficExtension",
        EXTENSIONS,
        ("v1alpha1",),
        "trafficextensions",
        "",
        TrafficExtension,
        traffic_extension,
    ),
    *GATEWAY_API_KINDS,
)


def supported(group: str = "") -> tuple[str, ...]:
    """Names of the kinds that are taken, of Istio's groups together or of Gateway API."""
    wanted = group == GATEWAY_API
    taken = (kind for kind in KINDS if kind.spec and kind.enforced)
    return tuple(kind.name for kind in taken if (kind.group == GATEWAY_API) == wanted)


SUPPORTED: tuple[str, ...] = supported()


def find(text: str) -> Kind | None:
    """A kind by the name a person types: `VirtualService`, `virtualservices`, `vs`, in any case."""
    return next(iter(meant(text)), None)


def meant(text: str) -> tuple[Kind, ...]:
    """All kinds that go by that name: `gateways` are Istio's and Gateway API's, `gtw` are the latter."""
    word = text.lower()
    return tuple(kind for kind in KINDS if word in kind.words)


def near(name: str) -> Kind | None:
    """The kind that a misspelt `name` most likely means."""
    found = get_close_matches(name, [kind.name for kind in KINDS], n=1, cutoff=0.85)
    return find(found[0]) if found else None


def named(api_version: str, name: str) -> Kind | str:
    """The supported kind of a document, or why it is refused. For Istio's groups and Gateway API's."""
    group, _, version = api_version.rpartition("/")
    named = [kind for kind in KINDS if kind.name == name]
    kind = next((kind for kind in named if kind.group == group), named[0] if named else None)
    if kind is None:
        hint = suggest(name, (known.name for known in KINDS))
        return f"unknown kind {name} of {api_version}{hint}; supported kinds: {', '.join(supported(group))}"
    if group != kind.group or version not in kind.versions:
        return f"{api_version} has no kind {name}: write apiVersion: {kind.api_version}"
    if kind.spec is None:
        names = ", ".join(supported(group))
        return f"{name} is not supported by this version of meshlite; supported kinds: {names}"
    return kind
