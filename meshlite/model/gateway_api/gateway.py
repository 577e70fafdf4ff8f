"""Gateway, GatewayClass and ListenerSet: where traffic may enter, and which routes may attach there.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#gateway
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from meshlite.model.gateway_api.forms import (
    ControllerName,
    Group,
    Hostname,
    Kind,
    ObjectName,
    Port,
    Protocol,
    SectionName,
    Text,
)
from meshlite.model.gateway_api.references import (
    LocalObjectReference,
    ObjectReference,
    ParentGatewayReference,
    SecretObjectReference,
)
from meshlite.model.mesh import GATEWAY_API
from meshlite.model.message import Message


class LabelSelectorRequirement(Message):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class LabelSelector(Message):
    """All of it must hold; an empty one selects everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class RouteNamespaces(Message):
    from_: Literal["All", "Selector", "Same"] = "Same"
    selector: LabelSelector | None = None


class ListenerNamespaces(Message):
    from_: Literal["All", "Selector", "Same", "None"] = "None"
    selector: LabelSelector | None = None


class RouteGroupKind(Message):
    group: Group = GATEWAY_API
    kind: Kind


class AllowedRoutes(Message):
    """No `kinds`: all that the listener's protocol can carry."""

    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: Annotated[tuple[RouteGroupKind, ...], Field(max_length=8)] = ()


class AllowedListeners(Message):
    namespaces: ListenerNamespaces = ListenerNamespaces()


class ListenerTLSConfig(Message):
    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    certificate_refs: Annotated[tuple[SecretObjectReference, ...], Field(max_length=64)] = ()
    options: Annotated[dict[str, Text], Field(max_length=16)] = {}


class Listener(Message):
    """A port that takes connections. No `hostname`: any."""

    name: SectionName
    hostname: Hostname | None = None
    port: Port
    protocol: Protocol
    tls: ListenerTLSConfig | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()


class FrontendTLSValidation(Message):
    """Whom clients of a gateway must prove to be."""

    ca_certificate_refs: Annotated[tuple[ObjectReference, ...], Field(min_length=1, max_length=16)]
    mode: Literal["AllowValidOnly", "AllowInsecureFallback"] = "AllowValidOnly"


class TLSConfig(Message):
    validation: FrontendTLSValidation | None = None


class TLSPortConfig(Message):
    port: Port
    tls: TLSConfig


class FrontendTLSConfig(Message):
    """`per_port` replaces `default` for its port."""

    default: TLSConfig
    per_port: Annotated[tuple[TLSPortConfig, ...], Field(max_length=64)] = ()


class GatewayBackendTLS(Message):
    client_certificate_ref: SecretObjectReference | None = None


class GatewayTLSConfig(Message):
    backend: GatewayBackendTLS | None = None
    frontend: FrontendTLSConfig | None = None


class GatewayAddress(Message):
    """A `Hostname` names the service whose workloads carry the gateway."""

    type: Text = "IPAddress"
    value: Annotated[str, Field(max_length=253)] = ""


class GatewayInfrastructure(Message):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    parameters_ref: LocalObjectReference | None = None


class Gateway(Message):
    gateway_class_name: ObjectName
    listeners: Annotated[tuple[Listener, ...], Field(min_length=1, max_length=64)]
    addresses: Annotated[tuple[GatewayAddress, ...], Field(max_length=16)] = ()
    infrastructure: GatewayInfrastructure | None = None
    allowed_listeners: AllowedListeners = AllowedListeners()
    tls: GatewayTLSConfig | None = None
    default_scope: Literal["All", "None"] | None = None


class ListenerSet(Message):
    """More listeners for a Gateway, from other people or namespaces."""

    parent_ref: ParentGatewayReference
    listeners: Annotated[tuple[Listener, ...], Field(min_length=1, max_length=64)]


class ParametersReference(LocalObjectReference):
    namespace: str | None = None


class GatewayClass(Message):
    controller_name: ControllerName
    description: Annotated[str, Field(max_length=64)] | None = None
    parameters_ref: ParametersReference | None = None
