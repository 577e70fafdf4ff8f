"""The table of kinds, Istio's and Gateway API's: what this version takes, what it refuses.

Adding one is a model and a row. Source: https://istio.io/latest/docs/reference/config/ and
https://gateway-api.sigs.k8s.io/reference/spec/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any

from meshlite.model.faults import Fault, suggest
from meshlite.model.mesh import GATEWAY_API, Resource, kind_key
from meshlite.model.message import Message

Rules = Callable[[Any, Resource], Iterator[Fault]]


@dataclass(frozen=True)
class Kind:
    """`model` and `verdicts`: where its model and Istio's verdicts are, `module:name` below meshlite.model;
    without them the kind is known and refused.

    They are imported on first use: a node has no need of most kinds, and each takes its memory.
    A kind that is not `enforced` is judged by `validate`; `apply` refuses it, since it would have no effect.
    `cluster_wide`: its objects are in no namespace; they are kept in the root namespace.
    """

    name: str
    group: str
    versions: tuple[str, ...]
    plural: str
    short: str = ""
    model: str = ""
    verdicts: str = ""
    enforced: bool = True
    cluster_wide: bool = False

    @property
    def taken(self) -> bool:
        """It has a model: it is more than known by name."""
        return bool(self.model)

    @property
    def spec(self) -> type[Message] | None:
        found: type[Message] | None = _named(self.model) if self.model else None
        return found

    @property
    def rules(self) -> Rules | None:
        found: Rules | None = _named(self.verdicts) if self.verdicts else None
        return found

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


@cache
def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"meshlite.model.{module}"), name)


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
        "gateway_api:Gateway", "rules.gateway_api:gateway",
    ),
    Kind(
        "GatewayClass", GATEWAY_API, _GATEWAY, "gatewayclasses", "gc",
        "gateway_api:GatewayClass", "rules.gateway_api:no_rules", cluster_wide=True,
    ),
    Kind(
        "ListenerSet", GATEWAY_API, ("v1",), "listenersets", "lset",
        "gateway_api:ListenerSet", "rules.gateway_api:listener_set",
    ),
    Kind(
        "HTTPRoute", GATEWAY_API, _GATEWAY, "httproutes", "",
        "gateway_api:HTTPRoute", "rules.gateway_api:http_route",
    ),
    Kind(
        "GRPCRoute", GATEWAY_API, ("v1", "v1alpha2"), "grpcroutes", "",
        "gateway_api:GRPCRoute", "rules.gateway_api:grpc_route",
    ),
    Kind(
        "TLSRoute", GATEWAY_API, ("v1", "v1alpha3", "v1alpha2"), "tlsroutes", "",
        "gateway_api:TLSRoute", "rules.gateway_api:tls_route",
    ),
    Kind(
        "TCPRoute", GATEWAY_API, ("v1", "v1alpha2"), "tcproutes", "",
        "gateway_api:TCPRoute", "rules.gateway_api:tcp_route",
    ),
    Kind("UDPRoute", GATEWAY_API, ("v1", "v1alpha2"), "udproutes"),
    Kind(
        "ReferenceGrant", GATEWAY_API, ("v1", "v1beta1", "v1alpha2"), "referencegrants", "refgrant",
        "gateway_api:ReferenceGrant", "rules.gateway_api:no_rules",
    ),
    Kind(
        "BackendTLSPolicy", GATEWAY_API, ("v1", "v1alpha3"), "backendtlspolicies", "btlspolicy",
        "gateway_api:BackendTLSPolicy", "rules.gateway_api:backend_tls_policy",
    ),
)  # fmt: skip

KINDS: tuple[Kind, ...] = (
    Kind(
        "VirtualService", NETWORKING, _ALL, "virtualservices", "vs",
        "networking.virtual_service:VirtualService", "rules.virtual_service:virtual_service",
    ),
    Kind(
        "DestinationRule", NETWORKING, _ALL, "destinationrules", "dr",
        "networking.destination_rule:DestinationRule", "rules.destination_rule:destination_rule",
    ),
    Kind(
        "PeerAuthentication", SECURITY, _TWO, "peerauthentications", "pa",
        "security.peer_authentication:PeerAuthentication", "rules.peer_authentication:peer_authentication",
    ),
    Kind(
        "ServiceEntry", NETWORKING, _ALL, "serviceentries", "se",
        "networking.service_entry:ServiceEntry", "rules.service_entry:service_entry",
    ),
    Kind(
        "WorkloadEntry", NETWORKING, _ALL, "workloadentries", "we",
        "networking.workload_entry:WorkloadEntry", "rules.workload_entry:workload_entry",
    ),
    Kind(
        "WorkloadGroup", NETWORKING, _ALL, "workloadgroups", "wg",
        "networking.workload_group:WorkloadGroup", "rules.workload_group:workload_group",
    ),
    Kind(
        "Gateway", NETWORKING, _ALL, "gateways", "gw",
        "networking.gateway:Gateway", "rules.gateway:gateway",
    ),
    Kind(
        "Sidecar", NETWORKING, _ALL, "sidecars", "",
        "networking.sidecar:Sidecar", "rules.sidecar:sidecar",
    ),
    Kind(
        "EnvoyFilter", NETWORKING, ("v1alpha3",), "envoyfilters", "",
        "networking.envoy_filter:EnvoyFilter", "rules.envoy_filter:envoy_filter",
    ),
    Kind(
        "ProxyConfig", NETWORKING, ("v1beta1",), "proxyconfigs", "",
        "networking.proxy_config:ProxyConfig", "rules.proxy_config:proxy_config",
    ),
    Kind(
        "RequestAuthentication", SECURITY, _TWO, "requestauthentications", "ra",
        "security.request_authentication:RequestAuthentication",
        "rules.request_authentication:request_authentication",
    ),
    Kind(
        "AuthorizationPolicy", SECURITY, _TWO, "authorizationpolicies", "ap",
        "security.authorization_policy:AuthorizationPolicy",
        "rules.authorization_policy:authorization_policy",
    ),
    Kind(
        "Telemetry", TELEMETRY, ("v1", "v1alpha1"), "telemetries", "telemetry",
        "telemetry:Telemetry", "rules.telemetry:telemetry", enforced=False,
    ),
    Kind(
        "WasmPlugin", EXTENSIONS, ("v1alpha1",), "wasmplugins", "",
        "extensions.wasm:WasmPlugin", "rules.extensions:wasm_plugin",
    ),
    Kind(
        "TrafficExtension", EXTENSIONS, ("v1alpha1",), "trafficextensions", "",
        "extensions.traffic_extension:TrafficExtension", "rules.extensions:traffic_extension",
    ),
    *GATEWAY_API_KINDS,
)  # fmt: skip


def supported(group: str = "") -> tuple[str, ...]:
    """Names of the kinds that are taken, of Istio's groups together or of Gateway API."""
    wanted = group == GATEWAY_API
    taken = (kind for kind in KINDS if kind.taken and kind.enforced)
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
    if not kind.taken:
        names = ", ".join(supported(group))
        return f"{name} is not supported by this version of meshlite; supported kinds: {names}"
    return kind
