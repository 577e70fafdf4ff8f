"""EnvoyFilter: patches of the configuration that Envoy gets.

Source: https://istio.io/latest/docs/reference/config/networking/envoy-filter/
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from meshlite.model.message import Message
from meshlite.model.scalars import Int32, UInt32, by_number
from meshlite.model.selector import LabelSelector, PolicyTargetReference

_ApplyTo = Literal[
    "INVALID",
    "LISTENER",
    "FILTER_CHAIN",
    "NETWORK_FILTER",
    "HTTP_FILTER",
    "ROUTE_CONFIGURATION",
    "VIRTUAL_HOST",
    "HTTP_ROUTE",
    "CLUSTER",
    "EXTENSION_CONFIG",
    "BOOTSTRAP",
    "LISTENER_FILTER",
]
_PatchContext = Literal["ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT"]
_Operation = Literal[
    "INVALID",
    "MERGE",
    "ADD",
    "REMOVE",
    "INSERT_BEFORE",
    "INSERT_AFTER",
    "INSERT_FIRST",
    "REPLACE",
    "MERGE_AND_REPLACE_LIST",
]
_FilterClass = Literal["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"]
_RouteAction = Literal["ANY", "ROUTE", "REDIRECT", "DIRECT_RESPONSE"]
ApplyTo = Annotated[_ApplyTo, by_number(_ApplyTo)]
PatchContext = Annotated[_PatchContext, by_number(_PatchContext)]
Operation = Annotated[_Operation, by_number(_Operation)]
FilterClass = Annotated[_FilterClass, by_number(_FilterClass)]
RouteAction = Annotated[_RouteAction, by_number(_RouteAction)]


class ProxyMatch(Message):
    """`proxy_version` is a pattern for the version of Istio whose behaviour the proxy has."""

    proxy_version: str = ""
    metadata: dict[str, str] = {}


class ClusterMatch(Message):
    port_number: UInt32 = 0
    service: str = ""
    subset: str = ""
    name: str = ""


class RouteMatch(Message):
    name: str = ""
    action: RouteAction = "ANY"


class VirtualHostMatch(Message):
    name: str = ""
    domain_name: str = ""
    route: RouteMatch | None = None


class RouteConfigurationMatch(Message):
    port_number: UInt32 = 0
    port_name: str = ""
    gateway: str = ""
    vhost: VirtualHostMatch | None = None
    name: str = ""


class SubFilterMatch(Message):
    name: str = ""


class FilterMatch(Message):
    name: str = ""
    sub_filter: SubFilterMatch | None = None


class FilterChainMatch(Message):
    name: str = ""
    sni: str = ""
    transport_protocol: str = ""
    transport_socket: str = ""
    application_protocols: str = ""
    filter: FilterMatch | None = None
    destination_port: UInt32 = 0


class ListenerMatch(Message):
    port_number: UInt32 = 0
    port_name: str = ""
    filter_chain: FilterChainMatch | None = None
    listener_filter: str = ""
    name: str = ""


class WaypointRouteMatch(Message):
    name: str = ""


class WaypointMatch(Message):
    port_number: UInt32 = 0
    route: WaypointRouteMatch | None = None
    filter: FilterMatch | None = None


class EnvoyConfigObjectMatch(Message):
    oneofs: ClassVar = (("listener", "route_configuration", "cluster", "waypoint"),)

    context: PatchContext = "ANY"
    proxy: ProxyMatch | None = None
    listener: ListenerMatch | None = None
    route_configuration: RouteConfigurationMatch | None = None
    cluster: ClusterMatch | None = None
    waypoint: WaypointMatch | None = None


class Patch(Message):
    """`value`: a message of Envoy's API as JSON, or the part of it that is to be changed."""

    operation: Operation = "INVALID"
    value: dict[str, Any] | None = None
    filter_class: FilterClass = "UNSPECIFIED"


class EnvoyConfigObjectPatch(Message):
    apply_to: ApplyTo = "INVALID"
    match: EnvoyConfigObjectMatch | None = None
    patch: Patch | None = None


class EnvoyFilter(Message):
    """Lower priorities first; then the root namespace's; then the first applied."""

    workload_selector: LabelSelector | None = None
    target_refs: Annotated[tuple[PolicyTargetReference, ...], Field(max_length=16)] = ()
    config_patches: tuple[EnvoyConfigObjectPatch, ...] = ()
    priority: Int32 = 0
