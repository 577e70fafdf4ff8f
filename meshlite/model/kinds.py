"""The table of Istio's kinds: what this version takes, what it refuses. Adding one is a model and a row.

Source: https://istio.io/latest/docs/reference/config/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from meshlite.model.extensions.traffic_extension import TrafficExtension
from meshlite.model.extensions.wasm import WasmPlugin
from meshlite.model.faults import Fault, suggest
from meshlite.model.mesh import Resource
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
    """

    name: str
    group: str
    versions: tuple[str, ...]
    plural: str
    short: str = ""
    spec: type[Message] | None = None
    rules: Rules | None = None
    enforced: bool = True

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
        enforced=False,
    ),
    Kind(
        "AuthorizationPolicy",
        SECURITY,
        _TWO,
        "authorizationpolicies",
        "ap",
        AuthorizationPolicy,
        authorization_policy,
        enforced=False,
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
)

SUPPORTED: tuple[str, ...] = tuple(kind.name for kind in KINDS if kind.spec and kind.enforced)


def find(text: str) -> Kind | None:
    """A kind by the name a person types: `VirtualService`, `virtualservices`, `vs`, in any case."""
    word = text.lower()
    return next(
        (kind for kind in KINDS if word and word in (kind.name.lower(), kind.plural, kind.short)), None
    )


def near(name: str) -> Kind | None:
    """The kind that a misspelt `name` most likely means."""
    found = get_close_matches(name, [kind.name for kind in KINDS], n=1, cutoff=0.85)
    return find(found[0]) if found else None


def named(api_version: str, name: str) -> Kind | str:
    """The supported kind of a document, or why it is refused. For Istio's API groups and kinds."""
    group, _, version = api_version.rpartition("/")
    kind = next((kind for kind in KINDS if kind.name == name), None)
    if kind is None:
        hint = suggest(name, (known.name for known in KINDS))
        return f"unknown kind {name} of {api_version}{hint}; supported kinds: {', '.join(SUPPORTED)}"
    if group != kind.group or version not in kind.versions:
        return f"{api_version} has no kind {name}: write apiVersion: {kind.api_version}"
    if kind.spec is None:
        return f"{name} is not supported by this version of meshlite; supported kinds: {', '.join(SUPPORTED)}"
    return kind
