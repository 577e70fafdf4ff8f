"""GRPCRoute: which gRPC calls go where.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#grpcroute
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from meshlite.model.gateway_api.filters import GRPCRouteFilter
from meshlite.model.gateway_api.forms import HeaderName, Hostname, Path, SectionName
from meshlite.model.gateway_api.http_route import SessionPersistence, Way
from meshlite.model.gateway_api.references import BackendRef, ParentReference
from meshlite.model.message import Message


class GRPCMethodMatch(Message):
    """A service's full name, one of its methods, or both."""

    type: Way = "Exact"
    service: Path | None = None
    method: Path | None = None


class GRPCHeaderMatch(Message):
    type: Way = "Exact"
    name: HeaderName
    value: Annotated[str, Field(min_length=1, max_length=4096)]


class GRPCRouteMatch(Message):
    method: GRPCMethodMatch | None = None
    headers: Annotated[tuple[GRPCHeaderMatch, ...], Field(max_length=16)] = ()


class GRPCBackendRef(BackendRef):
    filters: Annotated[tuple[GRPCRouteFilter, ...], Field(max_length=16)] = ()


class GRPCRouteRule(Message):
    name: SectionName | None = None
    matches: Annotated[tuple[GRPCRouteMatch, ...], Field(max_length=64)] = ()
    filters: Annotated[tuple[GRPCRouteFilter, ...], Field(max_length=16)] = ()
    backend_refs: Annotated[tuple[GRPCBackendRef, ...], Field(max_length=16)] = ()
    session_persistence: SessionPersistence | None = None


class GRPCRoute(Message):
    parent_refs: Annotated[tuple[ParentReference, ...], Field(max_length=32)] = ()
    hostnames: Annotated[tuple[Hostname, ...], Field(max_length=16)] = ()
    rules: Annotated[tuple[GRPCRouteRule, ...], Field(max_length=16)] = ()
    use_default_gateways: Literal["All", "None"] | None = None
