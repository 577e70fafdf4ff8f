"""The gateway.networking.k8s.io API: its resources and their parts, one file per part."""

from meshlite.model.gateway_api.backend_tls_policy import BackendTLSPolicy
from meshlite.model.gateway_api.filters import (
    CORS,
    GRPCRouteFilter,
    HeaderModifier,
    HTTPRouteFilter,
    PathModifier,
    RequestMirror,
    RequestRedirect,
    URLRewrite,
)
from meshlite.model.gateway_api.gateway import (
    AllowedRoutes,
    Gateway,
    GatewayClass,
    LabelSelector,
    Listener,
    ListenerSet,
    ListenerTLSConfig,
    TLSConfig,
)
from meshlite.model.gateway_api.grpc_route import GRPCRoute, GRPCRouteMatch, GRPCRouteRule
from meshlite.model.gateway_api.http_route import HTTPRoute, HTTPRouteMatch, HTTPRouteRule
from meshlite.model.gateway_api.l4_route import L4RouteRule, TCPRoute, TLSRoute
from meshlite.model.gateway_api.reference_grant import ReferenceGrant
from meshlite.model.gateway_api.references import (
    BackendObjectReference,
    BackendRef,
    ObjectReference,
    ParentReference,
    SecretObjectReference,
)

__all__ = [
    "CORS",
    "AllowedRoutes",
    "BackendObjectReference",
    "BackendRef",
    "BackendTLSPolicy",
    "GRPCRoute",
    "GRPCRouteFilter",
    "GRPCRouteMatch",
    "GRPCRouteRule",
    "Gateway",
    "GatewayClass",
    "HTTPRoute",
    "HTTPRouteFilter",
    "HTTPRouteMatch",
    "HTTPRouteRule",
    "HeaderModifier",
    "L4RouteRule",
    "LabelSelector",
    "Listener",
    "ListenerSet",
    "ListenerTLSConfig",
    "ObjectReference",
    "ParentReference",
    "PathModifier",
    "ReferenceGrant",
    "RequestMirror",
    "RequestRedirect",
    "SecretObjectReference",
    "TCPRoute",
    "TLSConfig",
    "TLSRoute",
    "URLRewrite",
]
