"""HTTPRoute: which HTTP requests go where.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#httproute
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from meshlite.model.gateway_api.filters import HTTPRouteFilter
from meshlite.model.gateway_api.forms import (
    Duration,
    HeaderName,
    HeaderValue,
    Hostname,
    Path,
    SectionName,
    whole,
)
from meshlite.model.gateway_api.references import BackendRef, ParentReference
from meshlite.model.message import Message

Way = Literal["Exact", "RegularExpression"]
Method = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]


class HTTPPathMatch(Message):
    """A `PathPrefix` is compared element by element: `/a` takes `/a` and `/a/b`, not `/ab`."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: Path = "/"


class HTTPHeaderMatch(Message):
    type: Way = "Exact"
    name: HeaderName
    value: HeaderValue


class HTTPQueryParamMatch(Message):
    type: Way = "Exact"
    name: HeaderName
    value: Annotated[str, Field(min_length=1, max_length=1024)]


class HTTPRouteMatch(Message):
    """All of it must hold. Of headers or parameters with one name, the first counts."""

    path: HTTPPathMatch = HTTPPathMatch()
    headers: Annotated[tuple[HTTPHeaderMatch, ...], Field(max_length=16)] = ()
    query_params: Annotated[tuple[HTTPQueryParamMatch, ...], Field(max_length=16)] = ()
    method: Method | None = None


class HTTPBackendRef(BackendRef):
    filters: Annotated[tuple[HTTPRouteFilter, ...], Field(max_length=16)] = ()


class HTTPRouteTimeouts(Message):
    """0s: none."""

    request: Duration | None = None
    backend_request: Duration | None = None


class HTTPRouteRetry(Message):
    """Absent `attempts`: 2, as everywhere in the mesh."""

    codes: tuple[Annotated[int, whole(400, 599)], ...] = ()
    attempts: Annotated[int, whole(1, 2**31 - 1)] | None = None
    backoff: Duration | None = None


class CookieConfig(Message):
    name: HeaderName | None = None
    path: Path = "/"
    lifetime_type: Literal["Permanent", "Session"] = "Session"


class HeaderConfig(Message):
    name: HeaderName


class SessionPersistence(Message):
    type: Literal["Cookie", "Header"] = "Cookie"
    absolute_timeout: Duration | None = None
    cookie: CookieConfig | None = None
    header: HeaderConfig | None = None


class HTTPRouteRule(Message):
    """`matches` are ORed; none: everything. The answer is 500 where no backend has a weight."""

    name: SectionName | None = None
    matches: Annotated[tuple[HTTPRouteMatch, ...], Field(max_length=64)] = ()
    filters: Annotated[tuple[HTTPRouteFilter, ...], Field(max_length=16)] = ()
    backend_refs: Annotated[tuple[HTTPBackendRef, ...], Field(max_length=16)] = ()
    timeouts: HTTPRouteTimeouts | None = None
    retry: HTTPRouteRetry | None = None
    session_persistence: SessionPersistence | None = None


class HTTPRoute(Message):
    """No `hostnames`: those of the parent."""

    parent_refs: Annotated[tuple[ParentReference, ...], Field(max_length=32)] = ()
    hostnames: Annotated[tuple[Hostname, ...], Field(max_length=16)] = ()
    rules: Annotated[tuple[HTTPRouteRule, ...], Field(min_length=1, max_length=16)] = (HTTPRouteRule(),)
    use_default_gateways: Literal["All", "None"] | None = None
