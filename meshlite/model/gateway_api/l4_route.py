"""TLSRoute and TCPRoute: connections by the name they ask for, and connections of any kind.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#tlsroute
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from meshlite.model.gateway_api.forms import Hostname, SectionName
from meshlite.model.gateway_api.references import BackendRef, ParentReference
from meshlite.model.message import Message


class L4RouteRule(Message):
    name: SectionName | None = None
    backend_refs: Annotated[tuple[BackendRef, ...], Field(min_length=1, max_length=16)]


class TLSRoute(Message):
    """`hostnames` are compared to the server name of the TLS handshake."""

    parent_refs: Annotated[tuple[ParentReference, ...], Field(max_length=32)] = ()
    hostnames: Annotated[tuple[Hostname, ...], Field(max_length=1024)] = ()
    rules: Annotated[tuple[L4RouteRule, ...], Field(min_length=1, max_length=16)]
    use_default_gateways: Literal["All", "None"] | None = None


class TCPRoute(Message):
    parent_refs: Annotated[tuple[ParentReference, ...], Field(max_length=32)] = ()
    rules: Annotated[tuple[L4RouteRule, ...], Field(min_length=1, max_length=16)]
    use_default_gateways: Literal["All", "None"] | None = None
